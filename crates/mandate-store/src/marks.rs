//! Where the log of a store begins and ends.

use mandate_core::digest::SetDigest;
use redb::ReadableTable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::file::Failure;
use crate::position::{Epoch, LogPosition};
use crate::transaction::Hex;

/// The name of the mark at the end of the log.
pub const HEAD: &str = "head";

/// The name of the mark before the first transaction that the log still has.
pub const BASE: &str = "base";

/// The end of the log, or what came before its first transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub epoch: Epoch,
    pub sequence: u64,
    /// The hash of the last transaction; of zeros if there is none.
    pub hash: Hex,
    /// The sum whose digest is that of all entities.
    pub(crate) sum: [u8; 32],
}

impl Head {
    pub fn position(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, sequence: self.sequence }
    }

    /// The digest of all entities.
    pub fn entities(&self) -> Hex {
        Hex::of_set(&SetDigest::from_bytes(&self.sum))
    }
}

/// The mark of that name.
pub fn mark(
    marks: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Head, Failure> {
    let mark = marks.get(name)?.ok_or_else(|| Failure::Damaged(format!("it has no `{name}`")))?;
    from_json(mark.value())
}

pub fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::json(&error))
}

pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::json(&error))
}
