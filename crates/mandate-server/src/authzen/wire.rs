//! AuthZEN's shapes: from a JSON tree to questions, and from decisions to what is written.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::explanation::ExplanationJson;
use mandate_core::decision::Decision;
use mandate_core::json::{Json, Object};
use mandate_core::policies::PolicyInfo;
use mandate_core::request::{Question, QuestionEntity, RequestError, RequestPart};
use mandate_core::schema::Schema;
use mandate_core::value::MAX_VALUES;
use mandate_pdp::DecisionId;
use mandate_query::explain::Explanation;

/// Where the four parts of a question stand: in an item, or in the defaults around it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFields<'j> {
    subject: Option<&'j Json<'j>>,
    action: Option<&'j Json<'j>>,
    resource: Option<&'j Json<'j>>,
    context: Option<&'j Json<'j>>,
}

impl<'j> RequestFields<'j> {
    pub fn from_object(object: &'j Object<'j>) -> Self {
        Self {
            subject: object.get("subject"),
            action: object.get("action"),
            resource: object.get("resource"),
            context: object.get("context"),
        }
    }

    /// These parts, with the defaults where one is absent. A part is taken whole or not at all.
    #[must_use]
    pub fn or_defaults(self, defaults: Self) -> Self {
        Self {
            subject: self.subject.or(defaults.subject),
            action: self.action.or(defaults.action),
            resource: self.resource.or(defaults.resource),
            context: self.context.or(defaults.context),
        }
    }

    /// The first part that is there and is no object, which makes a whole payload malformed.
    ///
    /// # Errors
    /// That part, in a sentence.
    pub fn check_objects(&self) -> Result<(), String> {
        optional_object(self.subject, "subject")?;
        optional_object(self.action, "action")?;
        optional_object(self.resource, "resource")?;
        optional_object(self.context, "context").map(|_| ())
    }

    /// The question that the parts ask.
    ///
    /// # Errors
    /// What is missing or of the wrong shape, in a sentence.
    pub fn question(&self) -> Result<Question<'j>, String> {
        let action = required_object(self.action, "action")?;
        Ok(Question {
            principal: entity_fields(self.subject, "subject")?,
            action: required_string(action, "action", "name")?,
            action_properties: properties(action, "action")?,
            resource: entity_fields(self.resource, "resource")?,
            context: optional_object(self.context, "context")?,
        })
    }

    /// The question that a search asks of each candidate, with nothing in the place that is looked for.
    ///
    /// # Errors
    /// What is missing or of the wrong shape, in a sentence.
    pub fn search_question(&self, search_kind: SearchKind) -> Result<Question<'j>, String> {
        let side = |is_sought, json, part| {
            if is_sought { entity_type_only(json, part) } else { entity_fields(json, part) }
        };
        let principal = side(search_kind == SearchKind::Subject, self.subject, "subject")?;
        let resource = side(search_kind == SearchKind::Resource, self.resource, "resource")?;
        let context = optional_object(self.context, "context")?;
        if search_kind == SearchKind::Action {
            return Ok(Question { principal, action: "", action_properties: None, resource, context });
        }
        let action = required_object(self.action, "action")?;
        let (name, properties) = (required_string(action, "action", "name")?, properties(action, "action")?);
        Ok(Question { principal, action: name, action_properties: properties, resource, context })
    }
}

/// The part of a question that a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchKind {
    Subject,
    Resource,
    Action,
}

/// The type of what is looked for; its id and its properties do not matter.
fn entity_type_only<'j>(json: Option<&'j Json<'j>>, part: &str) -> Result<QuestionEntity<'j>, String> {
    Ok(QuestionEntity {
        entity_type: required_string(required_object(json, part)?, part, "type")?,
        id: "",
        properties: None,
    })
}

fn entity_fields<'j>(json: Option<&'j Json<'j>>, part: &str) -> Result<QuestionEntity<'j>, String> {
    let object = required_object(json, part)?;
    Ok(QuestionEntity {
        entity_type: required_string(object, part, "type")?,
        id: required_string(object, part, "id")?,
        properties: properties(object, part)?,
    })
}

fn properties<'j>(object: &'j Object<'j>, part: &str) -> Result<Option<&'j Object<'j>>, String> {
    let properties = object.get("properties");
    if properties.is_none() { Ok(None) } else { optional_object(properties, &format!("{part}.properties")) }
}

fn required_object<'j>(json: Option<&'j Json<'j>>, part: &str) -> Result<&'j Object<'j>, String> {
    optional_object(json, part)?.ok_or_else(|| format!("{part}: missing: it has to be an object"))
}

/// The object at a path, if there is anything.
///
/// # Errors
/// There is something else, in a sentence.
pub fn optional_object<'j>(json: Option<&'j Json<'j>>, path: &str) -> Result<Option<&'j Object<'j>>, String> {
    match json {
        None => Ok(None),
        Some(Json::Object(object)) if object.len() > MAX_VALUES => {
            Err(format!("{path}: has {} members, at most {MAX_VALUES} are read", object.len()))
        }
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(other) => Err(format!("{path}: has to be an object, found {}", other.describe())),
    }
}

fn required_string<'j>(object: &'j Object<'j>, part: &str, key: &str) -> Result<&'j str, String> {
    match object.get(key) {
        Some(Json::String(text)) => Ok(text),
        Some(other) => Err(format!("{part}.{key}: has to be a string, found {}", other.describe())),
        None => Err(format!("{part}.{key}: missing: it has to be a string")),
    }
}

/// A request error in AuthZEN's terms.
pub fn request_error_message(error: &RequestError) -> String {
    let part = match error.part {
        RequestPart::PrincipalType => "subject.type",
        RequestPart::PrincipalId => "subject.id",
        RequestPart::PrincipalProperties => "subject.properties",
        RequestPart::Action => "action.name",
        RequestPart::ActionProperties => "action.properties",
        RequestPart::ResourceType => "resource.type",
        RequestPart::ResourceId => "resource.id",
        RequestPart::ResourceProperties => "resource.properties",
        RequestPart::Context => "context",
    };
    format!("{part}{}: {}", error.path, error.message)
}

/// One answer; what it says is borrowed from the decision and the snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EvaluationResponse<'d> {
    pub decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ResponseContext<'d>>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ResponseContext<'d> {
    /// Names this decision; a UUID of version 7.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub decision_id: Option<DecisionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<AdminReason<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<UserReason<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<ExplanationJson<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// For whoever writes policies: what decided.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AdminReason<'d> {
    pub outcome: &'static str,
    #[serde(serialize_with = "serialize_policy_ids")]
    #[schemars(with = "Vec<String>")]
    pub policies: &'d [Arc<PolicyInfo>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub errors: Vec<String>,
}

pub(super) fn serialize_policy_ids<S: Serializer>(
    policies: &[Arc<PolicyInfo>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(policies.iter().map(|policy| policy.id.as_str()))
}

/// For whoever was denied: the policies' own words, by language.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserReason<'d> {
    pub en: Cow<'d, str>,
}

/// Why an item of a batch has no decision of its own.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ItemError {
    pub status: u16,
    pub message: String,
}

impl<'d> EvaluationResponse<'d> {
    /// A decision without more.
    pub fn decision_only(decision: &Decision) -> Self {
        Self { decision: decision.is_permit(), context: None }
    }

    /// A decision with its revision, and reasons where it is a denial or the caller wants them.
    pub fn with_context(id: DecisionId, decision: &'d Decision, revision: &'d str, explain: bool) -> Self {
        let permit = decision.is_permit();
        let context = ResponseContext {
            decision_id: Some(id),
            revision: Some(revision),
            reason_admin: (explain || !permit).then(|| admin_reason(decision)),
            reason_user: (!permit).then(|| UserReason { en: decision.reason() }),
            ..ResponseContext::default()
        };
        Self { decision: permit, context: Some(context) }
    }

    /// A decision with its reasons and what explains it.
    pub fn with_explanation(
        id: DecisionId,
        decision: &'d Decision,
        revision: &'d str,
        explanation: &Explanation,
        schema: &Schema,
    ) -> Self {
        let mut answer = Self::with_context(id, decision, revision, true);
        if let Some(context) = &mut answer.context {
            context.explanation = Some(ExplanationJson::new(decision, explanation, schema));
        }
        answer
    }

    /// What stands in a batch for an item that is no question.
    pub fn error(id: DecisionId, status: u16, message: String) -> Self {
        let (decision_id, error) = (Some(id), Some(ItemError { status, message }));
        let context = ResponseContext { decision_id, error, ..ResponseContext::default() };
        Self { decision: false, context: Some(context) }
    }
}

fn admin_reason(decision: &Decision) -> AdminReason<'_> {
    let errors = decision.errors.iter().map(|error| format!("{}: {}", error.policy.id, error.message));
    AdminReason {
        outcome: decision.outcome.as_str(),
        policies: decision.reported_policies(),
        errors: errors.collect(),
    }
}
