//! Where a schema's text declares its entity types and actions; Cedar's resolved form does not say.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::Loc;
use cedar_policy_core::validator::RawName;
use cedar_policy_core::validator::json_schema::Fragment;

use super::{ActionId, Kind, Schema};
use crate::fault::{Place, SourceText};

/// The places of a schema's declarations; one may declare several types or actions.
#[derive(Debug, Default)]
pub struct Declarations {
    pub kinds: BTreeMap<Kind, Place>,
    pub actions: BTreeMap<ActionId, Place>,
}

impl Declarations {
    /// The declarations in the text that a schema was read from.
    pub fn of(schema: &Schema, source: &Arc<SourceText>) -> Self {
        let extensions = Extensions::all_available();
        let mut found = Self::default();
        // The schema was read from this text, so it parses.
        let Ok((fragment, _)) = Fragment::<RawName>::from_cedarschema_str(&source.text, extensions) else {
            return found;
        };
        let place = |loc: &Loc| Place::new(source, loc.start(), loc.end() - loc.start());
        for (namespace, content) in &fragment.0 {
            let namespace = namespace.as_ref().map_or_else(String::new, |name| format!("{name}::"));
            for (name, declared) in &content.entity_types {
                let kind = schema.kind_of_full_name(&format!("{namespace}{name}"));
                found.kinds.extend(kind.zip(declared.loc.as_ref().map(place)));
            }
            for (id, declared) in &content.actions {
                let named = schema.actions().find(|(_, action)| {
                    action.name == *id && action.uid.entity_type().to_string() == format!("{namespace}Action")
                });
                found.actions.extend(named.map(|(id, _)| id).zip(declared.loc.as_ref().map(place)));
            }
        }
        found
    }
}
