//! The engine, pure: no I/O, no clock, no runtime, no logs. A [`Snapshot`] answers requests, and
//! becomes another one by a change; that is all that can happen.

pub mod decide;
pub mod decision;
mod depth;
pub mod digest;
pub mod entities;
pub mod fault;
mod findings;
pub mod json;
pub mod policies;
pub mod request;
pub mod schema;
pub mod slice;
pub mod snapshot;
pub mod stamp;
pub mod value;

pub use snapshot::Snapshot;
