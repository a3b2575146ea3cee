//! The store: entities in one file, with the log of all transactions that made them what they are. The file is a
//! redb database; nothing has to be installed.
//!
//! Start reading at `store` (what the file holds, and `append`), then `verify` (what its log proves) and `source`
//! (how a decision point follows it). The store knows no schema: entities are texts in Cedar's JSON format, and
//! `edit` makes them of changes that a schema has checked.

mod append;
mod chain;
mod commit;
mod edit;
mod entity_name;
mod error;
mod file;
mod log;
mod marks;
mod position;
#[cfg(test)]
mod power_loss;
mod record;
mod record_tables;
mod requests;
mod source;
mod store;
mod transaction;
mod verify;

pub use chain::LogError;
pub use commit::{LoadError, PreparedChange, load, prepare, take_in};
pub use edit::{Edit, NamedEdit, texts_of_all};
pub use entity_name::EntityName;
pub use error::StoreError;
pub use log::{AppendError, RecordKey, TransactionLog};
pub use marks::Head;
pub use position::{Epoch, LogPosition, ParsePositionError};
pub use record::Record;
pub use source::StoreSource;
pub use store::{Store, StoredEntity};
pub use transaction::{Author, Hex, KeyedRequest, NewTransaction, Transaction};
pub use verify::Verified;
