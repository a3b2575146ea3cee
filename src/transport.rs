//! Transports: bytes in, questions out; decisions in, bytes out. Status codes are chosen here and
//! nowhere below.

mod checkpoint;
pub mod envoy;
pub mod http;
pub mod listen;
pub mod service;
