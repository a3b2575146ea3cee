//! What the benchmarks share: a world of any size, questions about it whose answers are known, and
//! servers to ask. Nothing here is part of the sidecar.

pub mod compare;
pub mod gateway;
pub mod grpc;
pub mod inside;
pub mod instructions;
pub mod limit;
pub mod load;
pub mod numbers;
pub mod peers;
pub mod plot;
pub mod process;
pub mod report;
pub mod results;
pub mod round;
pub mod setup;
pub mod shot;
pub mod suite;
pub mod world;
