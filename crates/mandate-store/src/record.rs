//! Records: what is kept beside the entities and changes with them, in the same transactions. The store knows only
//! their names and the keys by which they are found.

use mandate_core::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entity_name::{EntityName, entity_digest};
use crate::file::Failure;

/// The names of indexes whose records are counted begin with this.
pub const COUNTED: char = '#';

/// A record, in the place of the one with its kind and id, if there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub kind: String,
    pub id: String,
    /// Where it is found: an index, and its key there.
    pub keys: Vec<(String, String)>,
    pub value: Box<RawValue>,
}

impl Record {
    /// Its name among those of entities: no entity type begins with `@`.
    pub fn name(&self) -> EntityName {
        EntityName { entity_type: format!("@{}", self.kind), id: self.id.clone() }
    }

    pub(crate) fn digest(&self) -> Result<Digest, Failure> {
        let text = serde_json::to_string(self).map_err(|error| Failure::json(&error))?;
        Ok(entity_digest(&self.name(), &text))
    }
}
