//! What a caller that may submit access requests is told besides a decision: how to ask for what was denied, or what
//! became of the approval that it brought.

use mandate_changes::fill;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::moment::Moment;
use mandate_core::request::Question;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::approval::{Applicable, ApprovalFault, AskedAgain};
use super::binding::DenialClaims;
use super::issuer::Asking;
use super::keys::TokenUse;
use super::operation::{REQUESTS_PATH, SCHEMA_PREFIX};
use crate::language::preferred;
use mandate_pdp::access_request::{name_key, random_token};
use mandate_pdp::requestable::Requestable;
use mandate_pdp::{DecisionId, View, display_name, wall_clock};

/// How long a denial may be answered with an access request, in seconds.
const OFFERED_FOR: i64 = 10 * 60;

/// The member of the context that holds an approval.
pub const APPROVAL: &str = "approval";

/// Characters that a part of a URL may have as they are.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Members of the context of an answer.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct AskerContext {
    /// The same as `decision_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    evaluation_id: Option<DecisionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    evaluated_at: Option<Moment>,
    /// Why it was denied: `approval_required`, or what is wrong with the approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What to do after a denial with an approval: `request`, `retry` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<&'static str>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_request: Option<Offer>,
    /// The approval that was brought, if it is about this question.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ShownApproval>,
}

/// How to ask for what was denied.
#[derive(Debug, Serialize, JsonSchema)]
struct Offer {
    endpoint: String,
    /// The rule of requests.
    template: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Moment,
    /// Proves the denial; opaque to the caller.
    binding_token: String,
    display: OfferDisplay,
    /// The JSON Schema of what has to be added, if something has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_schema_url: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OfferDisplay {
    title: String,
    description: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ShownApproval {
    id: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    approved_until: Moment,
}

/// A decision, and what it was asked for.
pub struct Answered<'a> {
    pub id: DecisionId,
    pub question: &'a Question<'a>,
    pub decision: &'a Decision,
    pub view: &'a View<'a>,
    /// The item of a batch.
    pub item: Option<usize>,
    /// Whether the question came with an approval.
    pub has_approval: bool,
}

impl Answered<'_> {
    /// What the caller is told besides the decision; `None` if nothing. It may read from the disk.
    pub fn for_asker(&self, asking: &Asking<'_>) -> Option<AskerContext> {
        if self.decision.is_permit() && !self.has_approval {
            return None;
        }
        let (written, now) = (Written::of(asking, self.item)?, wall_clock::now());
        if !self.has_approval {
            let access_request = Some(self.offer(asking, &written, now)?);
            return Some(self.denied("approval_required", None, access_request, now));
        }
        let checked = asking.asker.check_approval(&written.approval, &written.asked_again(), now);
        if self.decision.is_permit() {
            let Applicable { id, approved_until } = checked.ok()?;
            let approval = Some(ShownApproval { id, approved_until });
            return Some(AskerContext { approval, ..AskerContext::default() });
        }
        Some(self.denied_again(asking, &written, checked, now))
    }

    /// A denial of a question that came with an approval.
    fn denied_again(
        &self,
        asking: &Asking<'_>,
        written: &Written,
        checked: Result<Applicable, ApprovalFault>,
        now: Moment,
    ) -> AskerContext {
        let or_none = |reason| {
            let offer = self.offer(asking, written, now);
            let next = if offer.is_some() { "request" } else { "none" };
            self.denied(reason, Some(next), offer, now)
        };
        match checked {
            Err(ApprovalFault::Unverifiable) => self.denied("approval_unverifiable", Some("none"), None, now),
            Err(ApprovalFault::Expired) => or_none("approval_expired"),
            Err(ApprovalFault::OutOfScope) => or_none("out_of_scope"),
            Err(ApprovalFault::Unreadable(error)) => {
                tracing::warn!(%error, "an approval cannot be read");
                self.retry(now)
            }
            Ok(_) if self.is_behind(asking) => self.retry(now),
            Ok(_) => match self.offer(asking, written, now) {
                // What was approved is what is missing again, so it was taken away.
                Some(offer) => self.denied("approval_expired", Some("request"), Some(offer), now),
                None => self.denied("policy_denied", Some("none"), None, now),
            },
        }
    }

    /// Whether something was committed that the entities of this view do not have yet.
    fn is_behind(&self, asking: &Asking<'_>) -> bool {
        let head = asking.asker.issuer.tasks.head().ok();
        head.is_some_and(|head| self.view.position() != Some(head))
    }

    fn retry(&self, now: Moment) -> AskerContext {
        let context = self.denied("grant_pending", Some("retry"), None, now);
        AskerContext { retry_after: Some(1), ..context }
    }

    fn denied(
        &self,
        reason: &'static str,
        next_action: Option<&'static str>,
        access_request: Option<Offer>,
        now: Moment,
    ) -> AskerContext {
        AskerContext {
            evaluation_id: Some(self.id),
            evaluated_at: Some(now),
            reason: Some(reason),
            next_action,
            access_request,
            ..AskerContext::default()
        }
    }

    /// How to ask for what was denied, if somebody could change the denial into a permit.
    fn offer(&self, asking: &Asking<'_>, written: &Written, now: Moment) -> Option<Offer> {
        if !matches!(self.decision.outcome, Outcome::NotPermitted(_)) || !asking.may_look() {
            return None;
        }
        let found = self.view.requestable(self.question, self.decision, &Map::new())?;
        let (base_url, members) = (asking.asker.base_url(), self.context_members()?);
        let expires_at = Moment::from_unix_seconds(now.unix_seconds() + OFFERED_FOR);
        let claims = DenialClaims {
            iss: base_url.clone(),
            aud: base_url.clone(),
            iat: now.unix_seconds(),
            exp: expires_at.unix_seconds(),
            jti: random_token(),
            denial_expires_at: expires_at.to_string(),
            evaluation_id: self.id.to_string(),
            template: found.rule.id.clone(),
            subject: written.subject.clone(),
            resource: written.resource.clone(),
            action: written.action.clone(),
            context: written.context_of(&members),
            binding_context_members: members,
        };
        let signed = asking.asker.issuer.keys.sign(TokenUse::Denial, &claims);
        let binding_token = signed.inspect_err(|error| tracing::error!(%error, "a denial cannot be signed"));
        Some(Offer {
            endpoint: format!("{base_url}{REQUESTS_PATH}"),
            template: found.rule.id.clone(),
            expires_at,
            binding_token: binding_token.ok()?,
            display: self.display(&found, preferred(&asking.asker.head().headers)),
            request_schema_url: found.choice.is_some().then(|| schema_url(&base_url, &found)),
        })
    }

    /// The members of the context that count: those of the schema, but for the time, which no caller sends.
    fn context_members(&self) -> Option<Vec<String>> {
        let schema = self.view.snapshot().schema();
        let action = schema.action(self.view.request(self.question).ok()?.action);
        let is_clock = |name: &str| action.clocks.iter().any(|clock| clock.name == name);
        let names = action.context_type.iter().map(|(name, _)| name.to_string());
        Some(names.filter(|name| !is_clock(name)).collect())
    }

    fn display(&self, found: &Requestable<'_>, language: &str) -> OfferDisplay {
        let texts = found.rule.texts(language);
        let name = |name| display_name(self.view.snapshot(), name);
        let (requester, resource) = (name(&found.requester), name(&found.resource));
        let description =
            fill(&texts.question, &[("requester", requester.as_str()), ("resource", resource.as_str())]);
        OfferDisplay { title: texts.title.clone(), description }
    }
}

/// Where the schema of what a requester has to choose is.
fn schema_url(base_url: &str, found: &Requestable<'_>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let (rule, subject) = (encoded(&found.rule.id), encoded(&name_key(&found.requester)));
    format!("{base_url}{SCHEMA_PREFIX}{rule}?subject={subject}")
}

/// The question as its caller wrote it.
struct Written {
    subject: Value,
    resource: Value,
    action: Value,
    /// Without the approval.
    context: Map<String, Value>,
    approval: Value,
}

impl Written {
    fn of(asking: &Asking<'_>, item: Option<usize>) -> Option<Self> {
        let member = |name| asking.member(item, name).cloned();
        let mut context = match member("context") {
            Some(Value::Object(context)) => context,
            _ => Map::new(),
        };
        let approval = context.remove(APPROVAL).unwrap_or_default();
        let (subject, resource) = (member("subject")?, member("resource")?);
        Some(Self { subject, resource, action: member("action")?, context, approval })
    }

    /// Those of these members of the context that it has.
    fn context_of(&self, members: &[String]) -> Map<String, Value> {
        let value = |name: &String| Some((name.clone(), self.context.get(name)?.clone()));
        members.iter().filter_map(value).collect()
    }

    fn asked_again(&self) -> AskedAgain<'_> {
        let Self { subject, resource, action, context, .. } = self;
        AskedAgain { subject, resource, action, context }
    }
}
