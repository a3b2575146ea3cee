//! What identifies a policy in answers and logs: id, reason, effect and span; and whether it is an emergency. The policy itself is in
//! `set.rs`.

pub use cedar_policy::Effect;
use smol_str::SmolStr;

use crate::diagnostics::{Diagnostic, SourceSpan};
use crate::reason::Reason;

/// The id, reason, effect and span of a policy.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// The `@id`, or the file and the position in it if there is none.
    pub id: SmolStr,
    /// The `@reason`, and its `@reason_de`: a sentence that a gateway can show.
    pub reason: Option<Reason>,
    pub effect: Effect,
    /// What the `@emergency` of a forbid says: floors are proven without it, because it can only narrow.
    pub emergency: Option<SmolStr>,
    pub span: Option<SourceSpan>,
}

impl PolicyInfo {
    /// What there is to say of the `@emergency`: only a forbid can have it, and operators are reminded of it as
    /// long as it is there.
    pub fn check_emergency(&self) -> Option<Diagnostic> {
        let (id, why) = (&self.id, self.emergency.as_ref()?);
        let diagnostic = match (self.effect, why.is_empty()) {
            (Effect::Permit, _) => Diagnostic::error(format!("`{id}` is a permit with `@emergency`")).help(
                "only a `forbid` can be an emergency, because it takes permissions away: remove `@emergency`",
            ),
            (Effect::Forbid, true) => {
                Diagnostic::warning(format!("`{id}` is an emergency, and does not say why"))
                    .help("floors are proven without it: write the incident in `@emergency`")
            }
            (Effect::Forbid, false) => Diagnostic::warning(format!("`{id}` is an emergency: {why}"))
                .help("floors are proven without it: remove it when the emergency is over"),
        };
        Some(diagnostic.at(self.span.clone()))
    }
}

/// Two infos are the same policy if they have the same id; ids are unique in a set.
impl PartialEq for PolicyInfo {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PolicyInfo {}
