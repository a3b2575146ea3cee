//! Listeners: who may connect, who may ask, and how much at a time. What they let in goes to a service
//! that knows nothing of it.

pub mod address;
pub mod admission;
pub mod authentication;
mod certificate;
mod jwt;
pub mod monitor;
pub mod rejection;
mod reloading_file;
pub mod server;
pub mod socket;
mod tls;
mod tokens;
