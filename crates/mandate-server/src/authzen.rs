//! The AuthZEN Authorization API 1.0 over HTTP: evaluation, evaluations, search and metadata. The paths are
//! in `crate::endpoints`, the `OpenAPI` document in `crate::openapi`. Requests enter at `http`.

pub mod api;
pub(crate) mod evaluation;
pub mod explanation;
mod http;
pub(crate) mod json_body;
pub mod metadata;
mod page;
pub(crate) mod search;
mod turns;
pub mod wire;
