//! The rules about a policy's text: annotations and conditions that are missing, and what its `@allow`
//! accepts. None of them needs the solver.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy};

use super::finding::{Finding, RuleResults, quoted_list};
use super::rule::{AnnotationRule, Rule};
use mandate_core::policies::PolicyInfo;

/// Checks the rules about the policy's text.
pub fn check_annotations(info: &PolicyInfo, policy: &Policy, results: &mut RuleResults) {
    let unconditional =
        policy.effect() == Effect::Permit && policy.as_ref().non_scope_constraints().is_none();
    let has = |name: &str| policy.annotation(name).is_some_and(|text| !text.is_empty());
    let id = &info.id;
    let rules = [
        (
            AnnotationRule::Unconditional,
            unconditional,
            format!("`{id}` permits everything in its scope, without a condition"),
            "add a `when`, or accept it with `@allow(\"unconditional\")`",
        ),
        (
            AnnotationRule::MissingId,
            !has("id"),
            format!("a policy has no `@id`, so its id is `{id}`"),
            "add an `@id`, so that answers and logs can name the policy",
        ),
        (
            AnnotationRule::MissingReason,
            !has("reason"),
            format!("`{id}` has no `@reason`"),
            "write in one sentence what the policy requires: gateways show it when they deny a request",
        ),
    ];
    for (rule, broken, message, help) in rules {
        let rule = Rule::Annotation(rule);
        results.record(rule, broken.then(|| Finding::of(info, rule, message, help)));
    }
}

/// The findings that the policy's `@allow` does not accept, and those about the `@allow` itself.
pub fn apply_allow(info: &PolicyInfo, policy: &Policy, results: RuleResults) -> Vec<Finding> {
    let RuleResults { passed, found } = results;
    let Some(allowed) = policy.annotation("allow") else { return found };
    let (mut accepted, mut findings) = (BTreeSet::new(), Vec::new());
    for name in allowed.split(',').map(str::trim) {
        let (message, help) = match Rule::allowable().find(|rule| rule.name() == name) {
            Some(rule) if passed.contains(&rule) => (
                format!("`{}` has `@allow(\"{name}\")`, but the rule finds nothing in it", info.id),
                format!("remove `{name}` from `@allow`: the rule finds {}", rule.finds()),
            ),
            Some(rule) => {
                accepted.insert(rule);
                continue;
            }
            None => (
                format!("`{}` has `@allow(\"{name}\")`, which is not a lint rule for policies", info.id),
                format!("use one of {}", quoted_list(Rule::allowable().map(Rule::name))),
            ),
        };
        findings.push(Finding::of(info, Rule::UnneededAllow, message, help));
    }
    findings.extend(found.into_iter().filter(|finding| !accepted.contains(&finding.rule)));
    findings
}
