//! Where a schema's text declares its entity types and actions: Cedar's resolved form does not keep that. It
//! is for diagnostics only; what the types mean is in `tables.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::Loc;
use cedar_policy_core::validator::RawName;
use cedar_policy_core::validator::json_schema::Fragment;

use super::tables::Schema;
use super::uid::{ActionId, EntityTypeId};
use crate::diagnostics::{SourceSpan, SourceText};

/// The spans of a schema's declarations; one declaration may declare several types or actions.
#[derive(Debug, Default)]
pub struct Declarations {
    pub entity_types: BTreeMap<EntityTypeId, SourceSpan>,
    pub actions: BTreeMap<ActionId, SourceSpan>,
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
        let span = |loc: &Loc| SourceSpan::new(source, loc.start(), loc.end() - loc.start());
        for (namespace, content) in &fragment.0 {
            let namespace = namespace.as_ref().map_or_else(String::new, |name| format!("{name}::"));
            for (name, declared) in &content.entity_types {
                let entity_type = schema.entity_type_by_full_name(&format!("{namespace}{name}"));
                found.entity_types.extend(entity_type.zip(declared.loc.as_ref().map(span)));
            }
            for (id, declared) in &content.actions {
                let named = schema.actions().find(|(_, action)| {
                    action.name == *id && action.uid.entity_type().to_string() == format!("{namespace}Action")
                });
                found.actions.extend(named.map(|(id, _)| id).zip(declared.loc.as_ref().map(span)));
            }
        }
        found
    }
}
