//! Who may change entities: the callers that the operator named. Authentication has found out who they are.

use crate::listen::address::Address;
use crate::listen::authentication::Caller;
use mandate_client::is_this_machine;

/// The callers that may change entities.
#[derive(Debug, Clone, Default)]
pub struct ChangeRights {
    /// They may ask for actions that change entities.
    pub change_callers: Vec<String>,
    /// They may write entities, without asking the policies.
    pub entity_callers: Vec<String>,
    /// They may submit access requests.
    pub request_callers: Vec<String>,
    /// Whether everybody may ask for actions on listeners of this machine that authenticate nobody.
    pub demo_sign_in: bool,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Change,
    WriteEntities,
    /// To submit access requests.
    Request,
}

/// Why a caller may not do what it wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRight {
    /// The operator did not name the caller.
    #[error("the caller may not do this: the operator has to name it with `{}`", .0.option())]
    NotNamed(Right),
    #[error(
        "the demo sign-in takes changes and access requests only under the names of this machine: ask `localhost` or `127.0.0.1`"
    )]
    OtherName,
    #[error(
        "this listener does not authenticate callers, so it takes no changes and no access requests: use a listener with `tokens`, `jwt-jwks` or `tls-client-ca`"
    )]
    NotAuthenticated,
}

/// The name of callers that are not authenticated, in the log.
const DEMO_CALLER: &str = "demo";

impl Right {
    fn option(self) -> &'static str {
        match self {
            Self::Change => "--change-callers",
            Self::WriteEntities => "--entity-callers",
            Self::Request => "--request-callers",
        }
    }
}

impl ChangeRights {
    /// The name of a caller that has a right.
    ///
    /// # Errors
    /// It does not have the right.
    pub fn check<'c>(
        &self,
        right: Right,
        caller: Option<&'c Caller>,
        (listener, host): (&Address, Option<&str>),
    ) -> Result<&'c str, NoRight> {
        let names = match right {
            Right::Change => &self.change_callers,
            Right::WriteEntities => &self.entity_callers,
            Right::Request => &self.request_callers,
        };
        match caller {
            Some(Caller(name)) if names.iter().any(|named| **named == **name) => Ok(name),
            Some(Caller(_)) => Err(NoRight::NotNamed(right)),
            None if self.demo_sign_in && right != Right::WriteEntities && listener.is_local() => {
                if listener.is_unix() || host.is_some_and(is_this_machine) {
                    return Ok(DEMO_CALLER);
                }
                Err(NoRight::OtherName)
            }
            None => Err(NoRight::NotAuthenticated),
        }
    }

    /// Whether anybody may submit access requests.
    pub fn takes_requests(&self) -> bool {
        self.demo_sign_in || !self.request_callers.is_empty()
    }
}
