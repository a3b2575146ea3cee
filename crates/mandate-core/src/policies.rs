//! Policies: parsed, validated against the schema, and indexed by what a request can match. They are not
//! evaluated here; that is `decide.rs`. Start reading at `set.rs`.

mod annotations;
mod clock_reads;
mod compile;
mod index;
mod info;
mod parse;
mod set;

pub use annotations::{POLICY_ANNOTATIONS, unknown_annotations};
pub use index::{CandidatePolicies, CompiledPolicy, EnvironmentKey, ScopeConstraint};
pub use info::{Effect, PolicyInfo};
pub use parse::MAX_LEVEL;
pub use set::Policies;
