//! Proves the claims, for all requests and all entities. A claim that does not hold comes with a
//! counterexample that the engine has decided. This file only names the parts: start at `prover`; the results
//! are in `result`. The claims are read in `claims`.

mod prover;
mod result;

pub use prover::prove;
pub use result::{CheckedClaim, ClaimResult, Counterexample, describe_decision, unproven};
