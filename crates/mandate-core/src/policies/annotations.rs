//! Annotations that nothing reads: most likely they are misspelt, and what they were meant to say is lost.

use cedar_policy::PolicyId;

use super::info::PolicyInfo;
use super::set::Policies;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan};
use crate::suggestion::closest;

/// The annotations of a policy: `allow` is read by lint, the others by this crate.
pub const POLICY_ANNOTATIONS: &[&str] = &["allow", "emergency", "id", "reason", "reason_de"];

/// A warning for each annotation that is not one of `known`.
pub fn unknown_annotations(policies: &Policies, known: &[&str]) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    for info in policies.infos() {
        let Some(policy) = policies.cedar_policies().policy(&PolicyId::new(&info.id)) else { continue };
        for (name, annotation) in policy.as_ref().annotations() {
            let name = name.to_string();
            if !known.contains(&name.as_str()) {
                let span = info.span.as_ref().map(|span| match &annotation.loc {
                    Some(loc) => SourceSpan::new(&span.source, loc.start(), loc.end() - loc.start()),
                    None => span.clone(),
                });
                diagnostics.push(warning(info, &name, known).at(span));
            }
        }
    }
    diagnostics
}

fn warning(info: &PolicyInfo, name: &str, known: &[&str]) -> Diagnostic {
    let warning = Diagnostic::warning(format!("nothing reads the annotation `@{name}` of `{}`", info.id));
    if let Some(meant) = closest(name, known) {
        return warning.help(format!("did you mean `@{meant}`?"));
    }
    let known: Vec<String> = known.iter().map(|known| format!("`@{known}`")).collect();
    warning.help(format!("the annotations that are read here are {}", known.join(", ")))
}
