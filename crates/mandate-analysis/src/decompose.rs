//! Splits one statement about thousands of policies into questions about few: the solver can answer about
//! dozens at once. Permits only add and forbids only remove, so a part of the policies often decides the
//! question. Small sets are asked about as a whole. Used by `prove`.

use cedar_policy::{Effect, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_symcc::{CompiledPolicySet, Env, disjoint_asserts, implies_asserts};

use crate::error::AnalysisError;
use crate::solver::{Solver, SolverAnswer};
use crate::symbolic::{RequestEnvironment, compile, conditions, with_effect_and_conditions};
use mandate_core::schema::Schema;

/// Up to this many policies are asked about in one question.
const MAX_POLICIES_AT_ONCE: usize = 32;

/// Larger sets are asked about in chunks of this many.
const CHUNK_SIZE: usize = 16;

/// The policies of one request environment, and the solver to ask.
pub struct DecomposedQuery<'a> {
    pub policies: &'a [Policy],
    pub environment: &'a RequestEnvironment,
    pub schema: &'a Schema,
    pub solver: &'a mut Solver,
    /// Replays a counterexample of a part of the policies against all of them; false if it is spurious.
    pub is_genuine: &'a dyn Fn(&Env) -> bool,
}

impl DecomposedQuery<'_> {
    /// Whether no request that the bound matches is permitted.
    ///
    /// # Errors
    /// The policies that cannot be analysed.
    pub fn never_permits(&mut self, bound: &CompiledPolicySet) -> Result<SolverAnswer, AnalysisError> {
        if self.policies.len() <= MAX_POLICIES_AT_ONCE {
            return self.disjoint(self.policies, bound);
        }
        let (permits, forbids) = self.by_effect();
        for some in permits.chunks(CHUNK_SIZE) {
            if matches!(self.disjoint(some, bound)?, SolverAnswer::Holds) {
                continue;
            }
            for permit in some {
                match self.never_permitted_by(permit, &forbids, bound)? {
                    SolverAnswer::Holds => {}
                    other => return Ok(other),
                }
            }
        }
        Ok(SolverAnswer::Holds)
    }

    /// Whether one permit permits nothing that the bound matches: alone, or with some of the forbids, or with
    /// all of them.
    fn never_permitted_by(
        &mut self,
        permit: &Policy,
        forbids: &[Policy],
        bound: &CompiledPolicySet,
    ) -> Result<SolverAnswer, AnalysisError> {
        let with = |forbids: &[Policy]| [std::slice::from_ref(permit), forbids].concat();
        if matches!(self.disjoint(&with(&[]), bound)?, SolverAnswer::Holds) {
            return Ok(SolverAnswer::Holds);
        }
        let general: Vec<Policy> = forbids.iter().filter(|forbid| names_no_entity(forbid)).cloned().collect();
        match self.disjoint(&with(&general), bound)? {
            SolverAnswer::Counterexample(found) if !(self.is_genuine)(&found) => {
                self.disjoint(&with(forbids), bound)
            }
            SolverAnswer::Unknown(_) => self.disjoint(&with(forbids), bound),
            answer => Ok(answer),
        }
    }

    /// Whether every request that the bound matches is permitted.
    ///
    /// # Errors
    /// The policies that cannot be analysed.
    pub fn always_permits(&mut self, bound: &CompiledPolicySet) -> Result<SolverAnswer, AnalysisError> {
        if self.policies.len() <= MAX_POLICIES_AT_ONCE {
            return self.implied(self.policies, bound);
        }
        let (permits, forbids) = self.by_effect();
        let mut overlapping = Vec::new();
        for some in forbids.chunks(CHUNK_SIZE) {
            if matches!(self.disjoint(&as_permits(some)?, bound)?, SolverAnswer::Holds) {
                continue;
            }
            for forbid in some {
                if !matches!(
                    self.disjoint(&as_permits(std::slice::from_ref(forbid))?, bound)?,
                    SolverAnswer::Holds
                ) {
                    overlapping.push(forbid.clone());
                }
            }
        }
        let general: Vec<Policy> = permits.iter().filter(|permit| names_no_entity(permit)).cloned().collect();
        match self.implied(&[&general[..], &overlapping].concat(), bound)? {
            SolverAnswer::Counterexample(found) if !(self.is_genuine)(&found) => {
                self.implied(&[&permits[..], &overlapping].concat(), bound)
            }
            answer => Ok(answer),
        }
    }

    fn by_effect(&self) -> (Vec<Policy>, Vec<Policy>) {
        self.policies.iter().cloned().partition(|policy| policy.effect() == Effect::Permit)
    }

    fn disjoint(
        &mut self,
        policies: &[Policy],
        bound: &CompiledPolicySet,
    ) -> Result<SolverAnswer, AnalysisError> {
        let policies = compile(policies, self.environment, self.schema)?;
        Ok(self.solver.check_valid(&disjoint_asserts(&policies, bound)))
    }

    fn implied(
        &mut self,
        policies: &[Policy],
        bound: &CompiledPolicySet,
    ) -> Result<SolverAnswer, AnalysisError> {
        let policies = compile(policies, self.environment, self.schema)?;
        Ok(self.solver.check_valid(&implies_asserts(bound, &policies)))
    }
}

/// The forbids as permits, to ask about the requests that they match.
fn as_permits(forbids: &[Policy]) -> Result<Vec<Policy>, AnalysisError> {
    forbids
        .iter()
        .map(|forbid| with_effect_and_conditions(forbid, Effect::Permit, conditions(forbid)))
        .collect()
}

/// Whether a policy's scope names no principal and no resource.
fn names_no_entity(policy: &Policy) -> bool {
    matches!(policy.principal_constraint(), PrincipalConstraint::Any | PrincipalConstraint::Is(_))
        && matches!(policy.resource_constraint(), ResourceConstraint::Any | ResourceConstraint::Is(_))
}
