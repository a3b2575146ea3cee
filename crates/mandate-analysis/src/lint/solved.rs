//! What only a solver can tell: whether a policy ever matches, ever matters, or is always denied.

use std::collections::BTreeSet;

use cedar_policy::{Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_symcc::{
    always_denies_asserts, equivalent_asserts, matches_disjoint_asserts, never_errors_asserts,
    never_matches_asserts,
};

use super::{Finding, Looked, Rule, Subject, listed};
use crate::solver::{Answer, Solver};
use crate::symbolic::{RequestEnvironment, compile, compile_one, relevant};
use mandate_core::policies::{Policies, PolicyInfo};

/// Whether something is so for all requests and all entities.
enum Verdict {
    Yes,
    No,
    /// Nobody knows, and why.
    Unknown(String),
}

/// Asks about one policy, until something explains why it does nothing.
pub fn look(subject: &Subject<'_>, policies: &Policies, solver: &mut Solver, looked: &mut Looked) {
    let mut asking = Asking { subject, policies, solver };
    for rule in Rule::SOLVED {
        if rule == Rule::Shadowed && subject.info.forbids {
            looked.kept.insert(rule);
            continue;
        }
        let found = match asking.everywhere(rule) {
            Verdict::No => None,
            Verdict::Yes => {
                looked.found.push(asking.finding(rule));
                break;
            }
            Verdict::Unknown(why) => Some(unknown(rule, subject.info, &why)),
        };
        looked.found_if(rule, found);
    }
}

/// A policy to ask about, among others.
struct Asking<'a> {
    subject: &'a Subject<'a>,
    policies: &'a Policies,
    solver: &'a mut Solver,
}

impl Asking<'_> {
    /// Whether a rule is broken in all environments; one in which it is not settles it.
    fn everywhere(&mut self, rule: Rule) -> Verdict {
        let mut verdict = Verdict::Yes;
        for environment in &self.subject.environments {
            match self.ask(rule, environment) {
                Ok(Answer::Holds) => {}
                Ok(Answer::Fails(_)) => return Verdict::No,
                Ok(Answer::Unknown(why)) | Err(why) => verdict = Verdict::Unknown(why),
            }
        }
        verdict
    }

    fn ask(&mut self, rule: Rule, environment: &RequestEnvironment) -> Result<Answer, String> {
        let (policy, schema) = (self.subject.policy, self.policies.schema());
        let all = self.beside(environment);
        let others = all.iter().filter(|other| other.id() != policy.id()).cloned();
        match rule {
            Rule::Shadowed => {
                let forbids = others.filter(|other| other.effect() == Effect::Forbid);
                let shadow: Vec<Policy> = forbids.chain([policy.clone()]).collect();
                let shadow = compile(&shadow, environment, schema)?;
                Ok(self.solver.ask(&always_denies_asserts(&shadow)))
            }
            Rule::Redundant => {
                let without = compile(&others.collect::<Vec<_>>(), environment, schema)?;
                let with = compile(&all, environment, schema)?;
                let same = self.solver.ask(&equivalent_asserts(&with, &without));
                self.and_never_fails(same, environment)
            }
            _ => {
                let alone = compile_one(policy, environment, schema)?;
                let never = self.solver.ask(&never_matches_asserts(&alone));
                self.and_never_fails(never, environment)
            }
        }
    }

    /// The policies that one request may match together with this one, and itself: of requests that it
    /// does not match it says nothing.
    fn beside(&self, environment: &RequestEnvironment) -> Vec<Policy> {
        let mut policies = relevant(self.policies, environment.index);
        policies.retain(|other| !apart(self.subject.policy, other));
        policies
    }

    /// A forbid that fails denies, so one that can fail is not without effect.
    fn and_never_fails(
        &mut self,
        answer: Answer,
        environment: &RequestEnvironment,
    ) -> Result<Answer, String> {
        if !matches!(answer, Answer::Holds) || !self.subject.info.forbids {
            return Ok(answer);
        }
        let alone = compile_one(self.subject.policy, environment, self.policies.schema())?;
        Ok(self.solver.ask(&never_errors_asserts(&alone)))
    }

    fn finding(&mut self, rule: Rule) -> Finding {
        let id = &self.subject.info.id;
        let (message, help) = match rule {
            Rule::Shadowed => {
                let by = listed(self.overlapping(Effect::Forbid));
                let message = format!("`{id}` never permits: whatever it matches is forbidden by {by}");
                (message, "remove it, or narrow what forbids it".to_owned())
            }
            Rule::Redundant => self.redundant(),
            _ => {
                let message = format!("`{id}` never matches: no request and no entities meet its conditions");
                (message, "correct its conditions, or remove it".to_owned())
            }
        };
        Finding::of(self.subject.info, rule, message, help)
    }

    fn redundant(&mut self) -> (String, String) {
        let effect = self.subject.policy.effect();
        let by = self.overlapping(effect);
        let why = match (effect, by.is_empty()) {
            (Effect::Permit, true) => "what it permits is forbidden".to_owned(),
            (Effect::Permit, false) => format!("what it permits is permitted by {} as well", listed(by)),
            (Effect::Forbid, true) => "nothing permits what it forbids".to_owned(),
            (Effect::Forbid, false) => {
                format!("what it forbids is forbidden by {} as well, or not permitted", listed(by))
            }
        };
        let message = format!("without `{}`, every decision is the same", self.subject.info.id);
        (message, format!("{why}: remove one and lint again, or accept it with `@allow(\"redundant\")`"))
    }

    /// The other policies of an effect that some request matches together with this one.
    fn overlapping(&mut self, effect: Effect) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for environment in &self.subject.environments {
            for other in self.beside(environment) {
                let id = other.id().to_string();
                let counts = other.effect() == effect && other.id() != self.subject.policy.id();
                if counts && !found.contains(&id) && self.overlaps(&other, environment) {
                    found.insert(id);
                }
            }
        }
        found
    }

    /// Whether a request matches both policies, as far as anybody knows.
    fn overlaps(&mut self, other: &Policy, environment: &RequestEnvironment) -> bool {
        let compiled = |policy| compile_one(policy, environment, self.policies.schema());
        match (compiled(self.subject.policy), compiled(other)) {
            (Ok(one), Ok(other)) => {
                !matches!(self.solver.ask(&matches_disjoint_asserts(&one, &other)), Answer::Holds)
            }
            _ => true,
        }
    }
}

/// Whether two policies are about different principals or resources by their scopes alone, as
/// agreements with thousands of parties are.
fn apart(one: &Policy, other: &Policy) -> bool {
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

fn unknown(rule: Rule, info: &PolicyInfo, why: &str) -> Finding {
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
