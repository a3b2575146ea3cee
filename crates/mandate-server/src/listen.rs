//! Listeners: sockets, TLS, authentication and limits. Start reading at `server`, which accepts connections,
//! and at `admission`, which every request passes. Admitted requests go to the service of the listener.

pub mod address;
pub mod admission;
pub mod authentication;
mod certificate;
pub mod error;
mod jwt;
pub mod monitor;
mod places;
pub mod rejection;
pub(crate) mod reloading_file;
mod sent_body;
pub mod server;
pub mod socket;
mod tls;
mod token_error;
mod tokens;
