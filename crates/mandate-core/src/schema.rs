//! The schema as the engine uses it: entity types, actions and types, with prepared Cedar names. Cedar parses
//! and resolves the text (`resolved.rs`), so what a type means is Cedar's word, not ours. The rules that
//! Cedar's schema language cannot express ([`Rules`]) come from annotations. Start reading at `tables.rs`.

mod annotation_places;
mod clocks;
mod declarations;
mod ends;
mod expansion;
mod names;
mod resolved;
mod resolved_json;
mod tables;
mod types;
mod uid;

pub use declarations::Declarations;
pub use names::Unresolved;
pub use tables::{ActionDef, EntityTypeDef, Rules, Schema};
pub use types::{Attribute, ClockAttribute, Extension, Granularity, RecordType, Type};
pub use uid::{ActionId, EntityTypeId, EntityUid, EntityUidRef};
