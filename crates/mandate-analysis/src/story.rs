//! Runs a case and the steps that follow it, one after the other. A step is decided on the entities as those before
//! it left them: an action that is permitted and changes entities takes effect.

use std::time::Instant;

use crate::after;
use crate::case::{Answer, Asked, Case, CaseResult, PreparedCase};
use crate::coverage::Coverage;
use crate::error::CaseError;
use crate::given;
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::request::Request;
use mandate_routes::Routes;

/// The content that cases are run on.
#[derive(Clone, Copy)]
pub struct CaseContent<'a> {
    pub snapshot: &'a Snapshot,
    pub routes: &'a Routes,
    pub changes: &'a Changes,
}

/// Whether a permitted action takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing follows, so only the decision counts.
    Ignored,
    /// It does if it changes entities.
    IfAny,
    /// Something is expected of it, so it has to change entities.
    Expected,
}

/// A case that is being run.
struct Story<'a> {
    content: CaseContent<'a>,
    /// With the entities as the steps so far left them.
    snapshot: Snapshot,
    /// How many ids were made.
    made: usize,
    /// The steps that were decided, and on what.
    decided: Vec<(&'a Case, PreparedCase)>,
}

impl Case {
    /// Decides the case's question and compares the answer with the expected one; then its steps, if it has any.
    pub fn run(&self, content: CaseContent<'_>) -> CaseResult {
        self.run_covering(content, None)
    }

    /// Like [`Case::run`], and counts which policies and clauses the case reached.
    pub fn run_covering(&self, content: CaseContent<'_>, coverage: Option<&mut Coverage>) -> CaseResult {
        let started = Instant::now();
        let failure = Story::new(content).tell(self, coverage);
        CaseResult { failure, took: started.elapsed() }
    }

    /// The case and its steps, each with its request and the entities that it is decided on. Left out is what the
    /// case does not come to, a question that does not fit the schema, and an HTTP request.
    pub fn prepare<'a>(&'a self, content: CaseContent<'a>) -> Vec<(&'a Self, PreparedCase)> {
        let mut story = Story::new(content);
        story.tell(self, None);
        story.decided.retain(|(case, _)| case.is_question());
        story.decided
    }
}

impl<'a> Story<'a> {
    fn new(content: CaseContent<'a>) -> Self {
        Self { content, snapshot: content.snapshot.clone(), made: 0, decided: Vec::new() }
    }

    /// Runs a case and its steps until one fails. `None` if all passed; else what failed, in lines.
    fn tell(&mut self, case: &'a Case, mut coverage: Option<&mut Coverage>) -> Option<String> {
        let effect = if case.expects_change() { Effect::Expected } else { Effect::Ignored };
        if let Some(failure) = self.failure(case, effect, coverage.as_deref_mut()) {
            return Some(failure);
        }
        case.then.iter().zip(1..).find_map(|(step, number)| {
            let effect = if step.after.is_empty() { Effect::IfAny } else { Effect::Expected };
            let failure = self.failure(step, effect, coverage.as_deref_mut())?;
            let name = if step.name.is_empty() { String::new() } else { format!(", `{}`", step.name) };
            Some(format!("step {number} of `then`{name}: {failure}"))
        })
    }

    fn failure(&mut self, case: &'a Case, effect: Effect, coverage: Option<&mut Coverage>) -> Option<String> {
        let failure = self.step(case, effect, coverage);
        failure.unwrap_or_else(|message| Some(format!("the case cannot be run: {message}")))
    }

    fn step(
        &mut self,
        case: &'a Case,
        effect: Effect,
        coverage: Option<&mut Coverage>,
    ) -> Result<Option<String>, CaseError> {
        self.snapshot = given::apply(&self.snapshot, &case.given)?;
        let request = match case.ask(&self.snapshot, self.content.routes)? {
            Asked::Request(request) => request,
            Asked::Answered(answer) => return Ok(case.mismatch(&answer)),
            Asked::Differs(failure) => return Ok(Some(failure)),
            Asked::AsExpected => return Ok(None),
        };
        let prepared = PreparedCase { snapshot: self.snapshot.clone(), request: request.clone() };
        self.decided.push((case, prepared));
        let slice = self.snapshot.gather(&request);
        if let Some(coverage) = coverage {
            coverage.add(&self.snapshot.trace_policies(&request, &slice)?);
        }
        let decision = self.snapshot.decide(&request, &slice)?;
        let is_permit = decision.is_permit();
        let mismatch = case.mismatch(&Answer::Decision(decision));
        if mismatch.is_some() || !is_permit || effect == Effect::Ignored {
            return Ok(mismatch);
        }
        Ok(match self.perform(&request, effect) {
            Ok(before) => after::mismatch(&case.after, &before, &self.snapshot)?
                .map(|mismatch| format!("{}, afterwards{mismatch}", case.title())),
            Err(why) => Some(format!("{} is permitted, and cannot be performed: {why}", case.title())),
        })
    }

    /// Makes the edits of a permitted action. Returns the snapshot before.
    fn perform(&mut self, request: &Request, effect: Effect) -> Result<Snapshot, CaseError> {
        let (action, principal, resource) = request.environment();
        let next = match self.content.changes.changes_for(action, principal, resource) {
            Some(rule) => {
                let made = &mut self.made;
                let edits = rule.edits(request, &self.snapshot, &mut || {
                    *made += 1;
                    format!("made-{made}")
                })?;
                self.snapshot.apply(&edits.changes)?
            }
            None if effect == Effect::Expected => return Err(CaseError::NoRule),
            None => self.snapshot.clone(),
        };
        Ok(std::mem::replace(&mut self.snapshot, next))
    }
}
