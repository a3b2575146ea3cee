//! The decision on one request that a gateway asks about, and what every transport shows of it: headers and
//! the body of a denial. `envoy` and `http` read the request and write the answer in their own form; the
//! routes are in `mandate-routes`.

use std::borrow::Cow;

use hyper::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use smol_str::SmolStr;

use mandate_core::json::escape_and_truncate;
use mandate_core::moment::Moment;
use mandate_pdp::{DecisionContext, DecisionId, LogPosition, Pdp, PdpError, TimedDecision, View};
use mandate_routes::{HttpRequest, RouteError};

/// The value of `WWW-Authenticate` in answers with status 401, which has to be there. How clients authenticate,
/// only the gateway knows; most of them use tokens.
pub const CHALLENGE: &str = "Bearer";

/// The prefix of the headers that Mandate sets. A gateway has to remove those that a client sends.
pub const HEADER_PREFIX: &str = "x-mandate-";

/// The headers that every answer has, sorted.
pub const DECISION_HEADERS: [&str; 7] = [
    "x-mandate-decision",
    "x-mandate-decision-id",
    "x-mandate-outcome",
    "x-mandate-policies",
    "x-mandate-reason",
    "x-mandate-revision",
    "x-mandate-route",
];

/// The value of a header that would be empty. Some gateways drop empty headers and then forward the client's
/// own header instead.
const EMPTY_VALUE: &str = "-";

/// The most policies, and characters of the reason, in an answer. Gateways accept headers of a few KiB, and
/// thousands of policies can be the reason of a denial.
const MAX_POLICIES: usize = 16;
const MAX_REASON_CHARS: usize = 512;

/// The decision on one request, with everything that the answer shows of it.
#[derive(Debug)]
pub struct GatewayDecision {
    pub outcome: GatewayOutcome,
    pub id: DecisionId,
    pub revision: String,
    /// Where the entities stand in the log of their store, if they come from one.
    pub position: Option<LogPosition>,
    pub route: Option<String>,
    /// The ids of the policies that determined the decision, at most the first 16.
    pub policies: Vec<SmolStr>,
    /// When the time may change the decision, if it depends on the time.
    pub valid_until: Option<Moment>,
    /// The sentences to show to a client that was denied; empty for a permit.
    pub reason: String,
}

/// The outcome of a gateway's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayOutcome {
    Permitted,
    /// Denied by the policies; the word is that of the decision's outcome.
    Denied(&'static str),
    /// The path cannot be matched safely.
    BadPath,
    NoRoute,
    /// The client has no credentials, or they are unknown: the request does not name the principal.
    Unauthenticated,
    /// The request does not have a value that its route reads.
    Missing,
    /// The values that the route read do not fit the schema.
    InvalidRequest,
    /// The gateway did not describe the request that it asks about.
    GatewayMisconfigured,
}

impl GatewayOutcome {
    pub fn is_permit(self) -> bool {
        self == Self::Permitted
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Permitted => StatusCode::OK,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied(_)
            | Self::BadPath
            | Self::NoRoute
            | Self::Missing
            | Self::InvalidRequest
            | Self::GatewayMisconfigured => StatusCode::FORBIDDEN,
        }
    }

    /// The word in headers and in Envoy's metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Denied(outcome) => outcome,
            Self::BadPath => "bad_path",
            Self::NoRoute => "no_route",
            Self::Unauthenticated => "unauthenticated",
            Self::Missing => "missing",
            Self::InvalidRequest => "invalid_request",
            Self::GatewayMisconfigured => "gateway_misconfigured",
        }
    }
}

/// The request could not be decided because of a defect in this program; the log has the reason.
#[derive(Debug, thiserror::Error)]
#[error("the request could not be decided")]
pub struct DecisionFailed;

/// Finds the route of a request, and decides. A request that no route matches, or that does not fit the
/// schema, is denied.
///
/// # Errors
/// There is no decision, because of a defect.
pub fn check(
    pdp: &Pdp,
    request: &HttpRequest<'_>,
    context: &DecisionContext<'_>,
) -> Result<GatewayDecision, DecisionFailed> {
    let view = pdp.view();
    let routed = match view.route(request, context) {
        Ok(routed) => routed,
        Err(error) => return Ok(GatewayDecision::from_route_error(&view, context.id, &error)),
    };
    let route = &routed.route.id;
    match view.decide(&routed.question(), &context.with_route(route)) {
        Ok(timed) => Ok(GatewayDecision::from_decision(&view, context.id, route, &timed)),
        Err(PdpError::Request(error)) => {
            pdp.count_bad_request();
            let reason = format!("The request does not fit the schema: {error}.");
            let outcome = GatewayOutcome::InvalidRequest;
            Ok(GatewayDecision::undecided(&view, context.id, Some(route), outcome, reason))
        }
        Err(PdpError::Decide(_)) => Err(DecisionFailed),
    }
}

impl GatewayDecision {
    fn from_decision(view: &View<'_>, id: DecisionId, route: &str, timed: &TimedDecision) -> Self {
        let decision = &timed.decision;
        let (outcome, reason) = if decision.is_permit() {
            (GatewayOutcome::Permitted, String::new())
        } else {
            let reason = escape_and_truncate(&decision.reason(), MAX_REASON_CHARS);
            (GatewayOutcome::Denied(decision.outcome.as_str()), reason)
        };
        let policies = decision.reported_policies().iter().take(MAX_POLICIES).map(|policy| policy.id.clone());
        Self {
            outcome,
            id,
            revision: view.revision().as_str().to_owned(),
            position: view.position(),
            route: Some(route.to_owned()),
            policies: policies.collect(),
            valid_until: timed.valid_until,
            reason,
        }
    }

    fn from_route_error(view: &View<'_>, id: DecisionId, error: &RouteError<'_>) -> Self {
        let (route, outcome, reason) = match error {
            RouteError::Path(error) => {
                (None, GatewayOutcome::BadPath, format!("The request is refused: {error}."))
            }
            RouteError::NoRoute => {
                (None, GatewayOutcome::NoRoute, "No route matches the request.".to_owned())
            }
            RouteError::MissingValue { route, .. } if error.lacks_credentials() => {
                let reason = "The client has no credentials, or they are unknown.".to_owned();
                (Some(route.id.as_str()), GatewayOutcome::Unauthenticated, reason)
            }
            // The client does not get the detail, which may have internal names of headers or claims. The
            // log has it.
            RouteError::MissingValue { route, part, missing: _ } => {
                let reason = format!("A value that the route reads is missing or invalid: {part}.");
                (Some(route.id.as_str()), GatewayOutcome::Missing, reason)
            }
        };
        Self::undecided(view, id, route, outcome, reason)
    }

    /// The gateway did not send the header that describes the request. Its configuration is wrong, so every
    /// request is denied.
    pub fn misconfigured(pdp: &Pdp, id: DecisionId, header: &str) -> Self {
        let reason = format!("The gateway has to send the header `{header}` exactly once.");
        Self::undecided(&pdp.view(), id, None, GatewayOutcome::GatewayMisconfigured, reason)
    }

    /// A denial without a decision of the policies.
    fn undecided(
        view: &View<'_>,
        id: DecisionId,
        route: Option<&str>,
        outcome: GatewayOutcome,
        reason: String,
    ) -> Self {
        let (revision, position) = (view.revision().as_str().to_owned(), view.position());
        let route = route.map(str::to_owned);
        Self { outcome, id, revision, position, route, policies: Vec::new(), valid_until: None, reason }
    }

    /// The headers of the answer: all of [`DECISION_HEADERS`], with values that a header can hold.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text =
            |text: &str| if text.is_empty() { EMPTY_VALUE.to_owned() } else { escape_header_value(text) };
        let values = [
            if self.outcome.is_permit() { "permit" } else { "deny" }.to_owned(),
            self.id.to_string(),
            self.outcome.as_str().to_owned(),
            text(&self.policies.join(",")),
            text(&self.reason),
            self.revision.clone(),
            text(self.route.as_deref().unwrap_or_default()),
        ];
        DECISION_HEADERS.into_iter().zip(values)
    }

    /// The body of a denial, to show to the client (RFC 9457).
    pub fn problem_json(&self) -> String {
        let status = self.outcome.status();
        json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.reason,
            "decision_id": self.id,
        })
        .to_string()
    }
}

/// The request headers with Mandate's prefix that the client sent and that no header of the answer
/// overwrites: the gateway has to remove them.
pub fn spoofed_headers<'r>(request: &HttpRequest<'r>) -> Vec<&'r str> {
    let names = request.headers.iter().map(|(name, _)| *name);
    let mut spoofed: Vec<&str> =
        names.filter(|name| name.starts_with(HEADER_PREFIX) && !DECISION_HEADERS.contains(name)).collect();
    spoofed.sort_unstable();
    spoofed.dedup();
    spoofed
}

/// Characters that are percent-encoded in header values, besides those that are not ASCII. Without `"` and
/// `\`, a value can be put into a quoted string as it is.
const HEADER_ESCAPES: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

fn escape_header_value(text: &str) -> String {
    Cow::from(utf8_percent_encode(text, HEADER_ESCAPES)).into_owned()
}
