//! Proofs: does every claim hold, for all requests and all entities? What does not comes with a
//! counterexample that the engine itself has decided.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{Effect, Policy, PolicyId};
use cedar_policy_core::ast::Expr;
use cedar_policy_symcc::{Env, equivalent_asserts, never_errors_asserts, never_matches_asserts};

use super::claims::{Claim, ClaimKind, Guardrails, NEVER_ERRORS};
use super::counterexample::Witness;
use super::decompose::DecomposedQuery;
use super::replay::Replay;
use super::solver::{Solver, SolverAnswer};
use super::symbolic::{
    self, RequestEnvironment, compile, compile_policy, conditions, environments, with_effect_and_conditions,
};
use mandate_core::decision::Decision;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::policies::{EnvironmentKey, Policies};
use mandate_core::schema::Schema;

/// What became of a claim.
#[derive(Debug)]
pub struct CheckedClaim {
    pub claim: Arc<Claim>,
    pub result: ClaimResult,
    pub took: Duration,
}

/// Only `Holds` is a proof; in doubt, a claim does not hold.
#[derive(Debug)]
pub enum ClaimResult {
    /// It holds for every request and all entities.
    Proven,
    /// It does not, as this shows.
    Broken(Box<Counterexample>),
    /// Nobody knows, and why.
    Unknown(String),
}

/// A request that breaks a claim, with entities under which it does.
#[derive(Debug)]
pub struct Counterexample {
    pub witness: Witness,
    /// What the engine decides on it. `None` if it could not be brought to decide so, most likely because
    /// the rules of loading rule such entities out: then only the solver says so.
    pub decision: Option<Decision>,
    /// Where a decision depends on an attribute: what it would be, were the attribute so everywhere.
    pub counterfactual: Option<(bool, Decision)>,
}

impl CheckedClaim {
    pub fn holds(&self) -> bool {
        matches!(self.result, ClaimResult::Proven)
    }

    pub fn is_broken(&self) -> bool {
        matches!(self.result, ClaimResult::Broken(_))
    }
}

/// Proves every claim, one after the other. `next` is told of each claim before its turn, and of the
/// proofs so far, and can end the work; what is not proven by then is not in the result.
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

/// What is not proven, as errors.
pub fn unproven(proofs: &[CheckedClaim], schema: &Schema) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    for proof in proofs {
        let claim = &proof.claim;
        let (message, help) = match &proof.result {
            ClaimResult::Proven => continue,
            ClaimResult::Broken(found) => ("is broken", found.describe(schema)),
            ClaimResult::Unknown(why) => ("is not proven", why.clone()),
        };
        let diagnostic = Diagnostic::error(format!("the claim `{}` {message}: {}", claim.id, claim.because));
        diagnostics.push(diagnostic.help(help).at(claim.span.clone()));
    }
    diagnostics
}

impl Counterexample {
    /// The whole counterexample in a sentence.
    pub fn describe(&self, schema: &Schema) -> String {
        let mut text = self.witness.describe(schema);
        match (&self.decision, &self.counterfactual) {
            (None, _) => text += " (found by the solver; the rules of loading may rule it out)",
            (Some(decision), None) => text = format!("{}: {text}", describe_decision(decision)),
            (Some(decision), Some((value, counterfactual))) => {
                text = format!(
                    "{}, but {} if the attribute is {value} everywhere: {text}",
                    describe_decision(decision),
                    describe_decision(counterfactual)
                );
            }
        }
        text
    }
}

/// What was decided, and by which policies; or which of them failed.
pub fn describe_decision(decision: &Decision) -> String {
    if !decision.errors.is_empty() {
        let errors = decision.errors.iter().map(|error| format!("{} ({})", error.policy.id, error.message));
        return format!("a policy fails, {}", errors.collect::<Vec<_>>().join("; "));
    }
    let policies: Vec<&str> =
        decision.determining_policies().iter().map(|policy| policy.id.as_str()).collect();
    let by = if policies.is_empty() { String::new() } else { format!(" by {}", policies.join(", ")) };
    format!("{}{by}", if decision.is_permit() { "permitted" } else { "denied" })
}

struct Prover<'a> {
    policies: &'a Arc<Policies>,
    guardrails: &'a Guardrails,
    solver: &'a mut Solver,
    environments: Vec<RequestEnvironment>,
    /// Policies and guardrails of which it is not proven that they never fail.
    may_error: BTreeSet<(EnvironmentKey, PolicyRole, PolicyId)>,
}

/// Policies and claims may have the same ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PolicyRole {
    Policy,
    Claim,
}

impl<'a> Prover<'a> {
    fn new(policies: &'a Arc<Policies>, guardrails: &'a Guardrails, solver: &'a mut Solver) -> Self {
        let environments = environments(policies.schema());
        Self { policies, guardrails, solver, environments, may_error: BTreeSet::new() }
    }

    /// Ok if the claim holds; else what keeps it from that.
    fn prove(&mut self, claim: &Claim) -> Result<(), ClaimResult> {
        if claim.kind == ClaimKind::NeverErrors {
            return self.prove_never_errors(claim);
        }
        let mut not_vacuous = false;
        for environment in self.environments.clone() {
            let Some(written) = self.guardrails.policy(claim, environment.ids).cloned() else { continue };
            let matched = claimed_requests(&claim.kind, &written).map_err(ClaimResult::Unknown)?;
            match &claim.kind {
                ClaimKind::Independent { attribute } => {
                    self.prove_independent(claim, attribute, &written, &environment)?;
                }
                _ => self.prove_permission_bound(claim, &matched, &environment)?,
            }
            self.check_no_evaluation_errors(claim, &written, &environment)?;
            not_vacuous = not_vacuous || self.can_match(&matched, &environment)?;
        }
        if not_vacuous {
            return Ok(());
        }
        Err(ClaimResult::Unknown(
            "no request could break it, so it claims nothing: correct its scope or conditions".into(),
        ))
    }

    /// A proof takes a policy that fails for one that does not match, but the engine denies where a forbid
    /// fails, and a claim that fails claims less than it says. That more is denied breaks no `never` and no
    /// `ceiling`.
    fn check_no_evaluation_errors(
        &self,
        claim: &Claim,
        written: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), ClaimResult> {
        let only_less = matches!(claim.kind, ClaimKind::Never | ClaimKind::Ceiling);
        let matters = |which: PolicyRole, id: &PolicyId| match which {
            PolicyRole::Claim => id == written.id(),
            PolicyRole::Policy => !only_less,
        };
        let mut may_error = self.may_error.iter().filter(|(of, ..)| *of == environment.ids);
        match may_error.find(|(_, which, id)| matters(*which, id)) {
            Some((.., id)) => Err(ClaimResult::Unknown(format!("`{id}` may fail; see `{NEVER_ERRORS}`"))),
            None => Ok(()),
        }
    }

    /// `never`, `ceiling` and `floor`: what `matched` matches is never, or always, permitted.
    fn prove_permission_bound(
        &mut self,
        claim: &Claim,
        matched: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), ClaimResult> {
        let schema = self.policies.schema();
        let bound =
            compile(std::slice::from_ref(matched), environment, schema).map_err(ClaimResult::Unknown)?;
        let relevant = symbolic::policies_in(self.policies, environment.ids);
        let policies = self.policies;
        let is_genuine = |found: &Env| {
            let replay = Replay::new(claim, policies, matched).ok();
            let breaks = |witness: &Witness| replay.as_ref().is_some_and(|it| it.breaks(witness).is_some());
            Witness::from_solver(found, schema).is_some_and(|found| found.completed(schema, breaks).is_some())
        };
        let solver = &mut *self.solver;
        let mut query =
            DecomposedQuery { policies: &relevant, environment, schema, solver, is_genuine: &is_genuine };
        let answer = if claim.kind == ClaimKind::Floor {
            query.always_permits(&bound)
        } else {
            query.never_permits(&bound)
        };
        self.to_claim_result(claim, answer.map_err(ClaimResult::Unknown)?, matched)
    }

    /// Whether any request matches, so that the claim says something.
    fn can_match(&mut self, matched: &Policy, environment: &RequestEnvironment) -> Result<bool, ClaimResult> {
        let compiled =
            compile_policy(matched, environment, self.policies.schema()).map_err(ClaimResult::Unknown)?;
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
            return Err(ClaimResult::Unknown(format!("`{}` reads the context as a whole", policy.id())));
        }
        let mentions = |policy: &Policy| {
            conditions(policy).is_some_and(|expr| symbolic::reads_attribute(&expr, attribute))
        };
        if !relevant.iter().any(mentions) {
            return Ok(());
        }
        let fence = forbid_everything_else(written).map_err(ClaimResult::Unknown)?;
        let compiled = |policies: Vec<Policy>| {
            let fenced: Vec<Policy> = policies.into_iter().chain([fence.clone()]).collect();
            compile(&fenced, environment, self.policies.schema()).map_err(ClaimResult::Unknown)
        };
        let asked = [true, false].map(|value| {
            let fixed = relevant.iter().map(|policy| with_attribute_fixed(policy, attribute, value));
            fixed.collect::<Result<Vec<_>, _>>().map_err(ClaimResult::Unknown).and_then(&compiled)
        });
        let policies = compiled(relevant.clone())?;
        for fixed in asked {
            let answer = self.solver.check_valid(&equivalent_asserts(&policies, &fixed?));
            self.to_claim_result(claim, answer, written)?;
        }
        Ok(())
    }

    /// Asks of every policy and every claim, so that all are known on which no proof can rest.
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
        let compiled =
            compile_policy(policy, environment, self.policies.schema()).map_err(ClaimResult::Unknown)?;
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
            SolverAnswer::Counterexample(found) => Err(self
                .counterexample(claim, &found, about)
                .map_or_else(ClaimResult::Unknown, |found| ClaimResult::Broken(Box::new(found)))),
        }
    }

    /// What the solver found, in a form that the engine decides the same way, if there is one.
    fn counterexample(&self, claim: &Claim, found: &Env, about: &Policy) -> Result<Counterexample, String> {
        let schema = self.policies.schema();
        let found = Witness::from_solver(found, schema)
            .ok_or("it is broken, but its counterexample cannot be read")?;
        let replay = Replay::new(claim, self.policies, about)?;
        let Some(witness) = found.readable(schema, |witness| replay.breaks(witness).is_some()) else {
            return Ok(Counterexample { witness: found, decision: None, counterfactual: None });
        };
        let (decision, counterfactual) = replay.breaks(&witness).unzip();
        Ok(Counterexample { witness, decision, counterfactual: counterfactual.flatten() })
    }
}

/// The requests that a claim is about, as a permit: for a ceiling, those beyond it.
fn claimed_requests(kind: &ClaimKind, written: &Policy) -> Result<Policy, String> {
    let conditions = conditions(written);
    let conditions = match kind {
        ClaimKind::Ceiling => Some(conditions.map_or_else(|| Expr::val(false), Expr::not)),
        ClaimKind::Never | ClaimKind::Floor | ClaimKind::Independent { .. } | ClaimKind::NeverErrors => {
            conditions
        }
    };
    with_effect_and_conditions(written, Effect::Permit, conditions)
}

/// Forbids everything that a policy does not match.
fn forbid_everything_else(written: &Policy) -> Result<Policy, String> {
    let everything: Policy = "forbid (principal, action, resource);"
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
    // No policy has such an id.
    let id = PolicyId::new(format!("{}\u{1f}fence", written.id()));
    with_effect_and_conditions(
        &everything.new_id(id),
        Effect::Forbid,
        Some(Expr::not(written.as_ref().condition())),
    )
}

fn with_attribute_fixed(policy: &Policy, attribute: &str, value: bool) -> Result<Policy, String> {
    let conditions = conditions(policy).map(|expr| symbolic::substitute_attribute(&expr, attribute, value));
    with_effect_and_conditions(policy, policy.effect(), conditions)
}
