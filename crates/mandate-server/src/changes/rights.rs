//! Who may change entities: the callers that the operator named. Authentication has found out who they are.

use hyper::StatusCode;

use super::problem::Problem;
use crate::listen::address::Address;
use crate::listen::authentication::Caller;

/// The callers that may change entities.
#[derive(Debug, Clone, Default)]
pub struct ChangeRights {
    /// They may ask for actions that change entities.
    pub change_callers: Vec<String>,
    /// They may write entities, without asking the policies.
    pub entity_callers: Vec<String>,
    /// Whether everybody may ask for actions on listeners of this machine that authenticate nobody.
    pub demo_sign_in: bool,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Change,
    WriteEntities,
}

/// The name of callers that are not authenticated, in the log.
const DEMO_CALLER: &str = "demo";

impl Right {
    fn option(self) -> &'static str {
        match self {
            Self::Change => "--change-callers",
            Self::WriteEntities => "--entity-callers",
        }
    }
}

impl ChangeRights {
    /// The name of a caller that has a right.
    ///
    /// # Errors
    /// It does not have the right.
    pub fn check(
        &self,
        right: Right,
        caller: Option<&Caller>,
        listener: &Address,
    ) -> Result<String, Problem> {
        let names = match right {
            Right::Change => &self.change_callers,
            Right::WriteEntities => &self.entity_callers,
        };
        match caller {
            Some(Caller(name)) if names.iter().any(|named| **named == **name) => Ok(name.to_string()),
            Some(Caller(name)) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!(
                    "{} may not do this: the operator has to name it with `{}`",
                    mandate_core::json::quoted(name),
                    right.option()
                ),
            )),
            None if self.demo_sign_in && right == Right::Change && listener.is_local() => {
                Ok(DEMO_CALLER.to_owned())
            }
            None => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this listener does not authenticate callers, so it takes no changes: use a listener with `tokens`, `jwt-jwks` or `tls-client-ca`",
            )),
        }
    }
}
