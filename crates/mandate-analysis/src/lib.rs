//! Tests, coverage, lint, formatting, proofs and comparisons of policies, without a running decision point.
//! Not here: the command line that prints the results (`src/cli`). Start at `suite` for tests, at `claims`
//! and `prove` for guardrails, at `lint` and `diff` for the rest; `symbolic` and `solver` are under all of
//! them that need proofs.

pub mod claim_changes;
pub mod claims;
pub mod counterexample;
pub mod coverage;
pub mod diff;
pub mod error;
pub mod fmt;
pub mod guardrail_suite;
pub mod lint;
pub mod mutation;
pub mod proof_report;
pub mod prove;
pub mod solver;
pub mod suite;

mod after;
mod case;
mod claim_kind;
mod decompose;
mod given;
mod replay;
mod route_case;
mod story;
mod suite_file;
mod symbolic;
mod yaml_error;
