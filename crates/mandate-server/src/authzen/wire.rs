//! AuthZEN's JSON: reads questions from a request, and writes decisions as answers. The names of the fields
//! are here; the operations are in `evaluation` and `search`, explanations in `explanation`.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::explanation::{ExplanationJson, serialize_policy_ids};
use crate::access_requests::offer::AskerContext;
use mandate_core::decision::Decision;
use mandate_core::json::{Json, Object};
use mandate_core::moment::Moment;
use mandate_core::policies::PolicyInfo;
use mandate_core::reason::Language;
use mandate_core::request::{Question, QuestionEntity, RequestError, RequestPart};
use mandate_core::schema::Schema;
use mandate_core::value::MAX_VALUES;
use mandate_pdp::DecisionId;
use mandate_query::explain::Explanation;

/// The four fields of a question, in a request or an item of a batch, or as the defaults of a batch.
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

    /// These fields, with a default for each one that is absent. Fields are not merged.
    #[must_use]
    pub fn or_defaults(self, defaults: Self) -> Self {
        Self {
            subject: self.subject.or(defaults.subject),
            action: self.action.or(defaults.action),
            resource: self.resource.or(defaults.resource),
            context: self.context.or(defaults.context),
        }
    }

    /// The context without a member; `None` if it does not have it.
    pub fn context_without(&self, name: &str) -> Option<Json<'j>> {
        let context = self.context?.as_object()?;
        context.get(name)?;
        let others = context.iter().filter(|(other, _)| *other != name);
        let others = others.map(|(other, value)| (Cow::Owned(other.to_owned()), value.clone()));
        Some(Json::Object(others.collect()))
    }

    /// These fields with another context.
    #[must_use]
    pub fn with_context<'s>(self, context: &'s Json<'s>) -> RequestFields<'s>
    where
        'j: 's,
    {
        RequestFields { context: Some(context), ..self }
    }

    /// Checks that every field that is present is an object.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check_objects(&self) -> Result<(), ShapeError> {
        optional_object(self.subject, "subject")?;
        optional_object(self.action, "action")?;
        optional_object(self.resource, "resource")?;
        optional_object(self.context, "context").map(|_| ())
    }

    /// The question of an evaluation.
    ///
    /// # Errors
    /// A field is missing or has the wrong type.
    pub fn question(&self) -> Result<Question<'j>, ShapeError> {
        let action = required_object(self.action, "action")?;
        Ok(Question {
            principal: entity_fields(self.subject, "subject")?,
            action: required_string(action, "action", "name")?,
            action_properties: properties(action, "action")?,
            resource: entity_fields(self.resource, "resource")?,
            context: optional_object(self.context, "context")?,
        })
    }

    /// The question of a search. The id or the name that is searched for is empty in it.
    ///
    /// # Errors
    /// A field is missing or has the wrong type.
    pub fn search_question(&self, search_kind: SearchKind) -> Result<Question<'j>, ShapeError> {
        let entity = |is_searched, json, field| {
            if is_searched { entity_type_only(json, field) } else { entity_fields(json, field) }
        };
        let principal = entity(search_kind == SearchKind::Subject, self.subject, "subject")?;
        let resource = entity(search_kind == SearchKind::Resource, self.resource, "resource")?;
        let context = optional_object(self.context, "context")?;
        if search_kind == SearchKind::Action {
            return Ok(Question { principal, action: "", action_properties: None, resource, context });
        }
        let action = required_object(self.action, "action")?;
        let (name, properties) = (required_string(action, "action", "name")?, properties(action, "action")?);
        Ok(Question { principal, action: name, action_properties: properties, resource, context })
    }
}

/// The part of a question that a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchKind {
    Subject,
    Resource,
    Action,
}

/// A field of a request is missing or has the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("{path}: missing: it has to be {expected}")]
    Missing { path: String, expected: &'static str },
    #[error("{path}: has to be {expected}, found {found}")]
    WrongType { path: String, expected: &'static str, found: &'static str },
    #[error("{path}: has {count} members, at most {MAX_VALUES} are allowed")]
    TooManyMembers { path: String, count: usize },
}

impl ShapeError {
    /// A value at a path is not what it has to be.
    pub fn wrong_type(path: impl Into<String>, expected: &'static str, found: &Json<'_>) -> Self {
        Self::WrongType { path: path.into(), expected, found: found.describe() }
    }
}

impl From<ShapeError> for String {
    fn from(error: ShapeError) -> Self {
        error.to_string()
    }
}

/// The entity that a search is for: its type counts, its id and its properties do not.
fn entity_type_only<'j>(json: Option<&'j Json<'j>>, field: &str) -> Result<QuestionEntity<'j>, ShapeError> {
    Ok(QuestionEntity {
        entity_type: required_string(required_object(json, field)?, field, "type")?,
        id: "",
        properties: None,
    })
}

fn entity_fields<'j>(json: Option<&'j Json<'j>>, field: &str) -> Result<QuestionEntity<'j>, ShapeError> {
    let object = required_object(json, field)?;
    Ok(QuestionEntity {
        entity_type: required_string(object, field, "type")?,
        id: required_string(object, field, "id")?,
        properties: properties(object, field)?,
    })
}

fn properties<'j>(object: &'j Object<'j>, field: &str) -> Result<Option<&'j Object<'j>>, ShapeError> {
    let properties = object.get("properties");
    if properties.is_none() { Ok(None) } else { optional_object(properties, &format!("{field}.properties")) }
}

fn required_object<'j>(json: Option<&'j Json<'j>>, field: &str) -> Result<&'j Object<'j>, ShapeError> {
    optional_object(json, field)?
        .ok_or_else(|| ShapeError::Missing { path: field.to_owned(), expected: "an object" })
}

/// The object at a path, if the field is present.
///
/// # Errors
/// It is not an object, or too large.
pub fn optional_object<'j>(
    json: Option<&'j Json<'j>>,
    path: &str,
) -> Result<Option<&'j Object<'j>>, ShapeError> {
    match json {
        None => Ok(None),
        Some(Json::Object(object)) if object.len() > MAX_VALUES => {
            Err(ShapeError::TooManyMembers { path: path.to_owned(), count: object.len() })
        }
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(other) => Err(ShapeError::wrong_type(path, "an object", other)),
    }
}

fn required_string<'j>(object: &'j Object<'j>, field: &str, key: &str) -> Result<&'j str, ShapeError> {
    match object.get(key) {
        Some(Json::String(text)) => Ok(text),
        Some(other) => Err(ShapeError::wrong_type(format!("{field}.{key}"), "a string", other)),
        None => Err(ShapeError::Missing { path: format!("{field}.{key}"), expected: "a string" }),
    }
}

/// A request error, with AuthZEN's names of the fields.
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

/// The answer to one question. Its texts are borrowed from the decision and the snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EvaluationResponse<'d> {
    pub decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ResponseContext<'d>>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ResponseContext<'d> {
    /// Identifies this decision, as in the records of decisions. A version 7 UUID, so ids sort by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub decision_id: Option<DecisionId>,
    /// Identifies the content (policies, schema and entities) that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<&'d str>,
    /// The decision holds until then on this content: the time may change it afterwards. Absent if no policy reads the
    /// time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub valid_until: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<AdminReason<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<UserReason<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<ExplanationJson<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
    /// For callers that may submit access requests.
    #[serde(flatten)]
    pub asker: Option<&'d AskerContext>,
}

/// The reason for the authors of policies.
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

/// The reason for the person who was denied: the texts of the policies, by language.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserReason<'d> {
    pub en: Cow<'d, str>,
    /// Not there if the content has no German texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub de: Option<Cow<'d, str>>,
}

/// The reason why an item of a batch could not be evaluated.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ItemError {
    pub status: u16,
    pub message: String,
}

fn user_reason(decision: &Decision) -> UserReason<'_> {
    UserReason { en: decision.reason(), de: decision.reason_in(Language::German) }
}

impl<'d> EvaluationResponse<'d> {
    /// The decision alone.
    pub fn decision_only(decision: &Decision) -> Self {
        Self { decision: decision.is_permit(), context: None }
    }

    /// A decision with its id and revision, and with reasons for a denial or if `explain` is set.
    pub fn with_context(id: DecisionId, decision: &'d Decision, revision: &'d str, explain: bool) -> Self {
        let permit = decision.is_permit();
        let context = ResponseContext {
            decision_id: Some(id),
            revision: Some(revision),
            reason_admin: (explain || !permit).then(|| admin_reason(decision)),
            reason_user: (!permit).then(|| user_reason(decision)),
            ..ResponseContext::default()
        };
        Self { decision: permit, context: Some(context) }
    }

    /// A decision with its reasons and its explanation.
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

    /// This answer, with the time until which it holds.
    #[must_use]
    pub fn with_valid_until(mut self, valid_until: Option<Moment>) -> Self {
        if valid_until.is_some() {
            self.context.get_or_insert_default().valid_until = valid_until;
        }
        self
    }

    /// This answer, with what a caller is told that may submit access requests.
    #[must_use]
    pub fn with_asker(mut self, asker: Option<&'d AskerContext>) -> Self {
        if asker.is_some() {
            self.context.get_or_insert_default().asker = asker;
        }
        self
    }

    /// The answer to an item of a batch that could not be evaluated.
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
