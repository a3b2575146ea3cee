//! What the endpoints of changes do, and which right that takes.

use super::rights::Right;

/// The paths of entities: their type and id follow.
pub const ENTITIES_PREFIX: &str = "/entities/v1/";

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOperation {
    /// Performs an action.
    Action,
    /// Performs several actions.
    Actions,
    /// Reads or writes an entity.
    Entity,
    /// Writes several entities.
    Entities,
}

impl ChangeOperation {
    pub fn right(self) -> Right {
        match self {
            Self::Action | Self::Actions => Right::Change,
            Self::Entity | Self::Entities => Right::WriteEntities,
        }
    }
}
