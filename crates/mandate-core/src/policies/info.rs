//! What identifies a policy in answers and logs: id, reason, effect and span. The policy itself is in
//! `set.rs`.

pub use cedar_policy::Effect;
use smol_str::SmolStr;

use crate::diagnostics::SourceSpan;

/// The id, reason, effect and span of a policy.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// The `@id`, or the file and the position in it if there is none.
    pub id: SmolStr,
    /// The `@reason`: a sentence that a gateway can show.
    pub reason: Option<SmolStr>,
    pub effect: Effect,
    pub span: Option<SourceSpan>,
}

/// Two infos are the same policy if they have the same id; ids are unique in a set.
impl PartialEq for PolicyInfo {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PolicyInfo {}
