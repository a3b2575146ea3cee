//! HTTP: the decision API by AuthZEN, and the operators' port.

pub mod admin;
pub mod authzen;
pub mod body;
mod evaluation;
pub mod explanation;
pub mod gateway;
pub mod metadata;
pub mod openapi;
mod page;
mod search;

pub mod wire;
