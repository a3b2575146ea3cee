//! The token that proves a denial: a signed statement of what was denied, which the caller gives back with its access
//! request. So nothing has to be remembered of a denial, and nobody can make one up.

use mandate_core::moment::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::keys::{Keys, TokenFault, TokenUse};
use super::structure::{same, same_of, same_subject};
use mandate_pdp::task::BoundDenial;

/// How far the clocks of caller and decision point may differ, in seconds.
const CLOCK_SKEW: i64 = 30;

/// What a token states.
#[derive(Debug, Serialize, Deserialize)]
pub struct DenialClaims {
    pub iss: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    pub denial_expires_at: String,
    pub evaluation_id: String,
    pub template: String,
    pub subject: Value,
    pub resource: Value,
    pub action: Value,
    pub context: Map<String, Value>,
    /// The members of the context that count: all that the schema has for the action, whether the denied question had
    /// them or not.
    pub binding_context_members: Vec<String>,
}

/// What a submission says of a denial.
#[derive(Debug)]
pub struct Echoed<'s> {
    pub token: &'s str,
    pub evaluation_id: Option<&'s str>,
    pub expires_at: &'s str,
    pub subject: &'s Value,
    pub resource: &'s Value,
    pub action: &'s Value,
    pub context: &'s Map<String, Value>,
}

/// Why a denial does not prove what is submitted.
#[derive(Debug, thiserror::Error)]
pub enum BindingFault {
    #[error("binding_token: {0}")]
    Token(#[from] TokenFault),
    #[error("binding_token: it was issued by or for another decision point")]
    OtherParty,
    #[error("{0}: is not that of the denial")]
    Different(&'static str),
    #[error("the denial has expired: ask for a decision again")]
    Expired,
}

impl DenialClaims {
    /// Checks the token of a denial, and that it is about what is submitted.
    ///
    /// # Errors
    /// It does not prove what is submitted.
    pub fn verify(
        echoed: &Echoed<'_>,
        keys: &Keys,
        base_url: &str,
        now: Moment,
    ) -> Result<Self, BindingFault> {
        let claims: Self = keys.verify(TokenUse::Denial, echoed.token)?;
        if claims.iss != base_url || claims.aud != base_url {
            return Err(BindingFault::OtherParty);
        }
        let has_passed = |end: i64| now.unix_seconds() > end.saturating_add(CLOCK_SKEW);
        if has_passed(claims.exp) {
            return Err(BindingFault::Expired);
        }
        claims.compare(echoed)?;
        let expires_at: Moment =
            echoed.expires_at.parse().map_err(|_| BindingFault::Different("denial.expires_at"))?;
        if claims.denial_expires_at.parse() != Ok(expires_at) {
            return Err(BindingFault::Different("denial.expires_at"));
        }
        if has_passed(expires_at.unix_seconds()) { Err(BindingFault::Expired) } else { Ok(claims) }
    }

    fn compare(&self, echoed: &Echoed<'_>) -> Result<(), BindingFault> {
        let context = (&self.context, echoed.context);
        let checks = [
            ("subject", same_subject(&self.subject, echoed.subject)),
            ("resource", same(&self.resource, echoed.resource)),
            ("action", same(&self.action, echoed.action)),
            ("context", same_of(&self.binding_context_members, context)),
            ("denial.evaluation_id", echoed.evaluation_id.is_none_or(|id| id == self.evaluation_id)),
        ];
        match checks.iter().find(|(_, is_same)| !is_same) {
            Some((name, _)) => Err(BindingFault::Different(name)),
            None => Ok(()),
        }
    }

    /// What is remembered of the denial.
    pub fn into_denial(self) -> BoundDenial {
        let Self { jti: token, evaluation_id, subject, resource, action, context, .. } = self;
        let context_members = self.binding_context_members;
        BoundDenial { token, evaluation_id, subject, resource, action, context, context_members }
    }
}
