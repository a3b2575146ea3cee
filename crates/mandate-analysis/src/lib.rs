//! What tests and proves policies, apart from any running decision point.

pub mod coverage;
pub mod diff;
pub mod fmt;
pub mod guardrails;
pub mod lint;
pub mod mutation;
pub mod proof_report;
pub mod prove;
pub mod solver;
pub mod suite;
pub mod witness;

mod bounds;
mod complete;
mod given;
mod simplify;
mod suite_file;
mod symbolic;
