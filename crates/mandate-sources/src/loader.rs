//! Loads the content at the start. Later changes are found by its two parts, each on its own: policies and
//! entities are loaded independently of each other, so neither a broken policy file nor a slow disk delays a
//! revoked consent. Only a new schema replaces both at once, because entities are read by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use super::change_result::{Accepted, ReloadResult};
use super::entity_files::EntityFiles;
pub use super::entity_folder::{
    entity_texts, load_entity_folder, read_entity_folder, read_entity_folder_in_parts,
};
pub use super::entity_loader::{EntityLoader, EntityPoll};
pub use super::folder_state::FolderState;
pub use super::load_from::LoadFrom;
use super::policy_files::PolicyFilesConfig;
pub use super::policy_folder::PolicyFolder;
use super::policy_limits::PolicyLimits;
pub use super::policy_loader::{PendingPolicies, PolicyLoader, PolicyPoll};
use super::saved_copy::SavedCopies;
use super::source::EntitySource;
use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::snapshot::RequestConfig;
use mandate_routes::{IdentitySources, Routes};

/// The stack size of a thread that loads content, in bytes: Cedar's parser and validator recurse. Memory is
/// only taken for the part that is used.
pub const LOADING_STACK_BYTES: usize = 256 * 1024 * 1024;

/// The folders of the content, and the settings for parsing requests.
#[derive(Debug, Clone)]
pub struct ContentPaths {
    pub policies: PathBuf,
    pub entities: PathBuf,
    pub terms: RequestConfig,
    /// Where routes may take principals from; `None`: from anywhere.
    pub identity_sources: Option<Arc<IdentitySources>>,
    pub policy_limits: PolicyLimits,
}

/// Loads everything for the first time. Afterwards its parts find what changed.
pub struct Loader {
    pub policies: PolicyLoader,
    pub entities: EntityLoader,
    copies: Option<SavedCopies>,
}

/// The content that was loaded at the start.
#[derive(Debug)]
pub struct LoadedContent {
    pub snapshot: Snapshot,
    pub routes: Arc<Routes>,
    pub changes: Arc<Changes>,
    pub warnings: Diagnostics,
}

impl Loader {
    pub fn new(content_paths: &ContentPaths) -> Self {
        Self::with_copies(content_paths, None)
    }

    /// A loader that keeps copies of what is in use, once they are started.
    pub fn with_copies(content_paths: &ContentPaths, copies: Option<SavedCopies>) -> Self {
        let entity_copy = copies.as_ref().map(|copies| copies.entities.clone());
        let files = EntityFiles::new(&content_paths.entities, entity_copy);
        Self::with_source(content_paths, copies, Box::new(files))
    }

    /// As [`Self::with_copies`], with entities from any source.
    pub fn with_source(
        content_paths: &ContentPaths,
        copies: Option<SavedCopies>,
        entities: Box<dyn EntitySource>,
    ) -> Self {
        let ContentPaths { policies, terms, identity_sources, policy_limits, .. } = content_paths.clone();
        let copy = copies.as_ref().map(|copies| copies.policies.clone());
        let config = PolicyFilesConfig { identity_sources, limits: policy_limits, copy };
        let policies = PolicyLoader::new(&policies, config, terms);
        Self { policies, entities: EntityLoader::new(entities), copies }
    }

    /// A loader of a policy folder, with entities from any source.
    pub fn with_entities(policies: &Path, entities: Box<dyn EntitySource>, terms: RequestConfig) -> Self {
        let policies = PolicyLoader::new(policies, PolicyFilesConfig::default(), terms);
        Self { policies, entities: EntityLoader::new(entities), copies: None }
    }

    /// Loads everything.
    ///
    /// # Errors
    /// All diagnostics of policies and entities.
    pub fn load(&mut self) -> Result<LoadedContent, Diagnostics> {
        self.load_from(LoadFrom::Source, LoadFrom::Source)
    }

    /// Loads policies and entities, each from its source or from its copy.
    ///
    /// # Errors
    /// All diagnostics of policies and entities, or there is no copy.
    pub fn load_from(
        &mut self,
        policies: LoadFrom,
        entities: LoadFrom,
    ) -> Result<LoadedContent, Diagnostics> {
        if let Some(copies) = &self.copies {
            copies.policies.forget_changes();
            copies.entities.forget_changes();
        }
        let pending = self.policies.load(policies).map_err(|mut invalid| {
            // Entities can be read without policies, so their errors are reported, too.
            if (policies, entities) == (LoadFrom::Source, LoadFrom::Source)
                && let Some(Err(found)) = invalid.schema.map(|schema| self.entities.check(&schema))
            {
                invalid.diagnostics.extend(found);
            }
            invalid.diagnostics
        })?;
        let snapshot = self.policies.without_entities(&pending);
        match snapshot.and_then(|snapshot| self.entities.load_from(entities, &snapshot)) {
            Ok(snapshot) => {
                let (routes, changes) = (Arc::clone(&pending.routes), Arc::clone(&pending.changes));
                let warnings = self.policies.confirm(pending, true).warnings;
                Ok(LoadedContent { snapshot, routes, changes, warnings })
            }
            Err(mut diagnostics) => {
                diagnostics.extend(pending.warnings);
                Err(diagnostics)
            }
        }
    }

    /// The guardrails of the policies in use.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        self.policies.guardrails()
    }
}
