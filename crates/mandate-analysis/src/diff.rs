//! What an edit of policies changes: for each request environment whether more is permitted, or less,
//! for all requests and all entities, with an example of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Effect, Policy};
use cedar_policy_symcc::{implies_asserts, never_errors_asserts};

use super::solver::{Answer, Solver};
use super::symbolic::{RequestEnvironment, compile, compile_one, environments, relevant};
use super::witness::Witness;
use mandate_core::Snapshot;
use mandate_core::decision::Decision;
use mandate_core::policies::{Environment, Policies};
use mandate_core::schema::{ActionId, ActionInfo, Schema};
use mandate_core::snapshot::Terms;

/// Two sets of policies, both by the schema of the newer.
pub struct Pair {
    pub old: Arc<Policies>,
    pub new: Arc<Policies>,
    /// The schema that the older were written for.
    pub old_schema: Arc<Schema>,
}

/// What changes in one request environment.
#[derive(Debug)]
pub struct Difference {
    pub environment: Environment,
    /// A request that only the newer policies permit.
    pub wider: Found,
    /// A request that only the older policies permit.
    pub narrower: Found,
}

/// Whether there is a request that is decided otherwise.
#[derive(Debug)]
pub enum Found {
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
        matches!((&self.wider, &self.narrower), (Found::None, Found::None))
    }

    pub fn is_unknown(&self) -> bool {
        [&self.wider, &self.narrower].into_iter().any(|found| matches!(found, Found::Unknown(_)))
    }

    /// The change in a word.
    pub fn word(&self) -> &'static str {
        match (&self.wider, &self.narrower) {
            (Found::Unknown(_), _) | (_, Found::Unknown(_)) => "unknown",
            (Found::None, Found::None) => "same",
            (Found::Example(_), Found::None) => "wider",
            (Found::None, Found::Example(_)) => "narrower",
            (Found::Example(_), Found::Example(_)) => "both",
        }
    }
}

impl Pair {
    /// Request environments that the older schema had and the newer has not, in words.
    pub fn gone(&self) -> Vec<String> {
        let left = names(self.new.schema());
        names(&self.old_schema).into_iter().filter(|name| !left.contains(name)).collect()
    }

    /// Actions that are in other groups than they were: the older policies, read by the newer schema, would
    /// match what they did not.
    fn regrouped(&self) -> BTreeSet<ActionId> {
        let groups = |action: &ActionInfo| -> BTreeSet<String> {
            action.entities.iter().map(|entity| entity.uid().to_string()).collect()
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
        let known = names(&self.old_schema);
        let regrouped = self.regrouped();
        let differences = environments(self.new.schema()).into_iter().map(|environment| {
            // What could not be asked before was permitted to nobody.
            let asked = known.contains(&words(environment.index, self.new.schema()));
            let old = if asked { relevant(&self.old, environment.index) } else { Vec::new() };
            let new = relevant(&self.new, environment.index);
            let [wider, narrower] = if asked && regrouped.contains(&environment.index.0) {
                ["its action is in other groups by the newer schema"; 2]
                    .map(|why| Found::Unknown(why.to_owned()))
            } else {
                self.both_ways(&environment, &old, &new, solver)?
            };
            Ok(Difference { environment: environment.index, wider, narrower })
        });
        differences.collect()
    }

    /// Finds a request that only the newer policies permit, and one that only the older do.
    fn both_ways(
        &self,
        environment: &RequestEnvironment,
        old: &[Policy],
        new: &[Policy],
        solver: &mut Solver,
    ) -> Result<[Found; 2], String> {
        if same(old, new) {
            return Ok([Found::None, Found::None]);
        }
        let schema = self.new.schema();
        let forbids = old.iter().chain(new).filter(|policy| policy.effect() == Effect::Forbid);
        let compiled = never_fail(forbids, environment, schema, solver)
            .and_then(|()| Ok((compile(old, environment, schema)?, compile(new, environment, schema)?)));
        let (old_set, new_set) = match compiled {
            Ok(sets) => sets,
            Err(why) => return Ok([Found::Unknown(why.clone()), Found::Unknown(why)]),
        };
        let replay = Replay::new(self, old.is_empty())?;
        let wider = solver.ask(&implies_asserts(&new_set, &old_set));
        let narrower = solver.ask(&implies_asserts(&old_set, &new_set));
        Ok([found(wider, true, &replay), found(narrower, false, &replay)])
    }
}

/// Ok if no forbid can fail: a comparison takes one that does for one that does not match, and the engine
/// denies.
fn never_fail<'p>(
    forbids: impl Iterator<Item = &'p Policy>,
    environment: &RequestEnvironment,
    schema: &Schema,
    solver: &mut Solver,
) -> Result<(), String> {
    for forbid in forbids {
        let compiled = compile_one(forbid, environment, schema)?;
        if !matches!(solver.ask(&never_errors_asserts(&compiled)), Answer::Holds) {
            return Err(format!("`{}` may fail, and then denies", forbid.id()));
        }
    }
    Ok(())
}

/// What an answer says of a difference, with an example that the engine decides so, if there is one.
fn found(answer: Answer, wider: bool, replay: &Replay) -> Found {
    let example = match answer {
        Answer::Holds => return Found::None,
        Answer::Unknown(why) => return Found::Unknown(why),
        Answer::Fails(example) => example,
    };
    let schema = replay.new.schema();
    let Some(witness) = Witness::found(&example, schema) else {
        return Found::Unknown("there is a difference, but its example cannot be read".to_owned());
    };
    let differs = |(old, new): &(Decision, Decision)| (new.is_permit(), old.is_permit()) == (wider, !wider);
    let decided = |witness: &Witness| replay.decide(witness).filter(differs);
    let legible = witness.legible(schema, |witness| decided(witness).is_some());
    let decisions = legible.as_ref().and_then(decided);
    Found::Example(Box::new(Example { witness: legible.unwrap_or(witness), decisions }))
}

/// Whether two lists hold the same policies; those of one environment are sorted.
fn same(old: &[Policy], new: &[Policy]) -> bool {
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
    fn new(pair: &Pair, nothing_before: bool) -> Result<Self, String> {
        let empty = |policies: &Arc<Policies>| {
            Snapshot::new(Arc::clone(policies), &Terms::default()).map_err(|faults| faults.to_string())
        };
        let old = if nothing_before { None } else { Some(empty(&pair.old)?) };
        Ok(Self { old, new: empty(&pair.new)? })
    }

    fn decide(&self, witness: &Witness) -> Option<(Decision, Decision)> {
        let loaded = witness.loaded(&self.new).ok()?;
        let new = witness.decide(&loaded)?;
        let old = match &self.old {
            Some(old) => witness.decide(&loaded.with_policies(Arc::clone(old.policies())).ok()?)?,
            None => Decision::nothing_permits(),
        };
        Some((old, new))
    }
}

/// A request environment in words: principal type, action, resource type.
pub fn words((action, principal, resource): Environment, schema: &Schema) -> String {
    let [principal, resource] = [principal, resource].map(|kind| &schema.kind(kind).name);
    format!("{principal} {} {resource}", schema.action(action).uid)
}

fn names(schema: &Schema) -> BTreeSet<String> {
    environments(schema).iter().map(|environment| words(environment.index, schema)).collect()
}
