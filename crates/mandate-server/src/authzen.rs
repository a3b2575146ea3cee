//! AuthZEN over HTTP: evaluation, evaluations, search, metadata, and the document that describes them.

pub mod endpoints;
mod evaluation;
pub mod explanation;
pub mod metadata;
pub mod openapi;
mod page;
mod search;
pub mod wire;
