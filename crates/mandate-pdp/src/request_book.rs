//! Reads requests from the log. It reads from the disk.

use std::sync::Arc;

use mandate_store::{EntityName, RecordKey, StoreError, TransactionLog};

use crate::access_request::{
    AccessRequest, BY_CREATED, BY_LINK, BY_OPEN_REQUESTER, BY_REQUESTER, REQUEST_KIND, name_key,
};

/// The requests of a log.
#[derive(Clone)]
pub struct RequestBook {
    log: Arc<dyn TransactionLog>,
}

/// Why requests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestBookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a request of the store cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl RequestBook {
    pub fn new(log: Arc<dyn TransactionLog>) -> Self {
        Self { log }
    }

    /// The request of that id.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<AccessRequest>, RequestBookError> {
        let record = self.log.record(REQUEST_KIND, id)?;
        Ok(record.map(|record| AccessRequest::from_record(&record)).transpose()?)
    }

    /// The request whose review has this link.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn by_link(&self, link: &str) -> Result<Option<AccessRequest>, RequestBookError> {
        self.one(BY_LINK, link)
    }

    /// The request whose review is about this entity.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn by_created(&self, created: &EntityName) -> Result<Option<AccessRequest>, RequestBookError> {
        self.one(BY_CREATED, &name_key(created))
    }

    /// At most so many requests of a requester, the newest first.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of_requester(
        &self,
        requester: &EntityName,
        limit: usize,
    ) -> Result<Vec<AccessRequest>, RequestBookError> {
        self.all(BY_REQUESTER, requester, limit)
    }

    /// At most so many requests of a requester that nobody ended, the newest first.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn open_of_requester(
        &self,
        requester: &EntityName,
        limit: usize,
    ) -> Result<Vec<AccessRequest>, RequestBookError> {
        self.all(BY_OPEN_REQUESTER, requester, limit)
    }

    fn one(&self, index: &str, key: &str) -> Result<Option<AccessRequest>, RequestBookError> {
        let key = RecordKey { kind: REQUEST_KIND, index, key };
        match self.log.records_with_key(key, "", 1)?.first() {
            Some(id) => self.get(id),
            None => Ok(None),
        }
    }

    fn all(
        &self,
        index: &str,
        requester: &EntityName,
        limit: usize,
    ) -> Result<Vec<AccessRequest>, RequestBookError> {
        let key = name_key(requester);
        let ids =
            self.log.last_records_with_key(RecordKey { kind: REQUEST_KIND, index, key: &key }, limit)?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.get(&id)?);
        }
        found.sort_by(|a, b| b.asked_at.cmp(&a.asked_at).then_with(|| b.id.cmp(&a.id)));
        Ok(found)
    }
}
