//! Mutation testing: wrong edits of the policies, each of which must fail a test case or break a guardrail.
//! An edit that is proven to change no decision, for any request and any entities, is not counted. The edits
//! are made in `mutation/edits.rs`; the results are printed by `src/cli/test/mutate.rs`.

mod edits;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use edits::{Mutant, Operator, mutants};

use crate::claims::Guardrails;
use crate::diff::{DiffResult, Example, PolicyPair};
use crate::prove::prove;
use crate::solver::Solver;
use crate::suite::{Case, CaseContent, PreparedCase};
use mandate_core::diagnostics::SourceText;
use mandate_core::policies::{CandidatePolicies, EnvironmentKey, Policies};

/// The result of trying a mutant.
#[derive(Debug)]
pub enum MutantOutcome {
    /// It does not parse or does not fit the schema, so it could never serve.
    Invalid,
    /// This case fails.
    KilledByTest(String),
    /// This claim is broken.
    KilledByClaim(String),
    /// It decides every request as the original does, for all entities.
    Equivalent,
    /// No case and no claim notices it.
    Survived(Survivor),
}

/// What is known about a mutant that no case and no claim notices.
#[derive(Debug)]
pub enum Survivor {
    /// A request that it decides differently, with its entities: the test case that is missing.
    Untested(Box<Example>),
    /// Why it is not known whether it changes any decision.
    Unproven(String),
}

/// The policies and test cases that mutants are tried with.
pub struct MutationRun<'a> {
    policies: &'a Arc<Policies>,
    sources: Vec<Arc<SourceText>>,
    cases: Vec<(&'a Case, PreparedCase)>,
}

impl<'a> MutationRun<'a> {
    /// Prepares the cases and their steps. A question that does not fit the schema reaches no policy and is left out.
    pub fn new(content: CaseContent<'a>, cases: &'a [Case]) -> Self {
        let policies = content.snapshot.policies();
        let sources = policies.infos().into_iter().filter_map(|info| info.span.as_ref());
        let sources: BTreeMap<&str, &Arc<SourceText>> =
            sources.map(|span| (span.source.name.as_str(), &span.source)).collect();
        let cases = cases.iter().flat_map(|case| case.prepare(content));
        Self { policies, sources: sources.into_values().cloned().collect(), cases: cases.collect() }
    }

    /// Tries a mutant with the cases alone. `Err` has the mutated policies if no case fails.
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

    /// Tries a mutant that no case notices: against the guardrails, then against the original policies.
    pub fn prove(
        &self,
        mutated: Arc<Policies>,
        guardrails: &Guardrails,
        solver: &mut Solver,
    ) -> MutantOutcome {
        // The first broken claim is enough.
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
            Err(why) => return MutantOutcome::Survived(Survivor::Unproven(why.to_string())),
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

/// Whether the case passes with the mutated policies; false if it cannot be run, so that the mutant counts as
/// noticed.
fn passes(case: &Case, prepared: &PreparedCase, mutated: &Arc<Policies>) -> bool {
    let Ok(snapshot) = prepared.snapshot.with_policies(Arc::clone(mutated)) else { return false };
    let decision = snapshot.decide(&prepared.request, &snapshot.gather(&prepared.request));
    decision.is_ok_and(|decision| case.accepts(&decision))
}
