//! The API of changes: actions that change entities, if the policies permit them, and entities that an outside
//! source writes. Everything is committed by `mandate_pdp::CommitQueue`; start reading at `api`.

mod actions;
pub mod api;
mod entities;
pub mod link_body;
pub mod link_json;
pub(crate) mod links;
pub mod operation;
mod precondition;
pub(crate) mod problem;
pub(crate) mod request;
pub mod rights;
