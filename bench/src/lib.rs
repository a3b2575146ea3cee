//! The benchmarks of Mandate: generated data sets with questions whose answers are known, servers to compare
//! with, and load generators. The sidecar uses none of this.

pub mod compare;
pub mod dataset;
pub mod gateway;
pub mod grpc;
pub mod in_process;
pub mod instructions;
pub mod limit;
pub mod load;
pub mod numbers;
pub mod peers;
pub mod plot;
pub mod prepared;
pub mod process;
pub mod report;
pub mod results;
pub mod round;
pub mod setup;
pub mod suite;
