//! Which memberships a change can add or take away, by the types of member and parent. They are found in `check`.

use std::collections::BTreeSet;

use mandate_core::schema::EntityTypeId;

/// An entity of one type is directly in one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    pub member: EntityTypeId,
    pub parent: EntityTypeId,
}

/// The memberships that a change can add, and those that it can take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memberships {
    pub added: BTreeSet<Membership>,
    /// Those of a deleted entity, too.
    pub removed: BTreeSet<Membership>,
}
