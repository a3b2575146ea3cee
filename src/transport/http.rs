//! HTTP: the decision API by AuthZEN, and the operators' port.

pub mod admin;
pub mod authzen;
pub mod body;
pub mod explanation;
pub mod gateway;
pub mod openapi;

pub mod wire;
