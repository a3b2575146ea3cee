//! A transaction of the log: who changed what, and how it is chained to the one before.

use std::time::SystemTime;

use mandate_core::digest::{Digest, SetDigest};
use serde::{Deserialize, Serialize};

use crate::edit::NamedEdit;
use crate::entity_name::EntityName;
use crate::position::{Epoch, LogPosition};

/// Who makes a transaction, and why it may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Who sent it: the name that authentication gave, or the command.
    pub caller: String,
    /// The principal whose action it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The policies that permitted it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A request that its sender may repeat without doing it twice. The log remembers it for as long as it has its
/// transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyedRequest {
    /// The sender's name for the request. Each caller has names of its own.
    pub key: String,
    /// The digest of what was asked for.
    pub digest: Hex,
}

/// A transaction to append.
#[derive(Debug, Clone, Default)]
pub struct NewTransaction {
    pub author: Author,
    pub request: Option<KeyedRequest>,
    /// The entities that the sender is told of, because it did not know their names.
    pub created: Vec<EntityName>,
    pub edits: Vec<NamedEdit>,
}

/// A transaction of the log, without its edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    pub sequence: u64,
    pub epoch: Epoch,
    /// The hash of the transaction before; of zeros for the first.
    pub previous: Hex,
    /// When it was appended, by the clock of the machine: for people.
    pub time: String,
    #[serde(flatten)]
    pub author: Author,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<KeyedRequest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub created: Vec<EntityName>,
    /// The number of edits.
    pub edits: u64,
    /// The digest of the edits' texts.
    pub edits_digest: Hex,
    /// The digest of all entities afterwards.
    pub entities: Hex,
}

impl Transaction {
    pub fn position(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, sequence: self.sequence }
    }
}

/// The hash of a transaction: of its text, which names the one before.
pub(crate) fn transaction_hash(text: &[u8]) -> Hex {
    Hex::from(Digest::of([text]))
}

/// A time as the log has it.
pub(crate) fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A SHA-256 digest as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex(String);

impl Hex {
    pub(crate) fn zeros() -> Self {
        Self("0".repeat(64))
    }

    /// The SHA-256 digest of what was asked for.
    pub fn of_request(parts: &[&[u8]]) -> Self {
        Digest::of(parts.iter().copied()).into()
    }

    pub(crate) fn of_set(set: &SetDigest) -> Self {
        set.digest().into()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Digest> for Hex {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
