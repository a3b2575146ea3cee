//! Mutation: wrong edits of the policies, each of which some test or some guardrail has to notice. Those
//! that change no decision, for any request and any entities, are proven to and not counted.

mod edits;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use edits::{Mutant, Operator, mutants};

use super::claims::Guardrails;
use super::diff::{DiffResult, Example, PolicyPair};
use super::prove::prove;
use super::solver::Solver;
use super::suite::{Case, PreparedCase};
use mandate_core::Snapshot;
use mandate_core::diagnostics::SourceText;
use mandate_core::policies::{CandidatePolicies, EnvironmentKey, Policies};

/// What became of a mutant.
#[derive(Debug)]
pub enum MutantOutcome {
    /// It is no valid policy, so nobody could use it.
    Invalid,
    /// This case fails.
    KilledByTest(String),
    /// This claim is broken.
    KilledByClaim(String),
    /// It decides as the original does, always.
    Equivalent,
    /// Nobody notices.
    Survived(Survivor),
}

/// What is known of a mutant that nobody notices.
#[derive(Debug)]
pub enum Survivor {
    /// A request that it decides otherwise, with its entities: the test that is missing.
    Untested(Box<Example>),
    /// Whether it changes anything was not, or could not be, proven.
    Unproven(String),
}

/// Everything that mutants are tried against.
pub struct MutationRun<'a> {
    policies: &'a Arc<Policies>,
    sources: Vec<Arc<SourceText>>,
    cases: Vec<(&'a Case, PreparedCase)>,
}

impl<'a> MutationRun<'a> {
    /// Prepares the cases. Those that are no request by the schema say nothing of policies and are
    /// left out.
    pub fn new(snapshot: &'a Snapshot, cases: &'a [Case]) -> Self {
        let policies = snapshot.policies();
        let sources = policies.infos().into_iter().filter_map(|info| info.span.as_ref());
        let sources: BTreeMap<&str, &Arc<SourceText>> =
            sources.map(|span| (span.source.name.as_str(), &span.source)).collect();
        let cases = cases.iter().filter_map(|case| Some((case, case.prepare(snapshot).ok()?.ok()?)));
        Self { policies, sources: sources.into_values().cloned().collect(), cases: cases.collect() }
    }

    /// Tries a mutant with the cases alone; `Err` has the mutated policies if no case fails.
    pub fn run_cases(&self, mutant: &Mutant) -> Result<MutantOutcome, Arc<Policies>> {
        let source = &mutant.span.source;
        let edited = Arc::new(SourceText {
            path: source.path.clone(),
            name: source.name.clone(),
            text: mutant.mutated_text(),
        });
        let others = self.sources.iter().filter(|other| other.name != source.name).cloned();
        let sources: Vec<_> = others.chain([edited]).collect();
        let Ok((mutated, _)) = Policies::parse(&sources, Arc::clone(self.policies.schema())) else {
            return Ok(MutantOutcome::Invalid);
        };
        let mutated = Arc::new(mutated);
        let concerns = |environment: EnvironmentKey| {
            [self.policies, &mutated].into_iter().any(|policies| {
                let candidates = policies.candidates(environment);
                candidates.into_iter().flat_map(CandidatePolicies::all).any(|it| it.info.id == mutant.policy)
            })
        };
        let cases = self.cases.iter().filter(|(_, prepared)| concerns(prepared.request.environment()));
        let mut failing = cases.filter(|(case, prepared)| !passes(case, prepared, &mutated));
        match failing.next() {
            Some((case, _)) => Ok(MutantOutcome::KilledByTest(case.name.clone())),
            None => Err(mutated),
        }
    }

    /// What becomes of a mutant that no case notices, by the guardrails and by the solver.
    pub fn prove(
        &self,
        mutated: Arc<Policies>,
        guardrails: &Guardrails,
        solver: &mut Solver,
    ) -> MutantOutcome {
        // The first claim that is broken is enough.
        let proofs = prove(&mutated, guardrails, solver, &mut |_, proofs| match proofs.last() {
            Some(proof) if proof.is_broken() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if let Some(proof) = proofs.iter().find(|proof| proof.is_broken()) {
            return MutantOutcome::KilledByClaim(proof.claim.id.to_string());
        }
        let schema = Arc::clone(self.policies.schema());
        let pair = PolicyPair { old: Arc::clone(self.policies), new: mutated, old_schema: schema };
        let differences = match pair.compare(solver) {
            Ok(differences) => differences,
            Err(why) => return MutantOutcome::Survived(Survivor::Unproven(why)),
        };
        let mut unproven = None;
        for found in differences.into_iter().flat_map(|it| [it.wider, it.narrower]) {
            match found {
                DiffResult::None => {}
                DiffResult::Example(example) => return MutantOutcome::Survived(Survivor::Untested(example)),
                DiffResult::Unknown(why) => unproven = Some(why),
            }
        }
        unproven.map_or(MutantOutcome::Equivalent, |why| MutantOutcome::Survived(Survivor::Unproven(why)))
    }
}

/// In doubt, a case notices.
fn passes(case: &Case, prepared: &PreparedCase, mutated: &Arc<Policies>) -> bool {
    let Ok(snapshot) = prepared.snapshot.with_policies(Arc::clone(mutated)) else { return false };
    let decision = snapshot.decide(&prepared.request, &snapshot.gather(&prepared.request));
    decision.is_ok_and(|decision| case.accepts(&decision))
}
