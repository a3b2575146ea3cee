//! The trace of a policy: what each clause of its conditions came to for a request. `decide.rs` makes it; the
//! clauses themselves are in `clauses.rs`.

use std::ops::Range;
use std::sync::Arc;

pub use super::clauses::{Clause, TruthValues, is_type_in_test, same_source_range, source_range};
use super::policies::PolicyInfo;

/// The result of one policy for a request that its scope matches.
#[derive(Debug)]
pub struct PolicyTrace {
    pub policy: Arc<PolicyInfo>,
    /// Whether its conditions hold; neither if they failed.
    pub satisfied: TruthValues,
    /// The clauses that were evaluated, by their bytes in the policy's file.
    pub clauses: Vec<(Range<usize>, TruthValues)>,
}
