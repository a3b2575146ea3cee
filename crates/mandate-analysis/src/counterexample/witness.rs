//! A witness: a request with entities of its own, which can be loaded, decided, described and reported.
//! How one is made from the solver's model is in `model`; how it is made readable, in `readable`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as JsonValue;

use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::Diagnostics;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert, Origin};
use mandate_core::request::Request;
use mandate_core::schema::{EntityUid, Schema};

/// A request with entities of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    pub request: Request,
    pub entities: BTreeMap<EntityUid, EntityData>,
}

/// A witness as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct WitnessReport {
    pub principal: String,
    pub action: String,
    pub resource: String,
    pub context: JsonValue,
    pub entities: Vec<JsonValue>,
}

impl Witness {
    /// The snapshot with these entities added.
    ///
    /// # Errors
    /// Why the entities cannot be loaded.
    pub fn load_into(&self, empty: &Snapshot) -> Result<Snapshot, Diagnostics> {
        let schema = empty.schema();
        let upsert =
            |entity| EntityUpsert { entity: Entity::pack(entity, Origin::default(), schema), span: None };
        empty.apply(&EntityChanges {
            upserts: self.entities.values().map(upsert).collect(),
            removals: Vec::new(),
        })
    }

    /// The engine's decision on the request, in a snapshot into which these entities are loaded.
    pub fn decide(&self, loaded: &Snapshot) -> Option<Decision> {
        loaded.decide(&self.request, &loaded.gather(&self.request)).ok()
    }

    /// The witness in one sentence.
    pub fn describe(&self, schema: &Schema) -> String {
        let [principal, resource] =
            [&self.request.principal, &self.request.resource].map(|it| display::uid(it.as_uid_ref(), schema));
        let action = display::action(self.request.action, schema);
        let context = display::record(&self.request.context, schema);
        let context = if context.is_empty() { context } else { format!(" {{ {context} }}") };
        let entities: Vec<String> =
            self.entities.values().map(|entity| display::entity(entity, schema)).collect();
        format!("{principal} {action} {resource}{context}, where there are {}", entities.join("; "))
    }

    /// The witness as JSON: the request as in a test case, the entities in Cedar's format.
    pub fn report(&self, schema: &Schema) -> WitnessReport {
        WitnessReport {
            principal: display::uid(self.request.principal.as_uid_ref(), schema),
            action: display::action(self.request.action, schema),
            resource: display::uid(self.request.resource.as_uid_ref(), schema),
            context: display::request_json(&self.request.context, schema),
            entities: self.entities.values().map(|entity| display::entity_json(entity, schema)).collect(),
        }
    }
}
