//! What the benchmarks share: a world of any size, questions about it whose answers are known, and
//! servers to ask. Nothing here is part of the sidecar.

pub mod bars;
pub mod busy;
pub mod grpc;
pub mod http;
pub mod inside;
pub mod limit;
pub mod load;
pub mod peers;
pub mod plot;
pub mod process;
pub mod report;
pub mod suite;
pub mod world;
