//! What tests and proves policies, apart from any running decision point.

pub mod claims;
pub mod counterexample;
pub mod coverage;
pub mod diff;
pub mod fmt;
pub mod lint;
pub mod mutation;
pub mod proof_report;
pub mod prove;
pub mod solver;
pub mod suite;

mod decompose;
mod given;
mod replay;
mod suite_file;
mod symbolic;
