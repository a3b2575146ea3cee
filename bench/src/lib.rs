//! What the benchmarks share: a world of any size, questions about it whose answers are known, and
//! servers to ask. Nothing here is part of the sidecar.

pub mod limit;
pub mod load;
pub mod process;
pub mod world;
