//! The engine, pure: no I/O, no clock, no runtime, no logs. A [`Snapshot`] answers requests, and
//! becomes another one by a change; that is all that can happen.

pub mod cedar;
pub mod cedar_diagnostics;
pub mod decide;
pub mod decision;
pub mod diagnostics;
pub mod digest;
pub mod display;
pub mod entities;
pub mod expression;
pub mod json;
mod parallel;
pub mod policies;
pub mod request;
pub mod schema;
pub mod slice;
pub mod small_set;
pub mod snapshot;
pub mod text_limits;
pub mod trace;
pub mod value;
pub mod version;

pub use snapshot::Snapshot;
