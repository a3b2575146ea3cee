//! The cursor of a search: where one page ends and the next one starts. Clients get it as an opaque token,
//! which the server makes; `walk` resumes from it.

use mandate_core::schema::EntityUid;

/// The position of an entity in a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub phase: WalkPhase,
    /// The entity that was visited last.
    pub last_entity: EntityUid,
}

/// The part of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkPhase {
    /// The entities that the policies name.
    Named,
    /// The descendants of the entities that the policies name with `in`, or all entities of the type.
    Descendants,
}
