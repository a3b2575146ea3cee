//! How gateways ask: Envoy's protocol over gRPC and HTTP, and forward auth.

pub mod check;
pub mod envoy;
pub mod http;
