//! What an edit of policies changes: for each request environment whether more is permitted, or less,
//! for all requests and all entities, with an example of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Effect, Policy};
use cedar_policy_symcc::{implies_asserts, never_errors_asserts};

use super::counterexample::Witness;
use super::solver::{Solver, SolverAnswer};
use super::symbolic::{RequestEnvironment, compile, compile_policy, environments, policies_in};
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::policies::{EnvironmentKey, Policies};
use mandate_core::schema::{ActionDef, ActionId, Schema};
use mandate_core::snapshot::RequestConfig;

/// Two sets of policies, both by the schema of the newer.
pub struct PolicyPair {
    pub old: Arc<Policies>,
    pub new: Arc<Policies>,
    /// The schema that the older were written for.
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

/// Whether there is a request that is decided otherwise.
#[derive(Debug)]
pub enum DiffResult {
    /// There is none.
    None,
    /// Such as this.
    Example(Box<Example>),
    /// Nobody knows, and why.
    Unknown(String),
}

/// A request with its entities, and both decisions on it.
#[derive(Debug)]
pub struct Example {
    pub witness: Witness,
    /// The decisions of the older and the newer policies. `None` if the engine could not be brought to
    /// decide so, most likely because the rules of loading rule such entities out.
    pub decisions: Option<(Decision, Decision)>,
}

impl Difference {
    pub fn is_none(&self) -> bool {
        matches!((&self.wider, &self.narrower), (DiffResult::None, DiffResult::None))
    }

    pub fn is_unknown(&self) -> bool {
        [&self.wider, &self.narrower].into_iter().any(|found| matches!(found, DiffResult::Unknown(_)))
    }

    /// The change in a word.
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
    /// Request environments that the older schema had and the newer has not, in words.
    pub fn removed_environments(&self) -> Vec<String> {
        let left = environment_labels(self.new.schema());
        environment_labels(&self.old_schema).into_iter().filter(|name| !left.contains(name)).collect()
    }

    /// Actions that are in other groups than they were: the older policies, read by the newer schema, would
    /// match what they did not.
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
    /// A defect of this program: the policies do not fit their schema.
    pub fn compare(&self, solver: &mut Solver) -> Result<Vec<Difference>, String> {
        let known = environment_labels(&self.old_schema);
        let regrouped = self.actions_with_changed_groups();
        let differences = environments(self.new.schema()).into_iter().map(|environment| {
            // What could not be asked before was permitted to nobody.
            let asked = known.contains(&environment_label(environment.ids, self.new.schema()));
            let old = if asked { policies_in(&self.old, environment.ids) } else { Vec::new() };
            let new = policies_in(&self.new, environment.ids);
            let [wider, narrower] = if asked && regrouped.contains(&environment.ids.0) {
                ["its action is in other groups by the newer schema"; 2]
                    .map(|why| DiffResult::Unknown(why.to_owned()))
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
    ) -> Result<[DiffResult; 2], String> {
        if same_policies(old, new) {
            return Ok([DiffResult::None, DiffResult::None]);
        }
        let schema = self.new.schema();
        let forbids = old.iter().chain(new).filter(|policy| policy.effect() == Effect::Forbid);
        let compiled = forbids_never_error(forbids, environment, schema, solver)
            .and_then(|()| Ok((compile(old, environment, schema)?, compile(new, environment, schema)?)));
        let (old_set, new_set) = match compiled {
            Ok(sets) => sets,
            Err(why) => return Ok([DiffResult::Unknown(why.clone()), DiffResult::Unknown(why)]),
        };
        let replay = Replay::new(self, old.is_empty())?;
        let wider = solver.check_valid(&implies_asserts(&new_set, &old_set));
        let narrower = solver.check_valid(&implies_asserts(&old_set, &new_set));
        Ok([to_diff_result(wider, true, &replay), to_diff_result(narrower, false, &replay)])
    }
}

/// Ok if no forbid can fail: a comparison takes one that does for one that does not match, and the engine
/// denies.
fn forbids_never_error<'p>(
    forbids: impl Iterator<Item = &'p Policy>,
    environment: &RequestEnvironment,
    schema: &Schema,
    solver: &mut Solver,
) -> Result<(), String> {
    for forbid in forbids {
        let compiled = compile_policy(forbid, environment, schema)?;
        if !matches!(solver.check_valid(&never_errors_asserts(&compiled)), SolverAnswer::Holds) {
            return Err(format!("`{}` may fail, and then denies", forbid.id()));
        }
    }
    Ok(())
}

/// What an answer says of a difference, with an example that the engine decides so, if there is one.
fn to_diff_result(answer: SolverAnswer, wider: bool, replay: &Replay) -> DiffResult {
    let example = match answer {
        SolverAnswer::Holds => return DiffResult::None,
        SolverAnswer::Unknown(why) => return DiffResult::Unknown(why),
        SolverAnswer::Counterexample(example) => example,
    };
    let schema = replay.new.schema();
    let Some(witness) = Witness::from_solver(&example, schema) else {
        return DiffResult::Unknown("there is a difference, but its example cannot be read".to_owned());
    };
    let differs = |(old, new): &(Decision, Decision)| (new.is_permit(), old.is_permit()) == (wider, !wider);
    let decided = |witness: &Witness| replay.decide(witness).filter(differs);
    let legible = witness.readable(schema, |witness| decided(witness).is_some());
    let decisions = legible.as_ref().and_then(decided);
    DiffResult::Example(Box::new(Example { witness: legible.unwrap_or(witness), decisions }))
}

/// Whether two lists hold the same policies; those of one environment are sorted.
fn same_policies(old: &[Policy], new: &[Policy]) -> bool {
    let meaning = |policy: &Policy| (policy.effect(), policy.as_ref().condition());
    old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| {
            let ((old_effect, old), (new_effect, new)) = (meaning(old), meaning(new));
            old_effect == new_effect && old.eq_shape(&new)
        })
}

/// Both sets of policies, on no entities.
struct Replay {
    old: Option<Snapshot>,
    new: Snapshot,
}

impl Replay {
    fn new(pair: &PolicyPair, no_old_policies: bool) -> Result<Self, String> {
        let empty = |policies: &Arc<Policies>| {
            Snapshot::new(Arc::clone(policies), &RequestConfig::default())
                .map_err(|diagnostics| diagnostics.to_string())
        };
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

/// A request environment in words: principal type, action, resource type.
pub fn environment_label((action, principal, resource): EnvironmentKey, schema: &Schema) -> String {
    let [principal, resource] =
        [principal, resource].map(|entity_type| &schema.entity_type(entity_type).name);
    format!("{principal} {} {resource}", schema.action(action).uid)
}

fn environment_labels(schema: &Schema) -> BTreeSet<String> {
    environments(schema).iter().map(|environment| environment_label(environment.ids, schema)).collect()
}
