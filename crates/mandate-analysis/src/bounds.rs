//! Statements about many policies as questions about few: what the solver can say of dozens at once, it
//! cannot say of thousands. More permits only permit more, and more forbids only forbid more, so a part
//! of the policies is often enough to know.

use cedar_policy::{Effect, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_symcc::{CompiledPolicySet, Env, disjoint_asserts, implies_asserts};

use super::solver::{Answer, Solver};
use super::symbolic::{RequestEnvironment, compile, conditions, variant};
use mandate_core::schema::Schema;

/// So many policies are one question.
const FEW: usize = 32;

/// Of more, so many at a time are asked about.
const AT_A_TIME: usize = 16;

/// The policies of one request environment, and whom to ask about them.
pub struct Bounds<'a> {
    pub policies: &'a [Policy],
    pub environment: &'a RequestEnvironment,
    pub schema: &'a Schema,
    pub solver: &'a mut Solver,
    /// Whether a request that the solver found for a part of the policies is decided so by all of them.
    pub real: &'a dyn Fn(&Env) -> bool,
}

impl Bounds<'_> {
    /// Whether no request that the bound matches is permitted.
    ///
    /// # Errors
    /// What cannot be analysed.
    pub fn never(&mut self, bound: &CompiledPolicySet) -> Result<Answer, String> {
        if self.policies.len() <= FEW {
            return self.disjoint(self.policies, bound);
        }
        let (permits, forbids) = self.by_effect();
        for some in permits.chunks(AT_A_TIME) {
            if matches!(self.disjoint(some, bound)?, Answer::Holds) {
                continue;
            }
            for permit in some {
                match self.never_by(permit, &forbids, bound)? {
                    Answer::Holds => {}
                    other => return Ok(other),
                }
            }
        }
        Ok(Answer::Holds)
    }

    /// Whether one permit permits nothing that the bound matches: alone, or less what some of the forbids
    /// forbid, or all of them.
    fn never_by(
        &mut self,
        permit: &Policy,
        forbids: &[Policy],
        bound: &CompiledPolicySet,
    ) -> Result<Answer, String> {
        let with = |forbids: &[Policy]| [std::slice::from_ref(permit), forbids].concat();
        if matches!(self.disjoint(&with(&[]), bound)?, Answer::Holds) {
            return Ok(Answer::Holds);
        }
        let general: Vec<Policy> = forbids.iter().filter(|forbid| is_general(forbid)).cloned().collect();
        match self.disjoint(&with(&general), bound)? {
            Answer::Fails(found) if !(self.real)(&found) => self.disjoint(&with(forbids), bound),
            Answer::Unknown(_) => self.disjoint(&with(forbids), bound),
            answer => Ok(answer),
        }
    }

    /// Whether every request that the bound matches is permitted.
    ///
    /// # Errors
    /// What cannot be analysed.
    pub fn always(&mut self, bound: &CompiledPolicySet) -> Result<Answer, String> {
        if self.policies.len() <= FEW {
            return self.implied(self.policies, bound);
        }
        let (permits, forbids) = self.by_effect();
        let mut concerned = Vec::new();
        for some in forbids.chunks(AT_A_TIME) {
            if matches!(self.disjoint(&as_permits(some)?, bound)?, Answer::Holds) {
                continue;
            }
            for forbid in some {
                if !matches!(self.disjoint(&as_permits(std::slice::from_ref(forbid))?, bound)?, Answer::Holds)
                {
                    concerned.push(forbid.clone());
                }
            }
        }
        let general: Vec<Policy> = permits.iter().filter(|permit| is_general(permit)).cloned().collect();
        match self.implied(&[&general[..], &concerned].concat(), bound)? {
            Answer::Fails(found) if !(self.real)(&found) => {
                self.implied(&[&permits[..], &concerned].concat(), bound)
            }
            answer => Ok(answer),
        }
    }

    fn by_effect(&self) -> (Vec<Policy>, Vec<Policy>) {
        self.policies.iter().cloned().partition(|policy| policy.effect() == Effect::Permit)
    }

    fn disjoint(&mut self, policies: &[Policy], bound: &CompiledPolicySet) -> Result<Answer, String> {
        let policies = compile(policies, self.environment, self.schema)?;
        Ok(self.solver.ask(&disjoint_asserts(&policies, bound)))
    }

    fn implied(&mut self, policies: &[Policy], bound: &CompiledPolicySet) -> Result<Answer, String> {
        let policies = compile(policies, self.environment, self.schema)?;
        Ok(self.solver.ask(&implies_asserts(bound, &policies)))
    }
}

/// Forbids, as if they permitted: what they match can be asked about then.
fn as_permits(forbids: &[Policy]) -> Result<Vec<Policy>, String> {
    forbids.iter().map(|forbid| variant(forbid, Effect::Permit, conditions(forbid))).collect()
}

/// Whether a policy's scope names no principal and no resource.
fn is_general(policy: &Policy) -> bool {
    matches!(policy.principal_constraint(), PrincipalConstraint::Any | PrincipalConstraint::Is(_))
        && matches!(policy.resource_constraint(), ResourceConstraint::Any | ResourceConstraint::Is(_))
}
