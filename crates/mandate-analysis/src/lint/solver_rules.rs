//! What only a solver can tell: whether a policy ever matches, ever matters, or is always denied.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_symcc::{
    always_denies_asserts, equivalent_asserts, matches_disjoint_asserts, never_errors_asserts,
    never_matches_asserts,
};

use super::{Finding, LintedPolicy, Rule, RuleResults, quoted_list};
use crate::solver::{Solver, SolverAnswer};
use crate::symbolic::{RequestEnvironment, compile, compile_policy, policies_in};
use mandate_core::policies::{Policies, PolicyInfo};

/// Whether something is so for all requests and all entities.
enum RuleAnswer {
    Yes,
    No,
    /// Nobody knows, and why.
    Unknown(String),
}

/// Asks about one policy, until something explains why it does nothing.
pub fn check_with_solver(
    linted: &LintedPolicy<'_>,
    policies: &Policies,
    solver: &mut Solver,
    results: &mut RuleResults,
) {
    let mut checker = RuleChecker { linted, policies, solver };
    for rule in Rule::SOLVER_RULES {
        if rule == Rule::Shadowed && linted.info.effect == Effect::Forbid {
            results.passed.insert(rule);
            continue;
        }
        let found = match checker.in_every_environment(rule) {
            RuleAnswer::No => None,
            RuleAnswer::Yes => {
                results.found.push(checker.finding(rule));
                break;
            }
            RuleAnswer::Unknown(why) => Some(undecided_finding(rule, linted.info, &why)),
        };
        results.record(rule, found);
    }
}

/// A policy to ask about, among others.
struct RuleChecker<'a> {
    linted: &'a LintedPolicy<'a>,
    policies: &'a Policies,
    solver: &'a mut Solver,
}

impl RuleChecker<'_> {
    /// Whether a rule is broken in all environments; one in which it is not settles it.
    fn in_every_environment(&mut self, rule: Rule) -> RuleAnswer {
        let mut answer = RuleAnswer::Yes;
        for environment in &self.linted.environments {
            match self.ask(rule, environment) {
                Ok(SolverAnswer::Holds) => {}
                Ok(SolverAnswer::Counterexample(_)) => return RuleAnswer::No,
                Ok(SolverAnswer::Unknown(why)) | Err(why) => answer = RuleAnswer::Unknown(why),
            }
        }
        answer
    }

    fn ask(&mut self, rule: Rule, environment: &RequestEnvironment) -> Result<SolverAnswer, String> {
        let (policy, schema) = (self.linted.policy, self.policies.schema());
        let all = self.possibly_overlapping(environment);
        let others = all.iter().filter(|other| other.id() != policy.id()).cloned();
        match rule {
            Rule::Shadowed => {
                let forbids = others.filter(|other| other.effect() == Effect::Forbid);
                let shadow: Vec<Policy> = forbids.chain([policy.clone()]).collect();
                let shadow = compile(&shadow, environment, schema)?;
                Ok(self.solver.check_valid(&always_denies_asserts(&shadow)))
            }
            Rule::Redundant => {
                let without = compile(&others.collect::<Vec<_>>(), environment, schema)?;
                let with = compile(&all, environment, schema)?;
                let same = self.solver.check_valid(&equivalent_asserts(&with, &without));
                self.and_never_errors(same, environment)
            }
            _ => {
                let alone = compile_policy(policy, environment, schema)?;
                let never = self.solver.check_valid(&never_matches_asserts(&alone));
                self.and_never_errors(never, environment)
            }
        }
    }

    /// The policies that one request may match together with this one, and itself: of requests that it
    /// does not match it says nothing.
    fn possibly_overlapping(&self, environment: &RequestEnvironment) -> Vec<Policy> {
        let mut policies = policies_in(self.policies, environment.ids);
        policies.retain(|other| !scopes_are_disjoint(self.linted.policy, other));
        policies
    }

    /// A forbid that fails denies, so one that can fail is not without effect.
    fn and_never_errors(
        &mut self,
        answer: SolverAnswer,
        environment: &RequestEnvironment,
    ) -> Result<SolverAnswer, String> {
        if !matches!(answer, SolverAnswer::Holds) || self.linted.info.effect == Effect::Permit {
            return Ok(answer);
        }
        let alone = compile_policy(self.linted.policy, environment, self.policies.schema())?;
        Ok(self.solver.check_valid(&never_errors_asserts(&alone)))
    }

    fn finding(&mut self, rule: Rule) -> Finding {
        let id = &self.linted.info.id;
        let (message, help) = match rule {
            Rule::Shadowed => {
                let by = quoted_list(self.overlapping(Effect::Forbid));
                let message = format!("`{id}` never permits: whatever it matches is forbidden by {by}");
                (message, "remove it, or narrow what forbids it".to_owned())
            }
            Rule::Redundant => self.redundant(),
            _ => {
                let message = format!("`{id}` never matches: no request and no entities meet its conditions");
                (message, "correct its conditions, or remove it".to_owned())
            }
        };
        Finding::of(self.linted.info, rule, message, help)
    }

    fn redundant(&mut self) -> (String, String) {
        let effect = self.linted.policy.effect();
        let by = self.overlapping(effect);
        let why = match (effect, by.is_empty()) {
            (Effect::Permit, true) => "what it permits is forbidden".to_owned(),
            (Effect::Permit, false) => format!("what it permits is permitted by {} as well", quoted_list(by)),
            (Effect::Forbid, true) => "nothing permits what it forbids".to_owned(),
            (Effect::Forbid, false) => {
                format!("what it forbids is forbidden by {} as well, or not permitted", quoted_list(by))
            }
        };
        let message = format!("without `{}`, every decision is the same", self.linted.info.id);
        (message, format!("{why}: remove one and lint again, or accept it with `@allow(\"redundant\")`"))
    }

    /// The other policies of an effect that some request matches together with this one.
    fn overlapping(&mut self, effect: Effect) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for environment in &self.linted.environments {
            for other in self.possibly_overlapping(environment) {
                let id = other.id().to_string();
                let counts = other.effect() == effect && other.id() != self.linted.policy.id();
                if counts && !found.contains(&id) && self.overlaps(&other, environment) {
                    found.insert(id);
                }
            }
        }
        found
    }

    /// Whether a request matches both policies, as far as anybody knows.
    fn overlaps(&mut self, other: &Policy, environment: &RequestEnvironment) -> bool {
        let compiled = |policy| compile_policy(policy, environment, self.policies.schema());
        match (compiled(self.linted.policy), compiled(other)) {
            (Ok(one), Ok(other)) => !matches!(
                self.solver.check_valid(&matches_disjoint_asserts(&one, &other)),
                SolverAnswer::Holds
            ),
            _ => true,
        }
    }
}

/// Whether two policies are about different principals or resources by their scopes alone, as
/// agreements with thousands of parties are.
fn scopes_are_disjoint(one: &Policy, other: &Policy) -> bool {
    let principals = [one, other].map(|policy| match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) => Some(uid),
        _ => None,
    });
    let resources = [one, other].map(|policy| match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => Some(uid),
        _ => None,
    });
    let differ = |[one, other]: [Option<cedar_policy::EntityUid>; 2]| {
        one.zip(other).is_some_and(|(one, other)| one != other)
    };
    differ(principals) || differ(resources)
}

fn undecided_finding(rule: Rule, info: &PolicyInfo, why: &str) -> Finding {
    let whether = match rule {
        Rule::Shadowed => "ever permits",
        Rule::Redundant => "changes any decision",
        _ => "ever matches",
    };
    let message = format!("nobody knows whether `{}` {whether}: {why}", info.id);
    Finding::of(
        info,
        rule,
        message,
        "give the solver more time with `--solver-limit`, or write the policy more simply",
    )
}
