//! Transports: bytes in, questions out; decisions in, bytes out. Status codes are chosen here and
//! nowhere below.

pub mod http;
