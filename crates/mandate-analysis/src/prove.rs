//! Proofs: does every claim hold, for all requests and all entities? What does not comes with a
//! counterexample that the engine itself has decided.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{Effect, Policy, PolicyId};
use cedar_policy_core::ast::Expr;
use cedar_policy_symcc::{Env, equivalent_asserts, never_errors_asserts, never_matches_asserts};

use super::bounds::Bounds;
use super::guardrails::{Claim, Form, Guardrails, NEVER_ERRORS};
use super::solver::{Answer, Solver};
use super::symbolic::{self, RequestEnvironment, compile, compile_one, conditions, environments, variant};
use super::witness::Witness;
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::fault::{Fault, Faults, SourceText};
use mandate_core::policies::{Environment, Policies};
use mandate_core::schema::Schema;
use mandate_core::snapshot::Terms;
use mandate_core::value::{Record, Value};

/// What became of a claim.
#[derive(Debug)]
pub struct Proof {
    pub claim: Arc<Claim>,
    pub result: Proven,
    pub took: Duration,
}

/// Only `Holds` is a proof; in doubt, a claim does not hold.
#[derive(Debug)]
pub enum Proven {
    /// It holds for every request and all entities.
    Holds,
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
    pub otherwise: Option<(bool, Decision)>,
}

impl Proof {
    pub fn holds(&self) -> bool {
        matches!(self.result, Proven::Holds)
    }

    pub fn is_broken(&self) -> bool {
        matches!(self.result, Proven::Broken(_))
    }
}

/// Proves every claim, one after the other. `next` is told of each claim before its turn, and of the
/// proofs so far, and can end the work; what is not proven by then is not in the result.
pub fn prove(
    policies: &Arc<Policies>,
    guardrails: &Guardrails,
    solver: &mut Solver,
    next: &mut dyn FnMut(&Claim, &[Proof]) -> ControlFlow<()>,
) -> Vec<Proof> {
    let mut prover = Prover::new(policies, guardrails, solver);
    let mut proofs = Vec::new();
    for claim in guardrails.claims() {
        if next(claim, &proofs).is_break() {
            break;
        }
        let started = Instant::now();
        let result = prover.prove(claim).map_or_else(|open| open, |()| Proven::Holds);
        proofs.push(Proof { claim: Arc::clone(claim), result, took: started.elapsed() });
    }
    proofs
}

/// What is not proven, as errors.
pub fn faults(proofs: &[Proof], schema: &Schema) -> Faults {
    let mut faults = Faults::default();
    for proof in proofs {
        let claim = &proof.claim;
        let (message, help) = match &proof.result {
            Proven::Holds => continue,
            Proven::Broken(found) => ("is broken", found.sentence(schema)),
            Proven::Unknown(why) => ("is not proven", why.clone()),
        };
        let fault = Fault::error(format!("the claim `{}` {message}: {}", claim.id, claim.because));
        faults.push(fault.help(help).at(claim.place.clone()));
    }
    faults
}

impl Counterexample {
    /// The whole counterexample in a sentence.
    pub fn sentence(&self, schema: &Schema) -> String {
        let mut text = self.witness.sentence(schema);
        match (&self.decision, &self.otherwise) {
            (None, _) => text += " (found by the solver; the rules of loading may rule it out)",
            (Some(decision), None) => text = format!("{}: {text}", outcome(decision)),
            (Some(decision), Some((value, otherwise))) => {
                text = format!(
                    "{}, but {} if the attribute is {value} everywhere: {text}",
                    outcome(decision),
                    outcome(otherwise)
                );
            }
        }
        text
    }
}

/// What was decided, and by which policies; or which of them failed.
pub fn outcome(decision: &Decision) -> String {
    if !decision.errors.is_empty() {
        let errors = decision.errors.iter().map(|error| format!("{} ({})", error.policy.id, error.message));
        return format!("a policy fails, {}", errors.collect::<Vec<_>>().join("; "));
    }
    let policies: Vec<&str> = decision.determining().iter().map(|policy| policy.id.as_str()).collect();
    let by = if policies.is_empty() { String::new() } else { format!(" by {}", policies.join(", ")) };
    format!("{}{by}", if decision.is_permit() { "permitted" } else { "denied" })
}

struct Prover<'a> {
    policies: &'a Arc<Policies>,
    guardrails: &'a Guardrails,
    solver: &'a mut Solver,
    environments: Vec<RequestEnvironment>,
    /// Policies and guardrails of which it is not proven that they never fail.
    fallible: BTreeSet<(Environment, Which, PolicyId)>,
}

/// Policies and claims may have the same ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Policy,
    Claim,
}

impl<'a> Prover<'a> {
    fn new(policies: &'a Arc<Policies>, guardrails: &'a Guardrails, solver: &'a mut Solver) -> Self {
        let environments = environments(policies.schema());
        Self { policies, guardrails, solver, environments, fallible: BTreeSet::new() }
    }

    /// Ok if the claim holds; else what keeps it from that.
    fn prove(&mut self, claim: &Claim) -> Result<(), Proven> {
        if claim.form == Form::NeverErrors {
            return self.never_errors(claim);
        }
        let mut claims_something = false;
        for environment in self.environments.clone() {
            let Some(written) = self.guardrails.policy(claim, environment.index).cloned() else { continue };
            let matched = matched(&claim.form, &written).map_err(Proven::Unknown)?;
            match &claim.form {
                Form::Independent { attribute } => {
                    self.independent(claim, attribute, &written, &environment)?;
                }
                _ => self.bounded(claim, &matched, &environment)?,
            }
            self.rests_on_no_failure(claim, &written, &environment)?;
            claims_something = claims_something || self.matches_any(&matched, &environment)?;
        }
        if claims_something {
            return Ok(());
        }
        Err(Proven::Unknown(
            "no request could break it, so it claims nothing: correct its scope or conditions".into(),
        ))
    }

    /// A proof takes a policy that fails for one that does not match, but the engine denies where a forbid
    /// fails, and a claim that fails claims less than it says. That more is denied breaks no `never` and no
    /// `ceiling`.
    fn rests_on_no_failure(
        &self,
        claim: &Claim,
        written: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), Proven> {
        let only_less = matches!(claim.form, Form::Never | Form::Ceiling);
        let matters = |which: Which, id: &PolicyId| match which {
            Which::Claim => id == written.id(),
            Which::Policy => !only_less,
        };
        let mut fallible = self.fallible.iter().filter(|(of, ..)| *of == environment.index);
        match fallible.find(|(_, which, id)| matters(*which, id)) {
            Some((.., id)) => Err(Proven::Unknown(format!("`{id}` may fail; see `{NEVER_ERRORS}`"))),
            None => Ok(()),
        }
    }

    /// `never`, `ceiling` and `floor`: what `matched` matches is never, or always, permitted.
    fn bounded(
        &mut self,
        claim: &Claim,
        matched: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), Proven> {
        let schema = self.policies.schema();
        let bound = compile(std::slice::from_ref(matched), environment, schema).map_err(Proven::Unknown)?;
        let relevant = symbolic::relevant(self.policies, environment.index);
        let policies = self.policies;
        let real = |found: &Env| {
            let replay = Replay::new(claim, policies, matched).ok();
            let breaks = |witness: &Witness| replay.as_ref().is_some_and(|it| it.breaks(witness).is_some());
            Witness::found(found, schema).is_some_and(|found| found.completed(schema, breaks).is_some())
        };
        let solver = &mut *self.solver;
        let mut bounds = Bounds { policies: &relevant, environment, schema, solver, real: &real };
        let answer = if claim.form == Form::Floor { bounds.always(&bound) } else { bounds.never(&bound) };
        self.settle(claim, answer.map_err(Proven::Unknown)?, matched)
    }

    /// Whether any request matches, so that the claim says something.
    fn matches_any(&mut self, matched: &Policy, environment: &RequestEnvironment) -> Result<bool, Proven> {
        let compiled = compile_one(matched, environment, self.policies.schema()).map_err(Proven::Unknown)?;
        match self.solver.ask(&never_matches_asserts(&compiled)) {
            Answer::Holds => Ok(false),
            Answer::Fails(_) => Ok(true),
            Answer::Unknown(why) => Err(Proven::Unknown(why)),
        }
    }

    fn independent(
        &mut self,
        claim: &Claim,
        attribute: &str,
        written: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), Proven> {
        let relevant = symbolic::relevant(self.policies, environment.index);
        let whole =
            |policy: &&Policy| conditions(policy).is_some_and(|expr| symbolic::takes_whole_context(&expr));
        let (action, ..) = environment.index;
        let in_context = self.policies.schema().action(action).context.get(attribute).is_some();
        if let Some(policy) = relevant.iter().find(whole).filter(|_| in_context) {
            return Err(Proven::Unknown(format!("`{}` reads the context as a whole", policy.id())));
        }
        let mentions =
            |policy: &Policy| conditions(policy).is_some_and(|expr| symbolic::mentions(&expr, attribute));
        if !relevant.iter().any(mentions) {
            return Ok(());
        }
        let fence = fence(written).map_err(Proven::Unknown)?;
        let compiled = |policies: Vec<Policy>| {
            let fenced: Vec<Policy> = policies.into_iter().chain([fence.clone()]).collect();
            compile(&fenced, environment, self.policies.schema()).map_err(Proven::Unknown)
        };
        let asked = [true, false].map(|value| {
            let fixed = relevant.iter().map(|policy| fixed(policy, attribute, value));
            fixed.collect::<Result<Vec<_>, _>>().map_err(Proven::Unknown).and_then(&compiled)
        });
        let policies = compiled(relevant.clone())?;
        for fixed in asked {
            let answer = self.solver.ask(&equivalent_asserts(&policies, &fixed?));
            self.settle(claim, answer, written)?;
        }
        Ok(())
    }

    /// Asks of every policy and every claim, so that all are known on which no proof can rest.
    fn never_errors(&mut self, claim: &Claim) -> Result<(), Proven> {
        let mut first = Ok(());
        for environment in self.environments.clone() {
            let of = |policies: &Policies, which| {
                let relevant = symbolic::relevant(policies, environment.index).into_iter();
                relevant.map(move |policy| (which, policy))
            };
            let claims = self.guardrails.policies().into_iter().flat_map(|it| of(it, Which::Claim));
            let all: Vec<_> = of(self.policies, Which::Policy).chain(claims).collect();
            for (which, policy) in all {
                let proven = self.never_fails(claim, &policy, &environment);
                if proven.is_err() {
                    self.fallible.insert((environment.index, which, policy.id().clone()));
                    first = first.and(proven);
                }
            }
        }
        first
    }

    fn never_fails(
        &mut self,
        claim: &Claim,
        policy: &Policy,
        environment: &RequestEnvironment,
    ) -> Result<(), Proven> {
        let compiled = compile_one(policy, environment, self.policies.schema()).map_err(Proven::Unknown)?;
        let answer = self.solver.ask(&never_errors_asserts(&compiled));
        self.settle(claim, answer, policy)
    }

    fn settle(&self, claim: &Claim, answer: Answer, about: &Policy) -> Result<(), Proven> {
        match answer {
            Answer::Holds => Ok(()),
            Answer::Unknown(why) => Err(Proven::Unknown(why)),
            Answer::Fails(found) => Err(self
                .counterexample(claim, &found, about)
                .map_or_else(Proven::Unknown, |found| Proven::Broken(Box::new(found)))),
        }
    }

    /// What the solver found, in a form that the engine decides the same way, if there is one.
    fn counterexample(&self, claim: &Claim, found: &Env, about: &Policy) -> Result<Counterexample, String> {
        let schema = self.policies.schema();
        let found =
            Witness::found(found, schema).ok_or("it is broken, but its counterexample cannot be read")?;
        let replay = Replay::new(claim, self.policies, about)?;
        let Some(witness) = found.legible(schema, |witness| replay.breaks(witness).is_some()) else {
            return Ok(Counterexample { witness: found, decision: None, otherwise: None });
        };
        let (decision, otherwise) = replay.breaks(&witness).unzip();
        Ok(Counterexample { witness, decision, otherwise: otherwise.flatten() })
    }
}

/// The requests that a claim is about, as a permit: for a ceiling, those beyond it.
fn matched(form: &Form, written: &Policy) -> Result<Policy, String> {
    let conditions = conditions(written);
    let conditions = match form {
        Form::Ceiling => Some(conditions.map_or_else(|| Expr::val(false), Expr::not)),
        _ => conditions,
    };
    variant(written, Effect::Permit, conditions)
}

/// Forbids everything that a policy does not match.
fn fence(written: &Policy) -> Result<Policy, String> {
    let everything: Policy = "forbid (principal, action, resource);"
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
    // No policy has such an id.
    let id = PolicyId::new(format!("{}\u{1f}fence", written.id()));
    variant(&everything.new_id(id), Effect::Forbid, Some(Expr::not(written.as_ref().condition())))
}

fn fixed(policy: &Policy, attribute: &str, value: bool) -> Result<Policy, String> {
    let conditions = conditions(policy).map(|expr| symbolic::fixed(&expr, attribute, value));
    variant(policy, policy.effect(), conditions)
}

/// Counterexamples, decided by the engine.
struct Replay<'a> {
    claim: &'a Claim,
    /// The policies, on no entities.
    policies: Snapshot,
    /// The one policy that the claim is about.
    about: Arc<Policies>,
}

impl<'a> Replay<'a> {
    fn new(claim: &'a Claim, policies: &Arc<Policies>, about: &Policy) -> Result<Self, String> {
        let schema = policies.schema();
        let text = SourceText::new("claim.cedar", about.to_string());
        let about = Policies::parse(&[text], Arc::clone(schema)).map_err(|faults| faults.to_string())?.0;
        let policies = Snapshot::new(Arc::clone(policies), &Terms::default());
        let policies = policies.map_err(|faults| faults.to_string())?;
        Ok(Self { claim, policies, about: Arc::new(about) })
    }

    /// What the engine decides, if the witness can be loaded and breaks the claim; for an attribute that
    /// should not matter, also what it decides with the other value.
    fn breaks(&self, witness: &Witness) -> Option<(Decision, Option<(bool, Decision)>)> {
        let loaded = witness.loaded(&self.policies).ok()?;
        let about = witness.decide(&loaded.with_policies(Arc::clone(&self.about)).ok()?)?;
        let decision = witness.decide(&loaded)?;
        if self.claim.form == Form::NeverErrors {
            return (!about.errors.is_empty()).then_some((about, None));
        }
        if !about.is_permit() {
            return None;
        }
        match &self.claim.form {
            Form::Never | Form::Ceiling => decision.is_permit().then_some((decision, None)),
            Form::Floor => (!decision.is_permit()).then_some((decision, None)),
            Form::Independent { attribute } => [true, false].into_iter().find_map(|value| {
                let other = with_attribute(witness, attribute, value);
                let otherwise = other.decide(&other.loaded(&self.policies).ok()?)?;
                let differs = otherwise.is_permit() != decision.is_permit();
                differs.then(|| (decision.clone(), Some((value, otherwise))))
            }),
            Form::NeverErrors => None,
        }
    }
}

/// The witness with one value of an attribute, wherever it stands.
fn with_attribute(witness: &Witness, attribute: &str, value: bool) -> Witness {
    let set = |record: &mut Record| {
        if record.get(attribute).is_some() {
            *record = record.overlaid(&Record::new([(attribute.into(), Value::Bool(value))]));
        }
    };
    let mut witness = witness.clone();
    witness.entities.values_mut().for_each(|entity| set(&mut entity.attributes));
    set(&mut witness.request.context);
    witness
}
