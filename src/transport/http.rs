//! HTTP: the decision API by AuthZEN, and the operators' port.

pub mod admin;
pub mod authzen;
pub mod explanation;
pub mod metadata;
mod page;
mod search;
pub mod server;

pub mod wire;
