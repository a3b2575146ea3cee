//! What tests and proves policies, apart from any running decision point.

pub mod coverage;
pub mod names;
pub mod suite;

mod given;
mod suite_file;
