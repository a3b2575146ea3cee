//! The name of an entity in the store, and the digest of what is stored under it.

use mandate_core::digest::Digest;
use mandate_core::schema::{EntityUidRef, Schema};
use serde::{Deserialize, Serialize};

/// The name of an entity, as entity files have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityName {
    /// With its namespace.
    #[serde(rename = "type")]
    pub entity_type: String,
    pub id: String,
}

impl EntityName {
    /// Its key in the table of entities.
    pub(crate) fn as_key(&self) -> (&str, &str) {
        (&self.entity_type, &self.id)
    }

    pub fn new(uid: EntityUidRef<'_>, schema: &Schema) -> Self {
        Self { entity_type: schema.entity_type(uid.entity_type).name.to_string(), id: uid.id.to_owned() }
    }
}

/// The digest of an entity in the store, a member of the digest of all.
pub(crate) fn entity_digest(name: &EntityName, text: &str) -> Digest {
    Digest::of([name.entity_type.as_bytes(), name.id.as_bytes(), text.as_bytes()])
}
