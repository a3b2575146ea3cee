//! Routes turn HTTP requests into authorization questions, for gateways that only forward requests. They are
//! content like policies: parsed from files, checked against the schema, part of a generation. Authentication
//! is the gateway's job: tokens and certificates are read here, not verified. Start reading at
//! [`Routes::route`]; `parse` reads the files.

pub mod certificate;
mod check;
mod extract_error;
mod extractor;
mod http_request;
mod identity_sources;
mod json_pointer;
mod parse;
pub mod path;
mod path_template;
mod request_values;
mod route;
mod route_change;
mod routes;
mod value_source;

pub use extract_error::ExtractError;
pub use http_request::{HttpRequest, RequestBody};
pub use identity_sources::IdentitySources;
pub use json_pointer::PointerError;
pub use route::{Route, RouteError, RouteMatch};
pub use routes::Routes;
