//! The entity store: entities by uid, the members of each entity, and the rules that every change must keep.
//! A change costs what it touches, however many entities there are. Start reading at `store.rs` (the state),
//! `apply.rs` (a change) or `parse.rs` (entity files).

mod apply;
mod change;
mod codec;
mod difference;
mod member_index;
mod packed;
mod parse;
mod parts;
mod rules;
mod store;
mod transaction;
mod trie;

pub use change::{EntityChanges, EntityUpsert};
pub use codec::CorruptEntity;
pub use difference::EntityDifference;
pub use packed::{Entity, EntityData, Origin};
pub use parse::{LoadProgress, parse_entity_file, parse_entity_json, parse_entity_text};
pub use parts::Part;
pub use store::{Entities, StoredEntity};
