//! A question in words of its own, to be asked later: by the schema of then, on the entities of then.

use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::display;
use mandate_core::json::{Json, Object};
use mandate_core::request::{Question, QuestionEntity, Request, RequestError};
use mandate_core::schema::{EntityUid, Schema};
use mandate_store::EntityName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A question in words of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub principal: EntityName,
    pub action: String,
    pub resource: EntityName,
    pub context: Map<String, Value>,
}

impl Asked {
    /// A question without a context.
    pub fn new(principal: EntityName, action: impl Into<String>, resource: EntityName) -> Self {
        Self { principal, action: action.into(), resource, context: Map::new() }
    }

    /// What a request asks, without the time.
    pub fn of(request: &Request, schema: &Schema) -> Self {
        let name = |uid: &EntityUid| EntityName::new(uid.as_uid_ref(), schema);
        let context = match display::request_json(&request.context_of_caller(schema), schema) {
            Value::Object(context) => context,
            _ => Map::new(),
        };
        let (principal, resource) = (name(&request.principal), name(&request.resource));
        Self { principal, action: display::action(request.action, schema), resource, context }
    }

    /// Calls `ask` with the question.
    pub fn with_question<T>(&self, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        fn named(name: &EntityName) -> QuestionEntity<'_> {
            QuestionEntity { entity_type: &name.entity_type, id: &name.id, properties: None }
        }
        let context: Object<'_> =
            self.context.iter().map(|(name, value)| (name.as_str().into(), to_json(value))).collect();
        ask(&Question {
            principal: named(&self.principal),
            action: &self.action,
            action_properties: None,
            resource: named(&self.resource),
            context: Some(&context),
        })
    }

    /// Reads it by the schema of a snapshot.
    ///
    /// # Errors
    /// The first part that does not fit the schema.
    pub fn request(&self, snapshot: &Snapshot, clock: Clock) -> Result<Request, RequestError> {
        self.with_question(|question| snapshot.request_from_question(question, clock))
    }
}

fn to_json(value: &Value) -> Json<'_> {
    match value {
        Value::Null => Json::Null,
        Value::Bool(it) => Json::Bool(*it),
        Value::Number(number) => number.as_i64().map_or(Json::OtherNumber, Json::Long),
        Value::String(text) => Json::String(text.as_str().into()),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.as_str().into(), to_json(value))).collect())
        }
    }
}
