//! The interfaces for gateways: Envoy's `ext_authz` over gRPC (`envoy`), and over HTTP `ext_authz` and
//! forward auth (`http`). Both decide in `check`. The AuthZEN API is in `crate::authzen`.

pub mod check;
pub mod envoy;
pub mod http;
