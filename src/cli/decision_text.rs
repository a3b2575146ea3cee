//! A decision for people: what was decided, by which policies, and why.

use std::fmt::Write as _;

use mandate_core::decision::{Decision, Outcome as Decided};
use mandate_core::policies::PolicyInfo;

/// The decision, and a line or more for each policy that counted.
pub fn decision_text(decision: &Decision) -> String {
    let reason = decision.reason();
    let (word, why) = match &decision.outcome {
        Decided::Permitted(_) => ("permit", "permitted by"),
        Decided::Forbidden(_) => ("deny", "forbidden by"),
        Decided::ForbidFailed(_) => {
            ("deny", "these forbid policies could not be evaluated, so the request is denied:")
        }
        Decided::NotPermitted(unmet) if unmet.policies.is_empty() => ("deny", "no policy permits this"),
        Decided::NotPermitted(_) => ("deny", "not permitted; these would, if their conditions held:"),
        Decided::UnknownPrincipal => ("deny", "the principal is not known"),
        Decided::UnknownResource => ("deny", "the resource is not known"),
        Decided::Suspended(_) => ("deny", &*reason),
    };
    let mut text = match &decision.outcome {
        Decided::NotPermitted(unmet) if !unmet.policies.is_empty() => format!("{word}: {reason}\n  {why}\n"),
        _ => format!("{word}\n  {why}\n"),
    };
    for policy in decision.reported_policies() {
        describe(&mut text, policy);
    }
    for error in &decision.errors {
        let _ = writeln!(text, "  failed: {}: {}", error.policy.id, error.message);
    }
    text
}

fn describe(text: &mut String, policy: &PolicyInfo) {
    let span = policy
        .span
        .as_ref()
        .map_or_else(String::new, |span| format!(" ({}:{})", span.source.path, span.line_column().0));
    let _ = writeln!(text, "    {}{span}", policy.id);
    if let Some(reason) = &policy.reason {
        let _ = writeln!(text, "      {reason}");
    }
}
