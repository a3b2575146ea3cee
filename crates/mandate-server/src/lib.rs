//! Transports: bytes in, questions out; decisions in, bytes out. Status codes are chosen here, and what is
//! decided is not.

pub mod admin;
pub mod authzen;
pub mod body;
mod context;
pub mod gateway;
pub mod listen;
pub mod service;
