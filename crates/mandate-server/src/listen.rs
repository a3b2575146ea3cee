//! Listeners: who may connect, who may ask, and how much at a time. What they let in goes to a service
//! that knows nothing of it.

pub mod address;
pub mod authentication;
pub mod board;
mod certificate;
pub mod door;
mod jwt;
pub mod refusal;
pub mod server;
pub mod socket;
mod tls;
mod tokens;
mod watched;
