//! All changes of the content, and the choice of the one for a request. One change is in `change`; the files are
//! read in `parse` and held to the schema in `check`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::Change;
use crate::check::{check_changes, check_requests};
use crate::parse::parse_file;
use crate::request_rule::RequestRule;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::policies::EnvironmentKey;
use mandate_core::schema::{ActionId, EntityTypeId, Schema};

/// The most rules.
const MAX_CHANGES: usize = 1_000;

/// All rules, in the order of their files.
#[derive(Debug)]
pub struct Changes {
    rules: Vec<Change>,
    by_environment: HashMap<EnvironmentKey, usize>,
    requests: Vec<RequestRule>,
    digest: Digest,
}

/// No rules: no action changes anything.
impl Default for Changes {
    fn default() -> Self {
        let (rules, requests, by_environment) = (Vec::new(), Vec::new(), HashMap::new());
        Self { rules, by_environment, requests, digest: Digest::of([]) }
    }
}

impl Changes {
    /// Parses changes and checks them against the schema.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn parse(files: &[Arc<SourceText>], schema: &Schema) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let (mut rules, mut requests): (Vec<Change>, Vec<RequestRule>) = (Vec::new(), Vec::new());
        for file in files {
            let (changes_of_file, requests_of_file) = parse_file(file, schema, &mut diagnostics);
            rules.extend(changes_of_file);
            requests.extend(requests_of_file);
        }
        if rules.len() > MAX_CHANGES {
            let message = format!("{} changes are defined; the maximum is {MAX_CHANGES}", rules.len());
            return Err(Diagnostic::error(message).into());
        }
        let by_environment = check_changes(&mut rules, schema, &mut diagnostics);
        let digest = Digest::of(files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
        let changes = Self { rules, by_environment, requests: Vec::new(), digest };
        let change_for = |action, principal, resource| changes.changes_for(action, principal, resource);
        // Rules of requests follow from changes: a wrong change would be reported twice.
        if !diagnostics.has_errors() {
            check_requests(&mut requests, &change_for, schema, &mut diagnostics);
        }
        diagnostics.into_result()?;
        Ok(Self { requests, ..changes })
    }

    /// The change that an action makes, for these types of principal and resource; `None` if it makes none.
    pub fn changes_for(
        &self,
        action: ActionId,
        principal: EntityTypeId,
        resource: EntityTypeId,
    ) -> Option<&Change> {
        let index = self.by_environment.get(&(action, principal, resource))?;
        self.rules.get(*index)
    }

    /// The digest of the files; equal for equal files.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// All rules, in the order of their files.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.rules.iter()
    }

    /// All rules of requests, in the order of their files.
    pub fn requests(&self) -> &[RequestRule] {
        &self.requests
    }

    /// The rule of requests of that id.
    pub fn request(&self, id: &str) -> Option<&RequestRule> {
        self.requests.iter().find(|rule| rule.id == id)
    }

    /// The rule by which a principal of a type asks with an action.
    pub fn request_by(&self, ask: ActionId, requester: EntityTypeId) -> Option<&RequestRule> {
        self.requests.iter().find(|rule| rule.ask == ask && rule.requesters.contains(&requester))
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
