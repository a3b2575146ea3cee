//! Lint: what is in policies and their schema without effect, and what policies should say but do not.
//! An author accepts a finding by the annotation `@allow` on the policy.

mod solver_rules;
mod unused;

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId};
use serde::Serialize;
use smol_str::SmolStr;

use super::solver::Solver;
use super::symbolic::{RequestEnvironment, environments};
use mandate_core::diagnostics::{Diagnostic, SourceSpan, SourceText};
use mandate_core::policies::{EnvironmentKey, Policies, PolicyInfo};

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A policy that no request matches.
    NeverMatches,
    /// A permit whose every request a forbid denies.
    Shadowed,
    /// A policy without which every decision is the same.
    Redundant,
    /// A permit without conditions.
    Unconditional,
    MissingId,
    MissingReason,
    /// An `@allow` that accepts nothing.
    UnneededAllow,
    /// An entity type that no decision can read.
    UnusedEntityType,
    /// An action that no permit takes.
    UnusedAction,
}

impl Rule {
    /// Those that a policy can be accepted to break.
    const POLICY_RULES: [Self; 6] = [
        Self::NeverMatches,
        Self::Shadowed,
        Self::Redundant,
        Self::Unconditional,
        Self::MissingId,
        Self::MissingReason,
    ];

    /// Those that take a solver.
    pub const SOLVER_RULES: [Self; 3] = [Self::NeverMatches, Self::Shadowed, Self::Redundant];

    pub fn name(self) -> &'static str {
        match self {
            Self::NeverMatches => "never-matches",
            Self::Shadowed => "shadowed",
            Self::Redundant => "redundant",
            Self::Unconditional => "unconditional",
            Self::MissingId => "missing-id",
            Self::MissingReason => "missing-reason",
            Self::UnneededAllow => "unneeded-allow",
            Self::UnusedEntityType => "unused-entity-type",
            Self::UnusedAction => "unused-action",
        }
    }
}

/// What was found, where, and what to do.
#[derive(Debug)]
pub struct Finding {
    pub rule: Rule,
    /// The policy that it is about, if it is about one.
    pub policy: Option<SmolStr>,
    pub span: Option<SourceSpan>,
    pub message: String,
    pub help: String,
}

impl Finding {
    fn of(info: &PolicyInfo, rule: Rule, message: String, help: impl Into<String>) -> Self {
        Self { rule, policy: Some(info.id.clone()), span: info.span.clone(), message, help: help.into() }
    }

    /// The finding as a warning that names its rule.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let message = format!("{}: {}", self.rule.name(), self.message);
        Diagnostic::warning(message).help(self.help.clone()).at(self.span.clone())
    }
}

/// Everything that is found, in the order of the texts. Without a solver, what takes one is left out.
pub fn lint(policies: &Policies, schema: &Arc<SourceText>, mut solver: Option<&mut Solver>) -> Vec<Finding> {
    let environments = environments(policies.schema());
    let mut findings = unused::findings(policies, schema);
    for info in policies.infos() {
        let Some(policy) = policies.cedar_policies().policy(&PolicyId::new(&info.id)) else { continue };
        let environments = environments.iter().filter(|it| scope_takes(policies, it.ids, info)).collect();
        let linted = LintedPolicy { info, policy, environments };
        let mut results = RuleResults::default();
        match solver.as_deref_mut() {
            _ if linted.environments.is_empty() => results.found.push(matches_no_environment(info)),
            Some(solver) => solver_rules::check_with_solver(&linted, policies, solver, &mut results),
            None => {}
        }
        check_annotations(&linted, &mut results);
        findings.extend(apply_allow_annotation(&linted, results));
    }
    findings.sort_by_cached_key(|finding| {
        let span = finding.span.as_ref().map(|span| (span.source.path.clone(), span.offset));
        (span.is_none(), span, finding.rule, finding.message.clone())
    });
    findings
}

/// A policy to look at.
struct LintedPolicy<'a> {
    info: &'a PolicyInfo,
    policy: &'a Policy,
    /// The request environments that its scope takes.
    environments: Vec<&'a RequestEnvironment>,
}

fn scope_takes(policies: &Policies, environment: EnvironmentKey, info: &PolicyInfo) -> bool {
    let candidates = policies.candidates(environment);
    candidates.is_some_and(|candidates| candidates.all().any(|candidate| *candidate.info == *info))
}

fn matches_no_environment(info: &PolicyInfo) -> Finding {
    let message = format!("`{}` never matches: no action takes such a principal and resource", info.id);
    Finding::of(info, Rule::NeverMatches, message, "correct its scope, or remove it")
}

/// What a look at one policy brought.
#[derive(Debug, Default)]
struct RuleResults {
    /// The rules that it surely keeps.
    passed: BTreeSet<Rule>,
    found: Vec<Finding>,
}

impl RuleResults {
    fn record(&mut self, rule: Rule, found: Option<Finding>) {
        match found {
            Some(finding) => self.found.push(finding),
            None => {
                self.passed.insert(rule);
            }
        }
    }
}

/// What a policy does not say.
fn check_annotations(linted: &LintedPolicy<'_>, results: &mut RuleResults) {
    let LintedPolicy { info, policy, .. } = linted;
    let open = policy.effect() == Effect::Permit && policy.as_ref().non_scope_constraints().is_none();
    let says = |name: &str| policy.annotation(name).is_some_and(|text| !text.is_empty());
    let id = &info.id;
    let rules = [
        (
            Rule::Unconditional,
            open,
            format!("`{id}` permits whatever its scope takes, without a condition"),
            "add a `when`, or accept it with `@allow(\"unconditional\")`",
        ),
        (
            Rule::MissingId,
            !says("id"),
            format!("a policy has no `@id`, so it is known as `{id}`"),
            "give it one, so that answers and logs can name it",
        ),
        (
            Rule::MissingReason,
            !says("reason"),
            format!("`{id}` has no `@reason`"),
            "say in a sentence what it takes, or why not: gateways show it to whoever is denied",
        ),
    ];
    for (rule, broken, message, help) in rules {
        results.record(rule, broken.then(|| Finding::of(info, rule, message, help)));
    }
}

/// What is left when the policy's `@allow` is heard, which may be wrong itself.
fn apply_allow_annotation(linted: &LintedPolicy<'_>, results: RuleResults) -> Vec<Finding> {
    let LintedPolicy { info, policy, .. } = linted;
    let RuleResults { passed, found } = results;
    let Some(allowed) = policy.annotation("allow") else { return found };
    let (mut rules, mut findings) = (BTreeSet::new(), Vec::new());
    for name in allowed.split(',').map(str::trim) {
        let rule = Rule::POLICY_RULES.into_iter().find(|rule| rule.name() == name);
        let (message, help) = match rule {
            Some(rule) if passed.contains(&rule) => (
                format!("`{}` allows `{name}`, of which there is nothing to accept", info.id),
                "remove it from `@allow`".to_owned(),
            ),
            Some(rule) => {
                rules.insert(rule);
                continue;
            }
            None => (
                format!("`{}` allows `{name}`, which is no rule for policies", info.id),
                format!("the rules are {}", quoted_list(Rule::POLICY_RULES.map(Rule::name))),
            ),
        };
        findings.push(Finding::of(info, Rule::UnneededAllow, message, help));
    }
    findings.extend(found.into_iter().filter(|finding| !rules.contains(&finding.rule)));
    findings
}

/// Names in backticks, separated by commas.
fn quoted_list<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
