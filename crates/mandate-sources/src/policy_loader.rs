//! Follows the policy folder: finds new policies, and remembers which are in use. Whether new policies may
//! come into use is decided in `mandate_pdp`.

use std::path::Path;
use std::sync::Arc;

use super::change_result::Accepted;
use super::folder::{SUITE_EXTENSIONS, has_extension};
use super::load_from::LoadFrom;
use super::policy_files::{ParsedPolicies, PolicyFiles, PolicyFilesConfig, PolicyFolderContent};
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::policies::Policies;
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;
use mandate_routes::Routes;

/// Follows a policy folder.
pub struct PolicyLoader {
    files: PolicyFiles,
    guardrails: Vec<Arc<SourceText>>,
    terms: RequestConfig,
}

/// The result of polling the policies.
#[derive(Debug)]
pub enum PolicyPoll {
    /// The folder holds what is in use.
    Unchanged,
    /// The folder holds the pending policies.
    StillPending,
    /// The folder holds something that cannot be used.
    Invalid(Diagnostics),
    /// The folder holds valid policies that may differ from those in use.
    Pending(Box<PendingPolicies>),
}

/// Valid content of the policy folder that is not in use yet.
#[derive(Debug)]
pub struct PendingPolicies {
    pub policies: Arc<Policies>,
    pub routes: Arc<Routes>,
    pub changes: Arc<Changes>,
    texts: PolicyFolderContent,
    pub(super) warnings: Diagnostics,
}

impl PendingPolicies {
    fn new(parsed: ParsedPolicies, texts: PolicyFolderContent, mut warnings: Diagnostics) -> Self {
        let ParsedPolicies { policies, routes, changes, warnings: more } = parsed;
        warnings.extend(more);
        Self { policies, routes, changes, texts, warnings }
    }

    /// The texts of the guardrails.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.texts.by_kind.guardrails
    }

    /// Identifies everything that a proof depends on: policies, schema and guardrails, and routes if there are
    /// suites among the guardrails.
    pub fn digest(&self) -> Digest {
        proof_digest(&self.policies, &self.texts.by_kind.guardrails, &self.routes)
    }
}

/// The digest of policies, their schema and their guardrails, and of the routes if a suite depends on them.
fn proof_digest(policies: &Policies, guardrails: &[Arc<SourceText>], routes: &Routes) -> Digest {
    let has_suite = guardrails.iter().any(|file| has_extension(Path::new(&file.name), SUITE_EXTENSIONS));
    let routes = if has_suite { *routes.digest() } else { Digest::of([]) };
    let claims = Digest::of(guardrails.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
    Digest::of([policies.digest(), policies.schema().digest(), &claims, &routes].map(Digest::as_bytes))
}

/// Content of a policy folder that cannot be used. If the schema is valid, entities can be read by it all the
/// same.
pub(super) struct InvalidPolicies {
    pub schema: Option<Arc<Schema>>,
    pub diagnostics: Diagnostics,
}

impl PolicyLoader {
    pub fn new(root: &Path, config: PolicyFilesConfig, terms: RequestConfig) -> Self {
        Self { files: PolicyFiles::new(root, config), guardrails: Vec::new(), terms }
    }

    /// Loads the folder for the first time, or the copy.
    pub(super) fn load(&self, from: LoadFrom) -> Result<PendingPolicies, InvalidPolicies> {
        let invalid = |diagnostics| InvalidPolicies { schema: None, diagnostics };
        let texts = match from {
            LoadFrom::Source => self.files.read().map(Some),
            LoadFrom::SavedCopy => self.files.read_copy(),
        };
        let texts = texts.map_err(invalid)?.ok_or_else(|| invalid(no_copy()))?;
        let (schema, warnings) = texts.by_kind.parse_schema(None).map_err(invalid)?;
        match texts.by_kind.parse(Arc::clone(&schema)) {
            Ok(parsed) => Ok(PendingPolicies::new(parsed, texts, warnings)),
            Err(mut diagnostics) => {
                diagnostics.extend(warnings);
                Err(InvalidPolicies { schema: Some(schema), diagnostics })
            }
        }
    }

    /// Looks for a change of policies, schema, guardrails, routes or changes. `pending` is what was found
    /// before and is still being proven. With `force`, content that is in use is parsed again.
    pub fn poll(&self, current: &Policies, pending: Option<&PendingPolicies>, force: bool) -> PolicyPoll {
        let texts = match self.files.read() {
            Ok(texts) if !force && self.files.is_applied(&texts) => {
                self.files.confirm_copy(&texts);
                return PolicyPoll::Unchanged;
            }
            Ok(texts) if pending.is_some_and(|pending| pending.texts.digest == texts.digest) => {
                return PolicyPoll::StillPending;
            }
            Ok(texts) => texts,
            Err(diagnostics) => return PolicyPoll::Invalid(diagnostics),
        };
        let parsed = texts.by_kind.parse_schema(Some(current.schema())).and_then(|(schema, warnings)| {
            let parsed = texts.by_kind.parse(schema)?;
            Ok((parsed, warnings))
        });
        match parsed {
            Ok((parsed, warnings)) => {
                PolicyPoll::Pending(Box::new(PendingPolicies::new(parsed, texts, warnings)))
            }
            Err(diagnostics) => PolicyPoll::Invalid(diagnostics),
        }
    }

    /// Whether everything that a proof depends on is what is in use. The routes may differ if there is no suite
    /// among the guardrails.
    pub fn is_in_use(&self, pending: &PendingPolicies, current: &Policies, routes: &Routes) -> bool {
        proof_digest(current, &self.guardrails, routes) == pending.digest()
    }

    /// A snapshot of pending policies without entities.
    ///
    /// # Errors
    /// The settings for parsing requests do not fit the schema.
    pub fn without_entities(&self, pending: &PendingPolicies) -> Result<Snapshot, Diagnostics> {
        Snapshot::new(Arc::clone(&pending.policies), &self.terms)
    }

    /// Records that pending policies are in use. `changed` is whether others were in use before.
    pub fn confirm(&mut self, pending: PendingPolicies, changed: bool) -> Accepted {
        self.guardrails.clone_from(&pending.texts.by_kind.guardrails);
        self.files.mark_applied(pending.texts);
        Accepted { changed, warnings: pending.warnings }
    }

    /// The guardrails of the policies in use.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.guardrails
    }
}

fn no_copy() -> Diagnostics {
    Diagnostic::error("no copy of the policies is kept").into()
}
