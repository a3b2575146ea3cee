//! The prover: asks the solver about each claim in each request environment. `decompose` splits large
//! questions, `counterexample` and `replay` make the counterexamples, `symbolic` translates policies.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use cedar_policy::{Effect, Policy, PolicyId};
use cedar_policy_core::ast::Expr;
use cedar_policy_symcc::{Env, equivalent_asserts, never_errors_asserts, never_matches_asserts};

use super::result::{CheckedClaim, ClaimResult, Counterexample};
use crate::claims::{Claim, ClaimKind, Guardrails, NEVER_ERRORS};
use crate::counterexample::Witness;
use crate::decompose::DecomposedQuery;
use crate::error::AnalysisError;
use crate::replay::Replay;
use crate::solver::{Solver, SolverAnswer};
use crate::symbolic::{
    self, RequestEnvironment, compile, compile_policy, conditions, environments, with_effect_and_conditions,
};
use mandate_core::policies::{EnvironmentKey, Policies};

/// Proves every claim, one after the other. `next` is called before each claim with the results so far, and
/// can end the work; the result has only the claims up to there.
pub fn prove(
    policies: &Arc<Policies>,
    guardrails: &Guardrails,
    solver: &mut Solver,
    next: &mut dyn FnMut(&Claim, &[CheckedClaim]) -> ControlFlow<()>,
) -> Vec<CheckedClaim> {
    let mut prover = Prover::new(policies, guardrails, solver);
    let mut proofs = Vec::new();
    for claim in guardrails.claims() {
        if next(claim, &proofs).is_break() {
            break;
        }
        let started = Instant::now();
        let result = prover.prove(claim).map_or_else(|open| open, |()| ClaimResult::Proven);
        proofs.push(CheckedClaim { claim: Arc::clone(claim), result, took: started.elapsed() });
    }
    proofs
}

struct Prover<'a> {
    policies: &'a Arc<Policies>,
    /// The policies that floors are proven of: an emergency forbid can only narrow, and may do so.
    without_emergencies: Arc<Policies>,
    guardrails: &'a Guardrails,
    solver: &'a mut Solver,
    environments: Vec<RequestEnvironment>,
    /// The policies and guardrails that are not proven never to error.
    may_error: BTreeSet<(EnvironmentKey, PolicyRole, PolicyId)>,
}

/// Tells policies and claims with the same id apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PolicyRole {
    Policy,
    Claim,
}

/// What a claim says about the requests that it is about.
#[derive(Debug, Clone, Copy)]
enum Bound {
    NeverPermitted,
    AlwaysPermitted,
}

/// The requests of one environment that a claim is about.
struct ClaimedRequests<'a> {
    /// The claim as it is written.
    written: &'a Policy,
    /// The requests, as a permit.
    matched: &'a Policy,
    environment: &'a RequestEnvironment,
}

impl<'a> Prover<'a> {
    fn new(policies: &'a Arc<Policies>, guardrails: &'a Guardrails, solver: &'a mut Solver) -> Self {
        let environments = environments(policies.schema());
        let without_emergencies = policies.without_emergencies();
        Self { policies, without_emergencies, guardrails, solver, environments, may_error: BTreeSet::new() }
    }

    /// The policies that a claim of this kind is about.
    fn policies_of(&self, kind: &ClaimKind) -> &Arc<Policies> {
        match kind {
            ClaimKind::Floor => &self.without_emergencies,
            ClaimKind::Never
            | ClaimKind::Ceiling
            | ClaimKind::Independent { .. }
            | ClaimKind::NeverErrors => self.policies,
        }
    }

    /// Ok if the claim holds; else why not.
    fn prove(&mut self, claim: &Claim) -> Result<(), ClaimResult> {
        match &claim.kind {
            ClaimKind::NeverErrors => self.prove_never_errors(claim),
            ClaimKind::Never | ClaimKind::Ceiling => self.prove_matched(claim, |prover, scope| {
                prover.prove_bound(claim, scope, Bound::NeverPermitted)
            }),
            ClaimKind::Floor => self.prove_matched(claim, |prover, scope| {
                prover.prove_bound(claim, scope, Bound::AlwaysPermitted)
            }),
            ClaimKind::Independent { attribute } => self.prove_matched(claim, |prover, scope| {
                prover.prove_independent(claim, attribute, scope.written, scope.environment)
            }),
        }
    }

    /// Proves a claim in each request environment that its scope matches, and that some request can break it
    /// at all.
    fn prove_matched(
        &mut self,
        claim: &Claim,
        prove: impl Fn(&mut Self, &ClaimedRequests<'_>) -> Result<(), ClaimResult>,
    ) -> Result<(), ClaimResult> {
        let mut is_vacuous = true;
        for environment in self.environments.clone() {
            let Some(written) = self.guardrails.policy(claim, environment.ids).cloned() else { continue };
            let matched = claimed_requests(&claim.kind, &written)?;
            let scope = ClaimedRequests { written: &written, matched: &matched, environment: &environment };
            prove(self, &scope)?;
            self.check_no_evaluation_errors(claim, &written, &environment)?;
            is_vacuous = is_vacuous && !self.can_match(&matched, &environment)?;
        }
        if is_vacuous { Err(AnalysisError::Vacuous.into()) } else { Ok(()) }
    }

    /// The solver takes a policy that errors for one that does not match. But the engine denies when a forbid
    /// errors, and a claim that errors covers less than it says. So a proof counts only if the policies it
    /// rests on never error. For `never` and `ceiling` only the claim itself matters: further denials do not
    /// break them.
    fn check_no_evaluation_errors(
        &self,
        claim: &Claim,
        written: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), ClaimResult> {
        let policies_matter = match claim.kind {
            ClaimKind::Never | ClaimKind::Ceiling => false,
            ClaimKind::Floor | ClaimKind::Independent { .. } | ClaimKind::NeverErrors => true,
        };
        let matters = |role: PolicyRole, id: &PolicyId| match role {
            PolicyRole::Claim => id == written.id(),
            PolicyRole::Policy => policies_matter && self.policies_of(&claim.kind).info(id).is_some(),
        };
        let mut may_error = self.may_error.iter().filter(|(of, ..)| *of == environment.ids);
        match may_error.find(|(_, role, id)| matters(*role, id)) {
            Some((.., id)) => {
                Err(AnalysisError::MayError { policy: id.clone(), never_errors: NEVER_ERRORS }.into())
            }
            None => Ok(()),
        }
    }

    /// Proves that the requests that a claim is about are never permitted, or always.
    fn prove_bound(
        &mut self,
        claim: &Claim,
        scope: &ClaimedRequests<'_>,
        bound: Bound,
    ) -> Result<(), ClaimResult> {
        let ClaimedRequests { matched, environment, .. } = scope;
        let policies = &Arc::clone(self.policies_of(&claim.kind));
        let schema = policies.schema();
        let requests = compile(std::slice::from_ref(matched), environment, schema)?;
        let relevant = symbolic::policies_in(policies, environment.ids);
        let is_genuine = |found: &Env| {
            let replay = Replay::new(claim, policies, matched).ok();
            let breaks = |witness: &Witness| replay.as_ref().is_some_and(|it| it.breaks(witness).is_some());
            Witness::from_solver(found, schema).is_some_and(|found| found.completed(schema, breaks).is_some())
        };
        let solver = &mut *self.solver;
        let mut query =
            DecomposedQuery { policies: &relevant, environment, schema, solver, is_genuine: &is_genuine };
        let answer = match bound {
            Bound::NeverPermitted => query.never_permits(&requests)?,
            Bound::AlwaysPermitted => query.always_permits(&requests)?,
        };
        self.to_claim_result(claim, answer, matched)
    }

    /// Whether some request matches. If none does, the claim says nothing.
    fn can_match(&mut self, matched: &Policy, environment: &RequestEnvironment) -> Result<bool, ClaimResult> {
        let compiled = compile_policy(matched, environment, self.policies.schema())?;
        match self.solver.check_valid(&never_matches_asserts(&compiled)) {
            SolverAnswer::Holds => Ok(false),
            SolverAnswer::Counterexample(_) => Ok(true),
            SolverAnswer::Unknown(why) => Err(ClaimResult::Unknown(why)),
        }
    }

    fn prove_independent(
        &mut self,
        claim: &Claim,
        attribute: &str,
        written: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), ClaimResult> {
        let relevant = symbolic::policies_in(self.policies, environment.ids);
        let whole =
            |policy: &&Policy| conditions(policy).is_some_and(|expr| symbolic::reads_whole_context(&expr));
        let (action, ..) = environment.ids;
        let in_context = self.policies.schema().action(action).context_type.get(attribute).is_some();
        if let Some(policy) = relevant.iter().find(whole).filter(|_| in_context) {
            return Err(AnalysisError::ReadsWholeContext(policy.id().clone()).into());
        }
        let mentions = |policy: &Policy| {
            conditions(policy).is_some_and(|expr| symbolic::reads_attribute(&expr, attribute))
        };
        if !relevant.iter().any(mentions) {
            return Ok(());
        }
        let fence = forbid_everything_else(written)?;
        let compiled = |policies: Vec<Policy>| {
            let fenced: Vec<Policy> = policies.into_iter().chain([fence.clone()]).collect();
            compile(&fenced, environment, self.policies.schema())
        };
        let asked = [true, false].map(|value| {
            let fixed = relevant.iter().map(|policy| with_attribute_fixed(policy, attribute, value));
            fixed.collect::<Result<Vec<_>, _>>().and_then(&compiled)
        });
        let policies = compiled(relevant.clone())?;
        for fixed in asked {
            let answer = self.solver.check_valid(&equivalent_asserts(&policies, &fixed?));
            self.to_claim_result(claim, answer, written)?;
        }
        Ok(())
    }

    /// Checks every policy and every claim, also after the first that may error: other proofs need to know
    /// all of them.
    fn prove_never_errors(&mut self, claim: &Claim) -> Result<(), ClaimResult> {
        let mut first = Ok(());
        for environment in self.environments.clone() {
            let of = |policies: &Policies, which| {
                let relevant = symbolic::policies_in(policies, environment.ids).into_iter();
                relevant.map(move |policy| (which, policy))
            };
            let claims = self.guardrails.policies().into_iter().flat_map(|it| of(it, PolicyRole::Claim));
            let all: Vec<_> = of(self.policies, PolicyRole::Policy).chain(claims).collect();
            for (which, policy) in all {
                let proven = self.prove_policy_never_errors(claim, &policy, &environment);
                if proven.is_err() {
                    self.may_error.insert((environment.ids, which, policy.id().clone()));
                    first = first.and(proven);
                }
            }
        }
        first
    }

    fn prove_policy_never_errors(
        &mut self,
        claim: &Claim,
        policy: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), ClaimResult> {
        let compiled = compile_policy(policy, environment, self.policies.schema())?;
        let answer = self.solver.check_valid(&never_errors_asserts(&compiled));
        self.to_claim_result(claim, answer, policy)
    }

    fn to_claim_result(
        &self,
        claim: &Claim,
        answer: SolverAnswer,
        about: &Policy,
    ) -> Result<(), ClaimResult> {
        match answer {
            SolverAnswer::Holds => Ok(()),
            SolverAnswer::Unknown(why) => Err(ClaimResult::Unknown(why)),
            SolverAnswer::Counterexample(found) => {
                Err(ClaimResult::Broken(Box::new(self.counterexample(claim, &found, about)?)))
            }
        }
    }

    /// The solver's counterexample, completed so that the engine decides the same way if possible.
    fn counterexample(
        &self,
        claim: &Claim,
        found: &Env,
        about: &Policy,
    ) -> Result<Counterexample, AnalysisError> {
        let schema = self.policies.schema();
        let found = Witness::from_solver(found, schema).ok_or(AnalysisError::UnreadableCounterexample)?;
        let replay = Replay::new(claim, self.policies_of(&claim.kind), about)?;
        let Some(witness) = found.readable(schema, |witness| replay.breaks(witness).is_some()) else {
            return Ok(Counterexample { witness: found, decision: None, counterfactual: None });
        };
        let (decision, counterfactual) = replay.breaks(&witness).unzip();
        Ok(Counterexample { witness, decision, counterfactual: counterfactual.flatten() })
    }
}

/// The requests that a claim is about, as a permit: for a ceiling, those outside its conditions.
fn claimed_requests(kind: &ClaimKind, written: &Policy) -> Result<Policy, AnalysisError> {
    let conditions = conditions(written);
    let conditions = match kind {
        ClaimKind::Ceiling => Some(conditions.map_or_else(|| Expr::val(false), Expr::not)),
        ClaimKind::Never | ClaimKind::Floor | ClaimKind::Independent { .. } | ClaimKind::NeverErrors => {
            conditions
        }
    };
    with_effect_and_conditions(written, Effect::Permit, conditions)
}

/// A policy that forbids every request that `written` does not match.
fn forbid_everything_else(written: &Policy) -> Result<Policy, AnalysisError> {
    let everything: Policy = "forbid (principal, action, resource);".parse().map_err(Box::new)?;
    // The control character keeps the id apart from the ids of all other policies.
    let id = PolicyId::new(format!("{}\u{1f}fence", written.id()));
    with_effect_and_conditions(
        &everything.new_id(id),
        Effect::Forbid,
        Some(Expr::not(written.as_ref().condition())),
    )
}

fn with_attribute_fixed(policy: &Policy, attribute: &str, value: bool) -> Result<Policy, AnalysisError> {
    let conditions = conditions(policy).map(|expr| symbolic::substitute_attribute(&expr, attribute, value));
    with_effect_and_conditions(policy, policy.effect(), conditions)
}
