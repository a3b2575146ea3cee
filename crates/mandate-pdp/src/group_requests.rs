//! Finds requests in the log, as the proposals of a group leave them.

use mandate_changes::RequestRule;
use mandate_store::{EntityName, RecordKey, Transaction};

use crate::access_request::{
    AccessRequest, BY_CREATED, BY_LINK, BY_OPEN_REQUESTER, REQUEST_KIND, RequestStatus, name_key,
};
use crate::commit_group::{CommitGroup, Work, unreadable};
use crate::proposal::Refusal;
use crate::wall_clock;

impl CommitGroup<'_> {
    /// Checks that a requester may have one more request that waits.
    pub(crate) fn check_open(&self, rule: &RequestRule, requester: &EntityName) -> Result<(), Refusal> {
        let (at_most, key) = (rule.open_at_most, name_key(requester));
        let key = RecordKey { kind: REQUEST_KIND, index: BY_OPEN_REQUESTER, key: &key };
        let counted = self.log().count_with_key(key).map_err(unreadable)?;
        let counted = usize::try_from(counted).unwrap_or(usize::MAX);
        if counted.saturating_add(self.requests.open_of(requester)) < at_most {
            return Ok(());
        }
        // Those whose time has passed do not count.
        let now = wall_clock::now();
        let mut open = 0;
        for id in self.log().records_with_key(key, "", counted).map_err(unreadable)? {
            let request = self.stored(&id)?;
            open += usize::from(request.is_some_and(|it| it.status_at(now) == RequestStatus::Pending));
        }
        let is_left = open + self.requests.open_of(requester) < at_most;
        if is_left { Ok(()) } else { Err(Refusal::TooManyRequests(at_most)) }
    }

    /// The request of a link, if it waits.
    pub(crate) fn waiting(&self, work: &Work, link: &str) -> Result<AccessRequest, Refusal> {
        let request = self.find(work, BY_LINK, link)?.ok_or(Refusal::UnknownRequest)?;
        match request.status_at(wall_clock::now()) {
            RequestStatus::Pending => Ok(request),
            status => Err(Refusal::RequestEnded(status)),
        }
    }

    pub(crate) fn find(&self, work: &Work, index: &str, key: &str) -> Result<Option<AccessRequest>, Refusal> {
        let has_key = |request: &&AccessRequest| match index {
            BY_LINK => request.link == key,
            _ => request.created.as_ref().is_some_and(|created| name_key(created) == key),
        };
        let known = work.requests.iter().rfind(has_key).or_else(|| self.requests.find(index, key));
        if let Some(known) = known {
            return Ok(Some(known.clone()));
        }
        let key = RecordKey { kind: REQUEST_KIND, index, key };
        let ids = self.log().records_with_key(key, "", 1).map_err(unreadable)?;
        ids.first().map_or(Ok(None), |id| self.stored(id))
    }

    /// The request of that id.
    pub(crate) fn request_of(&self, work: &Work, id: &str) -> Result<Option<AccessRequest>, Refusal> {
        let known = work.requests.iter().rfind(|request| request.id == id);
        let known = known.or_else(|| self.requests.by_id.get(id));
        known.map_or_else(|| self.stored(id), |request| Ok(Some(request.clone())))
    }

    fn stored(&self, id: &str) -> Result<Option<AccessRequest>, Refusal> {
        let record = self.log().record(REQUEST_KIND, id).map_err(unreadable)?;
        record.map(|record| AccessRequest::from_record(&record)).transpose().map_err(unreadable)
    }

    /// The standing link that was made for the same as this one, if there is one.
    pub(crate) fn standing_of(&self, new: &AccessRequest) -> Result<Option<AccessRequest>, Refusal> {
        let is_same = |request: &AccessRequest| {
            let same = (&request.rule, &request.requester, &request.context);
            request.standing
                && request.status == RequestStatus::Pending
                && same == (&new.rule, &new.requester, &new.context)
        };
        if let Some(known) = self.requests.by_id.values().find(|request| is_same(request)) {
            return Ok(Some(known.clone()));
        }
        let key = name_key(&new.requester);
        let key = RecordKey { kind: REQUEST_KIND, index: BY_OPEN_REQUESTER, key: &key };
        for id in self.log().records_with_key(key, "", usize::MAX).map_err(unreadable)? {
            if let Some(found) = self.stored(&id)?.filter(is_same) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The requests that a proposal had made when it was committed before.
    pub(crate) fn requests_of(&self, found: &[Transaction]) -> Result<Vec<AccessRequest>, Refusal> {
        let mut requests = Vec::new();
        for created in found.iter().flat_map(|transaction| &transaction.created) {
            let key = name_key(created);
            let key = RecordKey { kind: REQUEST_KIND, index: BY_CREATED, key: &key };
            for id in self.log().records_with_key(key, "", 1).map_err(unreadable)? {
                requests.extend(self.stored(&id)?);
            }
        }
        Ok(requests)
    }
}
