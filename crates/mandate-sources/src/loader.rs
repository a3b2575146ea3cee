//! Loads the content at the start. Later changes are found by its two parts, each on its own: policies and
//! entities are loaded independently of each other, so neither a broken policy file nor a slow disk delays a
//! revoked consent. Only a new schema replaces both at once, because entities are read by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use super::change_result::{Accepted, ReloadResult};
use super::entity_files::EntityFiles;
pub use super::entity_loader::{EntityLoader, EntityPoll};
pub use super::policy_folder::{PolicyFolder, PolicyFolderState};
pub use super::policy_loader::{PendingPolicies, PolicyLoader, PolicyPoll};
use super::source::EntitySource;
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
}

/// Loads everything for the first time. Afterwards its parts find what changed.
pub struct Loader {
    pub policies: PolicyLoader,
    pub entities: EntityLoader,
}

/// The content that was loaded at the start.
#[derive(Debug)]
pub struct LoadedContent {
    pub snapshot: Snapshot,
    pub routes: Arc<Routes>,
    pub warnings: Diagnostics,
}

impl Loader {
    pub fn new(content_paths: &ContentPaths) -> Self {
        let ContentPaths { policies, entities, terms, identity_sources } = content_paths.clone();
        Self {
            policies: PolicyLoader::new(&policies, identity_sources, terms),
            entities: EntityLoader::new(Box::new(EntityFiles::new(&entities))),
        }
    }

    /// A loader of a policy folder, with entities from any source.
    pub fn with_entities(policies: &Path, entities: Box<dyn EntitySource>, terms: RequestConfig) -> Self {
        Self { policies: PolicyLoader::new(policies, None, terms), entities: EntityLoader::new(entities) }
    }

    /// Loads everything.
    ///
    /// # Errors
    /// All diagnostics of policies and entities.
    pub fn load(&mut self) -> Result<LoadedContent, Diagnostics> {
        let pending = self.policies.load().map_err(|mut invalid| {
            // Entities can be read without policies, so their errors are reported, too.
            if let Some(Err(found)) = invalid.schema.map(|schema| self.entities.check(&schema)) {
                invalid.diagnostics.extend(found);
            }
            invalid.diagnostics
        })?;
        match self.policies.without_entities(&pending).and_then(|snapshot| self.entities.load(&snapshot)) {
            Ok(snapshot) => {
                let routes = Arc::clone(&pending.routes);
                let warnings = self.policies.confirm(pending, true).warnings;
                Ok(LoadedContent { snapshot, routes, warnings })
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
