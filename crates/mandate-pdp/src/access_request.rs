//! A request that waits for somebody else to accept it: what is asked for, the link to its review, and what became of
//! it. It is a record of the store. How it changes is in `review`.

use std::fmt;

use mandate_changes::Seconds;
use mandate_core::digest::Digest;
use mandate_core::moment::Moment;
use mandate_store::{EntityName, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::asked::Asked;
use crate::canonical::canonical_object;

/// The kind of the records of requests.
pub const REQUEST_KIND: &str = "request";

/// The indexes of requests: by link, by the entity that is reviewed, by requester, and by requester while they wait.
pub const BY_LINK: &str = "link";
pub const BY_CREATED: &str = "created";
pub const BY_REQUESTER: &str = "requester";
pub const BY_OPEN_REQUESTER: &str = "#open";

/// The index of requests that wait, by what they ask for.
pub const BY_SAME: &str = "same";

/// A request that waits for a review, or had one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRequest {
    pub id: String,
    /// The secret part of the link to the review. It only leads there: who may do what is decided there.
    pub link: String,
    /// The rule of requests that it follows.
    pub rule: String,
    pub requester: EntityName,
    /// The action that the requester asks to be allowed to have performed.
    pub action: String,
    /// `None` if the reviewer brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<EntityName>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// Whether it stays open after it was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standing: bool,
    /// The entity that is reviewed, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<EntityName>,
    /// When it was asked for, and when it ends, in seconds since 1970.
    pub asked_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    pub status: RequestStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Who sent it: the name that authentication gave.
    pub caller: String,
    /// Two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A request to make.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// The rule to follow; `None` if there is only one for the requester.
    pub rule: Option<String>,
    pub requester: EntityName,
    /// `None` for a link to which the reviewer brings the resource.
    pub resource: Option<EntityName>,
    pub context: Map<String, Value>,
    /// How long it waits; `None` for as long as the rule says.
    pub valid_for: Option<Seconds>,
    /// Two letters.
    pub language: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ended {
    /// In seconds since 1970.
    pub at: i64,
    pub by: EntityName,
    /// The name of the approval, if it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestStatus {
    Pending,
    Approved,
    Denied,
    Expired,
    Cancelled,
}

impl RequestStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RequestStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AccessRequest {
    /// The status at a moment: nobody writes down that time has passed.
    pub fn status_at(&self, now: Moment) -> RequestStatus {
        match (self.status, self.expires_at) {
            (RequestStatus::Pending, Some(end)) if Moment::from_unix_seconds(end) <= now => {
                RequestStatus::Expired
            }
            (status, _) => status,
        }
    }

    /// What its requester asks for, once the resource is known.
    pub fn asked(&self, resource: EntityName) -> Asked {
        Asked {
            principal: self.requester.clone(),
            action: self.action.clone(),
            resource,
            context: self.context.clone(),
        }
    }

    /// A text that requests for the same have in common: by one requester, of one rule, for one resource. `None` if the
    /// reviewer brings the resource.
    pub(crate) fn sameness(&self) -> Option<String> {
        let (requester, resource) = (name_key(&self.requester), name_key(self.resource.as_ref()?));
        let context = canonical_object(&self.context);
        let parts = [&self.rule, &requester, &resource, &context].map(String::as_bytes);
        Some(Digest::of(parts).to_string())
    }

    /// As a record of the store.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn to_record(&self) -> serde_json::Result<Record> {
        let requester = name_key(&self.requester);
        let mut keys =
            vec![(BY_LINK.to_owned(), self.link.clone()), (BY_REQUESTER.to_owned(), requester.clone())];
        keys.extend(self.created.iter().map(|created| (BY_CREATED.to_owned(), name_key(created))));
        if self.status == RequestStatus::Pending {
            keys.push((BY_OPEN_REQUESTER.to_owned(), requester));
            keys.extend(self.sameness().map(|same| (BY_SAME.to_owned(), same)));
        }
        let value = serde_json::value::to_raw_value(self)?;
        Ok(Record { kind: REQUEST_KIND.to_owned(), id: self.id.clone(), keys, value })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// It is not a request.
    pub fn from_record(record: &Record) -> serde_json::Result<Self> {
        serde_json::from_str(record.value.get())
    }
}

/// The name of an entity as a key of an index.
pub fn name_key(name: &EntityName) -> String {
    format!("{}::{}", name.entity_type, name.id)
}

/// As [`random_token`], and texts that are made later are ordered after those that were made before.
pub fn ordered_token() -> String {
    let bytes = [uuid::Uuid::now_v7(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes).concat();
    data_encoding::BASE32HEX_NOPAD.encode(&bytes).to_ascii_lowercase()
}

/// A text that cannot be guessed.
pub fn random_token() -> String {
    // The two ids have 122 random bits each.
    let bytes = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes).concat();
    data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}
