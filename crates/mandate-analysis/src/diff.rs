//! Compares two versions of policies: for each request environment, whether the newer permits more or less,
//! for all requests and all entities, with an example of each. The results are printed by `src/cli/diff.rs`;
//! examples are made in `counterexample`.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Effect, Policy};
use cedar_policy_symcc::{implies_asserts, never_errors_asserts};

use crate::counterexample::Witness;
use crate::error::AnalysisError;
use crate::solver::{Solver, SolverAnswer};
use crate::symbolic::{RequestEnvironment, compile, compile_policy, environments, policies_in};
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::policies::{EnvironmentKey, Policies};
use mandate_core::schema::{ActionDef, ActionId, Schema};
use mandate_core::snapshot::RequestConfig;

/// Two versions of policies, both validated against the schema of the newer.
pub struct PolicyPair {
    pub old: Arc<Policies>,
    pub new: Arc<Policies>,
    /// The schema of the older version.
    pub old_schema: Arc<Schema>,
}

/// What changes in one request environment.
#[derive(Debug)]
pub struct Difference {
    pub environment: EnvironmentKey,
    /// A request that only the newer policies permit.
    pub wider: DiffResult,
    /// A request that only the older policies permit.
    pub narrower: DiffResult,
}

/// Whether there is a request that the two versions decide differently.
#[derive(Debug)]
pub enum DiffResult {
    /// There is no such request.
    None,
    /// One such request.
    Example(Box<Example>),
    /// Why the two versions could not be compared.
    Unknown(String),
}

/// A request with its entities, and both decisions on it.
#[derive(Debug)]
pub struct Example {
    pub witness: Witness,
    /// The decisions of the older and the newer policies. `None` if no completion of the solver's model is
    /// decided differently by the engine, most likely because the loading rules exclude such entities.
    pub decisions: Option<(Decision, Decision)>,
}

impl Difference {
    pub fn is_none(&self) -> bool {
        matches!((&self.wider, &self.narrower), (DiffResult::None, DiffResult::None))
    }

    pub fn is_unknown(&self) -> bool {
        [&self.wider, &self.narrower].into_iter().any(|found| matches!(found, DiffResult::Unknown(_)))
    }

    /// The change in one word.
    pub fn change_label(&self) -> &'static str {
        match (&self.wider, &self.narrower) {
            (DiffResult::Unknown(_), _) | (_, DiffResult::Unknown(_)) => "unknown",
            (DiffResult::None, DiffResult::None) => "same",
            (DiffResult::Example(_), DiffResult::None) => "wider",
            (DiffResult::None, DiffResult::Example(_)) => "narrower",
            (DiffResult::Example(_), DiffResult::Example(_)) => "both",
        }
    }
}

impl PolicyPair {
    /// The request environments that only the older schema has, as labels.
    pub fn removed_environments(&self) -> Vec<String> {
        let left = environment_labels(self.new.schema());
        environment_labels(&self.old_schema).into_iter().filter(|name| !left.contains(name)).collect()
    }

    /// The actions whose groups differ between the schemas. The older policies are validated against the
    /// newer schema, so they would match requests that they did not match before.
    fn actions_with_changed_groups(&self) -> BTreeSet<ActionId> {
        let groups = |action: &ActionDef| -> BTreeSet<String> {
            action.self_and_groups.iter().map(|entity| entity.uid().to_string()).collect()
        };
        let differs = self.new.schema().actions().filter(|(_, action)| {
            let before = self.old_schema.actions().find(|(_, before)| before.uid == action.uid);
            before.is_some_and(|(_, before)| groups(before) != groups(action))
        });
        differs.map(|(id, _)| id).collect()
    }

    /// Compares every request environment of the newer schema.
    ///
    /// # Errors
    /// A defect of this program: the policies, which are loaded already, cannot be loaded again.
    pub fn compare(&self, solver: &mut Solver) -> Result<Vec<Difference>, AnalysisError> {
        let known = environment_labels(&self.old_schema);
        let regrouped = self.actions_with_changed_groups();
        let differences = environments(self.new.schema()).into_iter().map(|environment| {
            // Requests of an environment that is new in the schema were always denied before.
            let asked = known.contains(&environment_label(environment.ids, self.new.schema()));
            let old = if asked { policies_in(&self.old, environment.ids) } else { Vec::new() };
            let new = policies_in(&self.new, environment.ids);
            let [wider, narrower] = if asked && regrouped.contains(&environment.ids.0) {
                [(); 2].map(|()| DiffResult::Unknown(AnalysisError::ActionGroupsChanged.to_string()))
            } else {
                self.compare_environment(&environment, &old, &new, solver)?
            };
            Ok(Difference { environment: environment.ids, wider, narrower })
        });
        differences.collect()
    }

    /// Finds a request that only the newer policies permit, and one that only the older do.
    fn compare_environment(
        &self,
        environment: &RequestEnvironment,
        old: &[Policy],
        new: &[Policy],
        solver: &mut Solver,
    ) -> Result<[DiffResult; 2], AnalysisError> {
        if same_policies(old, new) {
            return Ok([DiffResult::None, DiffResult::None]);
        }
        let schema = self.new.schema();
        let forbids = old.iter().chain(new).filter(|policy| policy.effect() == Effect::Forbid);
        let compiled = forbids_never_error(forbids, environment, schema, solver)
            .and_then(|()| Ok((compile(old, environment, schema)?, compile(new, environment, schema)?)));
        let (old_set, new_set) = match compiled {
            Ok(sets) => sets,
            Err(why) => return Ok([(); 2].map(|()| DiffResult::Unknown(why.to_string()))),
        };
        let replay = Replay::new(self, old.is_empty())?;
        let wider = solver.check_valid(&implies_asserts(&new_set, &old_set));
        let narrower = solver.check_valid(&implies_asserts(&old_set, &new_set));
        Ok([to_diff_result(wider, true, &replay), to_diff_result(narrower, false, &replay)])
    }
}

/// Ok if no forbid can error. The solver takes a forbid that errors for one that does not match, but the
/// engine denies.
fn forbids_never_error<'p>(
    forbids: impl Iterator<Item = &'p Policy>,
    environment: &RequestEnvironment,
    schema: &Schema,
    solver: &mut Solver,
) -> Result<(), AnalysisError> {
    for forbid in forbids {
        let compiled = compile_policy(forbid, environment, schema)?;
        if !matches!(solver.check_valid(&never_errors_asserts(&compiled)), SolverAnswer::Holds) {
            return Err(AnalysisError::ForbidMayError(forbid.id().clone()));
        }
    }
    Ok(())
}

/// The difference that the answer shows, with an example that the engine decides the same way if possible.
fn to_diff_result(answer: SolverAnswer, wider: bool, replay: &Replay) -> DiffResult {
    let example = match answer {
        SolverAnswer::Holds => return DiffResult::None,
        SolverAnswer::Unknown(why) => return DiffResult::Unknown(why.to_string()),
        SolverAnswer::Counterexample(example) => example,
    };
    let schema = replay.new.schema();
    let Some(witness) = Witness::from_solver(&example, schema) else {
        return DiffResult::Unknown(AnalysisError::UnreadableExample.to_string());
    };
    let differs = |(old, new): &(Decision, Decision)| (new.is_permit(), old.is_permit()) == (wider, !wider);
    let decided = |witness: &Witness| replay.decide(witness).filter(differs);
    let readable = witness.readable(schema, |witness| decided(witness).is_some());
    let decisions = readable.as_ref().and_then(decided);
    DiffResult::Example(Box::new(Example { witness: readable.unwrap_or(witness), decisions }))
}

/// Whether two lists have the same policies. Both are sorted, as those of one environment are.
fn same_policies(old: &[Policy], new: &[Policy]) -> bool {
    let meaning = |policy: &Policy| (policy.effect(), policy.as_ref().condition());
    old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| {
            let ((old_effect, old), (new_effect, new)) = (meaning(old), meaning(new));
            old_effect == new_effect && old.eq_shape(&new)
        })
}

/// Both versions of the policies, without entities.
struct Replay {
    old: Option<Snapshot>,
    new: Snapshot,
}

impl Replay {
    fn new(pair: &PolicyPair, no_old_policies: bool) -> Result<Self, AnalysisError> {
        let empty = |policies: &Arc<Policies>| Snapshot::new(Arc::clone(policies), &RequestConfig::default());
        let old = if no_old_policies { None } else { Some(empty(&pair.old)?) };
        Ok(Self { old, new: empty(&pair.new)? })
    }

    fn decide(&self, witness: &Witness) -> Option<(Decision, Decision)> {
        let loaded = witness.load_into(&self.new).ok()?;
        let new = witness.decide(&loaded)?;
        let old = match &self.old {
            Some(old) => witness.decide(&loaded.with_policies(Arc::clone(old.policies())).ok()?)?,
            None => Decision::default_deny(),
        };
        Some((old, new))
    }
}

/// A label of a request environment: principal type, action, resource type.
pub fn environment_label((action, principal, resource): EnvironmentKey, schema: &Schema) -> String {
    let [principal, resource] =
        [principal, resource].map(|entity_type| &schema.entity_type(entity_type).name);
    format!("{principal} {} {resource}", schema.action(action).uid)
}

fn environment_labels(schema: &Schema) -> BTreeSet<String> {
    environments(schema).iter().map(|environment| environment_label(environment.ids, schema)).collect()
}
