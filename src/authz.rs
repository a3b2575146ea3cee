//! The engine, pure: no I/O, no clock, no runtime, no logs. A [`Snapshot`] answers requests, and
//! becomes another one by a change; that is all that can happen.

mod cedar;
pub mod clauses;
pub mod decide;
pub mod decision;
mod depth;
pub mod digest;
pub mod entities;
pub mod explain;
pub mod expression;
pub mod fault;
mod findings;
pub mod format;
pub mod json;
mod parallel;
pub mod policies;
pub mod request;
pub mod routes;
pub mod schema;
pub mod search;
mod seen;
pub mod slice;
pub mod snapshot;
pub mod stamp;
pub mod value;

pub use snapshot::Snapshot;
