//! Changes of requests while it is not known whether they are committed.

use std::collections::HashMap;

use mandate_store::EntityName;

use crate::access_request::{AccessRequest, BY_LINK, RequestStatus, name_key};

/// The request that an action ends, and how.
pub(crate) struct Review {
    pub request: AccessRequest,
    pub becomes: RequestStatus,
}

/// The requests that the proposals of a group made or changed.
#[derive(Default)]
pub(crate) struct GroupRequests {
    pub by_id: HashMap<String, AccessRequest>,
    /// Ids, by link and by the entity that is reviewed.
    by_link: HashMap<String, String>,
    by_created: HashMap<String, String>,
    /// How many of them wait, by requester.
    open: HashMap<String, usize>,
}

impl GroupRequests {
    pub fn extend(&mut self, requests: &[AccessRequest]) {
        for request in requests {
            self.by_link.insert(request.link.clone(), request.id.clone());
            if let Some(created) = &request.created {
                self.by_created.insert(name_key(created), request.id.clone());
            }
            let is_open = |request: &AccessRequest| request.status == RequestStatus::Pending;
            let before = self.by_id.insert(request.id.clone(), request.clone());
            let open = self.open.entry(name_key(&request.requester)).or_default();
            *open = *open + usize::from(is_open(request)) - usize::from(before.as_ref().is_some_and(is_open));
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &AccessRequest> {
        self.by_id.values()
    }

    pub fn find(&self, index: &str, key: &str) -> Option<&AccessRequest> {
        let ids = if index == BY_LINK { &self.by_link } else { &self.by_created };
        self.by_id.get(ids.get(key)?)
    }

    /// How many more requests of a requester wait.
    pub fn open_of(&self, requester: &EntityName) -> usize {
        self.open.get(&name_key(requester)).copied().unwrap_or_default()
    }
}
