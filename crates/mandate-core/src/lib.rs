//! The engine. It does no I/O, reads no clock, runs no async code and writes no logs. A [`Snapshot`] decides
//! requests; a change of entities or policies makes another snapshot. Start reading at `snapshot.rs`.

pub mod cedar;
pub mod cedar_diagnostics;
pub mod change_kind;
mod clause_reason;
pub mod clauses;
pub mod clock;
pub mod content_change;
pub mod decide;
pub mod decision;
pub mod diagnostics;
pub mod digest;
pub mod display;
pub mod entities;
pub mod expression;
mod extension;
pub mod json;
pub mod moment;
pub mod parallel;
pub mod policies;
pub mod reachable;
pub mod reason;
pub mod request;
pub mod schema;
mod seen;
pub mod slice;
pub mod snapshot;
pub mod suggestion;
pub mod text_limits;
pub mod trace;
pub mod value;
pub mod version;

pub use snapshot::Snapshot;
