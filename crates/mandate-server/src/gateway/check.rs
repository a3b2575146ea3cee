//! A checkpoint: what a gateway asks about an HTTP request, decided. Every transport of gateways says the
//! same of it, in its own form.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use smol_str::SmolStr;

use mandate_core::decision::Decision;
use mandate_core::json::escape_and_truncate;
use mandate_pdp::{DecisionContext, DecisionId, Pdp, PdpError, View};
use mandate_routes::{HttpRequest, RouteError};

/// Headers with this prefix are Mandate's word; from a client they mean nothing and have to be removed.
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

/// What stands in a header that has nothing to say. Some gateways drop empty headers, and others
/// forward what they would have copied.
const EMPTY_VALUE: &str = "-";

/// Policies that an answer names, and characters of its reason: gateways take headers of a few KiB, and a
/// denial can be for want of thousands of permits.
const MAX_POLICIES: usize = 16;
const MAX_REASON_CHARS: usize = 512;

/// What is said of one request.
#[derive(Debug)]
pub struct GatewayDecision {
    pub permitted: bool,
    /// Names this decision in the answer, for whoever traces it.
    pub id: DecisionId,
    pub revision: String,
    pub route: Option<String>,
    /// One word for what was decided, or why nothing could be.
    pub outcome: &'static str,
    /// The ids of the policies that made it so, the first of them.
    pub policies: Vec<SmolStr>,
    /// For whoever was denied; empty for a permit.
    pub reason: String,
}

/// A defect of this program kept a request from being decided; the log says why.
#[derive(Debug)]
pub struct DecisionFailed;

/// Decides on a request; whatever is no question is denied.
///
/// # Errors
/// There is no decision, by a defect.
pub fn check(
    pdp: &Pdp,
    request: &HttpRequest<'_>,
    context: &DecisionContext<'_>,
) -> Result<GatewayDecision, DecisionFailed> {
    let view = pdp.view();
    let routed = match view.route(request, context) {
        Ok(routed) => routed,
        Err(unrouted) => return Ok(GatewayDecision::from_route_error(&view, context.id, &unrouted)),
    };
    let route = Some(routed.route.id.clone());
    match view.decide(&routed.question(), &context.with_route(&routed.route.id)) {
        Ok(decision) => Ok(GatewayDecision::from_decision(&view, context.id, route, &decision)),
        Err(PdpError::Request(error)) => {
            pdp.count_bad_request();
            let reason = format!("The request does not say what its route asks: {error}.");
            Ok(GatewayDecision {
                route,
                ..GatewayDecision::deny(&view, context.id, "invalid_request", reason)
            })
        }
        Err(PdpError::Decide(_)) => Err(DecisionFailed),
    }
}

impl GatewayDecision {
    fn from_decision(view: &View<'_>, id: DecisionId, route: Option<String>, decision: &Decision) -> Self {
        let policies = decision.reported_policies().iter().take(MAX_POLICIES).map(|policy| policy.id.clone());
        let permitted = decision.is_permit();
        Self {
            permitted,
            route,
            policies: policies.collect(),
            reason: if permitted {
                String::new()
            } else {
                escape_and_truncate(&decision.reason(), MAX_REASON_CHARS)
            },
            ..Self::deny(view, id, decision.outcome.as_str(), String::new())
        }
    }

    fn from_route_error(view: &View<'_>, id: DecisionId, unrouted: &RouteError<'_>) -> Self {
        match unrouted {
            RouteError::Path(error) => {
                Self::deny(view, id, "bad_path", format!("The request is refused: {error}."))
            }
            RouteError::NoRoute => Self::deny(view, id, "no_route", "No route takes the request.".to_owned()),
            // What exactly is missing may name what only the gateway is to know; the log has it.
            RouteError::MissingValue { route, part, missing: _ } => {
                let reason = format!("The request does not say what its route reads: {part}.");
                Self { route: Some(route.id.clone()), ..Self::deny(view, id, "missing", reason) }
            }
        }
    }

    /// A gateway does not say what it asks about: its configuration is wrong, so nobody gets through.
    pub fn misconfigured(pdp: &Pdp, id: DecisionId, lacks: &str) -> Self {
        let reason = format!("The gateway has to say once, in `{lacks}`, what it asks about.");
        Self::deny(&pdp.view(), id, "gateway_misconfigured", reason)
    }

    fn deny(view: &View<'_>, id: DecisionId, outcome: &'static str, reason: String) -> Self {
        let revision = view.revision().as_str().to_owned();
        Self { permitted: false, id, revision, route: None, outcome, policies: Vec::new(), reason }
    }

    /// What every answer says in headers: all of [`DECISION_HEADERS`], with values that a header can hold.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text =
            |text: &str| if text.is_empty() { EMPTY_VALUE.to_owned() } else { escape_header_value(text) };
        let values = [
            if self.permitted { "permit" } else { "deny" }.to_owned(),
            self.id.to_string(),
            self.outcome.to_owned(),
            text(&self.policies.join(",")),
            text(&self.reason),
            self.revision.clone(),
            text(self.route.as_deref().unwrap_or_default()),
        ];
        DECISION_HEADERS.into_iter().zip(values)
    }

    /// The body of a denial, for whoever sent the request (RFC 9457).
    pub fn problem_json(&self) -> String {
        json!({
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": self.reason,
            "decision_id": self.id,
        })
        .to_string()
    }
}

/// Headers of a request that a client made up in our name, and that no header of ours replaces.
pub fn spoofed_headers<'r>(request: &HttpRequest<'r>) -> Vec<&'r str> {
    let names = request.headers.iter().map(|(name, _)| *name);
    let mut spoofed: Vec<&str> =
        names.filter(|name| name.starts_with(HEADER_PREFIX) && !DECISION_HEADERS.contains(name)).collect();
    spoofed.sort_unstable();
    spoofed.dedup();
    spoofed
}

/// What a header's value must not have, beside what is not ASCII; quoted texts can be made of it as it is.
const HEADER_ESCAPES: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

fn escape_header_value(text: &str) -> String {
    Cow::from(utf8_percent_encode(text, HEADER_ESCAPES)).into_owned()
}
