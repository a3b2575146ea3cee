//! The side of a request that a search looks for, and the other side, which is given. A search for actions
//! has no target; see `actions`.

use super::permitted::exists;
use mandate_core::request::Request;
use mandate_core::schema::EntityUid;
use mandate_core::snapshot::Snapshot;

/// The side of a request that a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Principal,
    Resource,
}

impl Target {
    pub(super) fn searched_entity(self, request: &Request) -> &EntityUid {
        match self {
            Self::Principal => &request.principal,
            Self::Resource => &request.resource,
        }
    }

    pub(super) fn searched_entity_mut(self, request: &mut Request) -> &mut EntityUid {
        match self {
            Self::Principal => &mut request.principal,
            Self::Resource => &mut request.resource,
        }
    }

    pub(super) fn given_entity(self, request: &Request) -> &EntityUid {
        match self {
            Self::Principal => &request.resource,
            Self::Resource => &request.principal,
        }
    }

    /// Whether the given entity is stored, enumerated or described by the caller. Otherwise nothing is
    /// permitted.
    pub(super) fn given_entity_exists(self, snapshot: &Snapshot, request: &Request) -> bool {
        let described = match self {
            Self::Principal => &request.resource_properties,
            Self::Resource => &request.principal_properties,
        };
        described.is_some() || exists(snapshot, self.given_entity(request))
    }
}
