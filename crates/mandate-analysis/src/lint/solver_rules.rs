//! The rules that only the solver can check: whether a policy ever matches, ever permits, or ever changes a
//! decision. Not here: the rules about its text, in `annotations`.

use std::collections::BTreeSet;

use cedar_policy::{Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_symcc::{
    always_denies_asserts, equivalent_asserts, matches_disjoint_asserts, never_errors_asserts,
    never_matches_asserts,
};

use super::finding::{Finding, RuleResults, quoted_list};
use super::rule::{Rule, SolverRule};
use crate::error::AnalysisError;
use crate::solver::{Solver, SolverAnswer};
use crate::symbolic::{RequestEnvironment, compile, compile_policy, policies_in};
use mandate_core::policies::{Policies, PolicyInfo};

/// A policy to check.
pub struct SolvedPolicy<'a> {
    pub info: &'a PolicyInfo,
    pub policy: &'a Policy,
    /// The request environments that its scope matches.
    pub environments: Vec<&'a RequestEnvironment>,
}

/// Whether a policy breaks a rule, for all requests and all entities.
enum RuleAnswer {
    Broken,
    Kept,
    /// The solver does not know, and why.
    Unknown(AnalysisError),
}

/// Checks one policy against the rules, up to the first that it breaks: that one explains the others.
pub fn check_with_solver(
    checked: &SolvedPolicy<'_>,
    policies: &Policies,
    solver: &mut Solver,
    results: &mut RuleResults,
) {
    let mut checker = RuleChecker { checked, policies, solver };
    for rule in SolverRule::ALL {
        if rule == SolverRule::Shadowed && checked.policy.effect() == Effect::Forbid {
            results.passed.insert(Rule::Solver(rule));
            continue;
        }
        let found = match checker.in_every_environment(rule) {
            RuleAnswer::Kept => None,
            RuleAnswer::Broken => {
                results.found.push(checker.finding(rule));
                break;
            }
            RuleAnswer::Unknown(why) => Some(undecided_finding(rule, checked.info, &why)),
        };
        results.record(Rule::Solver(rule), found);
    }
}

/// A policy to check, among all policies.
struct RuleChecker<'a> {
    checked: &'a SolvedPolicy<'a>,
    policies: &'a Policies,
    solver: &'a mut Solver,
}

impl RuleChecker<'_> {
    /// Whether the rule is broken in every environment. One environment in which it is kept is enough for
    /// `Kept`.
    fn in_every_environment(&mut self, rule: SolverRule) -> RuleAnswer {
        let mut answer = RuleAnswer::Broken;
        for environment in &self.checked.environments {
            match self.ask(rule, environment) {
                Ok(SolverAnswer::Holds) => {}
                Ok(SolverAnswer::Counterexample(_)) => return RuleAnswer::Kept,
                Ok(SolverAnswer::Unknown(why)) | Err(why) => answer = RuleAnswer::Unknown(why),
            }
        }
        answer
    }

    fn ask(
        &mut self,
        rule: SolverRule,
        environment: &RequestEnvironment,
    ) -> Result<SolverAnswer, AnalysisError> {
        let (policy, schema) = (self.checked.policy, self.policies.schema());
        let all = self.possibly_overlapping(environment);
        let others = all.iter().filter(|other| other.id() != policy.id()).cloned();
        match rule {
            SolverRule::Shadowed => {
                let forbids = others.filter(|other| other.effect() == Effect::Forbid);
                let shadow: Vec<Policy> = forbids.chain([policy.clone()]).collect();
                let shadow = compile(&shadow, environment, schema)?;
                Ok(self.solver.check_valid(&always_denies_asserts(&shadow)))
            }
            SolverRule::Redundant => {
                let without = compile(&others.collect::<Vec<_>>(), environment, schema)?;
                let with = compile(&all, environment, schema)?;
                let same = self.solver.check_valid(&equivalent_asserts(&with, &without));
                self.and_never_errors(same, environment)
            }
            SolverRule::NeverMatches => {
                let alone = compile_policy(policy, environment, schema)?;
                let never = self.solver.check_valid(&never_matches_asserts(&alone));
                self.and_never_errors(never, environment)
            }
        }
    }

    /// This policy, and the policies that can match the same request. The others change no decision on the
    /// requests that this policy matches.
    fn possibly_overlapping(&self, environment: &RequestEnvironment) -> Vec<Policy> {
        let mut policies = policies_in(self.policies, environment.ids);
        policies.retain(|other| !scopes_are_disjoint(self.checked.policy, other));
        policies
    }

    /// A forbid that can error has an effect, because a forbid that errors denies.
    fn and_never_errors(
        &mut self,
        answer: SolverAnswer,
        environment: &RequestEnvironment,
    ) -> Result<SolverAnswer, AnalysisError> {
        if !matches!(answer, SolverAnswer::Holds) || self.checked.policy.effect() == Effect::Permit {
            return Ok(answer);
        }
        let alone = compile_policy(self.checked.policy, environment, self.policies.schema())?;
        Ok(self.solver.check_valid(&never_errors_asserts(&alone)))
    }

    fn finding(&mut self, rule: SolverRule) -> Finding {
        let id = &self.checked.info.id;
        let (message, help) = match rule {
            SolverRule::Shadowed => {
                let by = quoted_list(self.overlapping(Effect::Forbid));
                let message = format!("`{id}` never permits: everything it matches is forbidden by {by}");
                (message, format!("remove `{id}`, or narrow the policies that forbid it"))
            }
            SolverRule::Redundant => self.redundant(),
            SolverRule::NeverMatches => {
                let message = format!("`{id}` never matches: no request and no entities meet its conditions");
                (message, "correct its conditions, or remove it".to_owned())
            }
        };
        Finding::of(self.checked.info, Rule::Solver(rule), message, help)
    }

    fn redundant(&mut self) -> (String, String) {
        let effect = self.checked.policy.effect();
        let by = self.overlapping(effect);
        let why = match (effect, by.is_empty()) {
            (Effect::Permit, true) => "what it permits is forbidden".to_owned(),
            (Effect::Permit, false) => format!("what it permits is permitted by {} as well", quoted_list(by)),
            (Effect::Forbid, true) => "nothing permits what it forbids".to_owned(),
            (Effect::Forbid, false) => {
                format!("what it forbids is forbidden by {} as well, or not permitted", quoted_list(by))
            }
        };
        let message = format!("without `{}`, every decision is the same", self.checked.info.id);
        (message, format!("{why}: remove one and lint again, or accept it with `@allow(\"redundant\")`"))
    }

    /// The other policies with this effect that can match the same request.
    fn overlapping(&mut self, effect: Effect) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for environment in &self.checked.environments {
            for other in self.possibly_overlapping(environment) {
                let id = other.id().to_string();
                let counts = other.effect() == effect && other.id() != self.checked.policy.id();
                if counts && !found.contains(&id) && self.overlaps(&other, environment) {
                    found.insert(id);
                }
            }
        }
        found
    }

    /// Whether some request matches both policies; true if the solver does not know.
    fn overlaps(&mut self, other: &Policy, environment: &RequestEnvironment) -> bool {
        let compiled = |policy| compile_policy(policy, environment, self.policies.schema());
        match (compiled(self.checked.policy), compiled(other)) {
            (Ok(one), Ok(other)) => !matches!(
                self.solver.check_valid(&matches_disjoint_asserts(&one, &other)),
                SolverAnswer::Holds
            ),
            (Err(_), _) | (_, Err(_)) => true,
        }
    }
}

/// Whether two scopes name different principals or resources, as agreements with thousands of parties do.
fn scopes_are_disjoint(one: &Policy, other: &Policy) -> bool {
    let principals = [one, other].map(|policy| match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) => Some(uid),
        _ => None,
    });
    let resources = [one, other].map(|policy| match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => Some(uid),
        _ => None,
    });
    let differ =
        |[one, other]: [Option<EntityUid>; 2]| one.zip(other).is_some_and(|(one, other)| one != other);
    differ(principals) || differ(resources)
}

fn undecided_finding(rule: SolverRule, info: &PolicyInfo, why: &AnalysisError) -> Finding {
    let whether = match rule {
        SolverRule::NeverMatches => "ever matches",
        SolverRule::Shadowed => "ever permits",
        SolverRule::Redundant => "changes any decision",
    };
    Finding::of(
        info,
        Rule::Solver(rule),
        format!("could not determine whether `{}` {whether}: {why}", info.id),
        "raise `--solver-limit`, or simplify the policy",
    )
}
