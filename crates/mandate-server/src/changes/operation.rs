//! What the endpoints of changes do, and which right that takes.

use super::rights::Right;

/// The paths of entities: their type and id follow.
pub const ENTITIES_PREFIX: &str = "/entities/v1/";

/// The path of links, and the prefix of the paths of each.
pub const LINKS_PATH: &str = "/links/v1";
pub const LINK_PREFIX: &str = "/links/v1/";

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
    /// Makes or lists requests that are reviewed by link.
    Links,
    /// Shows, accepts, declines or withdraws one.
    Link,
}

impl ChangeOperation {
    pub fn right(self) -> Right {
        match self {
            Self::Action | Self::Actions | Self::Links | Self::Link => Right::Change,
            Self::Entity | Self::Entities => Right::WriteEntities,
        }
    }
}
