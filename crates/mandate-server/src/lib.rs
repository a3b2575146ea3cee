//! The transports of Mandate: requests in, decisions out. HTTP status codes are chosen here; decisions are
//! made in `mandate-pdp`. A connection enters at `listen::server`, a request at `service`; the paths are in
//! `endpoints`.

pub mod access_requests;
pub mod admin;
pub mod admin_store;
pub mod authzen;
mod base_url;
pub mod body;
pub mod changes;
mod context;
pub mod endpoint_path;
pub mod endpoints;
pub mod gateway;
mod language;
pub mod listen;
pub mod methods;
pub mod openapi;
pub mod position;
mod process_metrics;
pub mod service;
