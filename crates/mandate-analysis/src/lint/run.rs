//! Runs all lint rules on all policies and the schema, and sorts what they find. The rules themselves are in
//! `solver_rules`, `annotations` and `unused`.

use std::sync::Arc;

use cedar_policy::PolicyId;

use super::annotations::{apply_allow, check_annotations};
use super::finding::{Finding, RuleResults};
use super::rule::{Rule, SolverRule};
use super::solver_rules::{self, SolvedPolicy};
use super::unused;
use crate::solver::Solver;
use crate::symbolic::environments;
use mandate_core::diagnostics::SourceText;
use mandate_core::policies::{EnvironmentKey, Policies, PolicyInfo};

/// All findings, in the order of the files and of their text. Without a solver, the rules that need one are
/// skipped.
pub fn lint(policies: &Policies, schema: &Arc<SourceText>, mut solver: Option<&mut Solver>) -> Vec<Finding> {
    let environments = environments(policies.schema());
    let mut findings = unused::findings(policies, schema);
    for info in policies.infos() {
        let Some(policy) = policies.cedar_policies().policy(&PolicyId::new(&info.id)) else { continue };
        let environments: Vec<_> = environments
            .iter()
            .filter(|environment| scope_matches(policies, environment.ids, info))
            .collect();
        let mut results = RuleResults::default();
        match solver.as_deref_mut() {
            _ if environments.is_empty() => results.found.push(matches_no_environment(info)),
            Some(solver) => {
                let policy = SolvedPolicy { info, policy, environments };
                solver_rules::check_with_solver(&policy, policies, solver, &mut results);
            }
            None => {}
        }
        check_annotations(info, policy, &mut results);
        findings.extend(apply_allow(info, policy, results));
    }
    findings.sort_by_cached_key(|finding| {
        let span = finding.span.as_ref().map(|span| (span.source.path.clone(), span.offset));
        (span.is_none(), span, finding.rule, finding.message.clone())
    });
    findings
}

/// Whether the policy's scope matches requests of this environment.
fn scope_matches(policies: &Policies, environment: EnvironmentKey, info: &PolicyInfo) -> bool {
    let candidates = policies.candidates(environment);
    candidates.is_some_and(|candidates| candidates.all().any(|candidate| *candidate.info == *info))
}

fn matches_no_environment(info: &PolicyInfo) -> Finding {
    let message =
        format!("`{}` never matches: no action applies to its types of principal and resource", info.id);
    Finding::of(info, Rule::Solver(SolverRule::NeverMatches), message, "correct its scope, or remove it")
}
