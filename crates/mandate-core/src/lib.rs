//! The engine, pure: no I/O, no clock, no runtime, no logs. A [`Snapshot`] answers requests, and
//! becomes another one by a change; that is all that can happen.

pub mod cedar;
pub mod clauses;
pub mod decide;
pub mod decision;
pub mod depth;
pub mod digest;
pub mod display;
pub mod entities;
pub mod expression;
pub mod fault;
pub mod findings;
pub mod json;
mod parallel;
pub mod policies;
pub mod request;
pub mod schema;
pub mod seen;
pub mod slice;
pub mod snapshot;
pub mod stamp;
pub mod value;

pub use snapshot::Snapshot;
