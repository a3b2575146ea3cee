//! The content of a policy folder as one value, for commands that look at policies without entities. Reloads
//! are in `policy_loader`.

use std::path::Path;
use std::sync::Arc;

use super::folder_state::FolderState;
use super::git;
use super::policy_files::{
    ParsedPolicies, PolicyFiles, PolicyFilesConfig, TextsByKind, is_policy_folder_file,
};
use super::policy_limits::PolicyLimits;
use mandate_changes::Changes;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::policies::Policies;
use mandate_core::schema::Schema;
use mandate_routes::Routes;

/// The content of a policy folder, without entities.
#[derive(Debug)]
pub struct PolicyFolder {
    pub policies: Arc<Policies>,
    /// The text of the folder's schema.
    pub schema: Arc<SourceText>,
    pub guardrails: Vec<Arc<SourceText>>,
    pub routes: Arc<Routes>,
    pub changes: Arc<Changes>,
    pub warnings: Diagnostics,
}

impl PolicyFolder {
    /// Loads a policy folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(root: &Path, limits: PolicyLimits) -> Result<Self, Diagnostics> {
        Self::of(&Self::texts(root, limits)?, None)
    }

    /// Loads two states of a policy folder, both by the schema of the second, and the schema of the first.
    ///
    /// # Errors
    /// All diagnostics of either, including those of the first by the second's schema.
    pub fn load_two_versions(
        first: &FolderState<'_>,
        second: &FolderState<'_>,
        limits: PolicyLimits,
    ) -> Result<(Self, Self, Arc<Schema>), Diagnostics> {
        let (first, second) = (Self::texts_of(first, limits)?, Self::texts_of(second, limits)?);
        let second = Self::of(&second, None)?;
        let schema = Self::of(&first, None)?.policies.schema().clone();
        let first = Self::of(&first, Some(second.policies.schema())).map_err(|found| {
            let diagnostic = Diagnostic::error(
                "the older policies do not fit the newer schema, so nothing can be compared",
            );
            let help = "change the schema so that both fit it first, and compare in two steps";
            let mut diagnostics = Diagnostics::from(diagnostic.help(help));
            diagnostics.extend(found);
            diagnostics
        })?;
        Ok((first, second, schema))
    }

    fn texts(root: &Path, limits: PolicyLimits) -> Result<TextsByKind, Diagnostics> {
        PolicyFiles::new(root, PolicyFilesConfig { limits, ..Default::default() })
            .read()
            .map(|texts| texts.by_kind)
    }

    fn texts_of(state: &FolderState<'_>, limits: PolicyLimits) -> Result<TextsByKind, Diagnostics> {
        match state {
            FolderState::Current(root) => Self::texts(root, limits),
            FolderState::AtRevision(folder, revision) => {
                let help = "name the policy folder with `--policies`";
                let files = git::files_at_revision(folder, revision, help, is_policy_folder_file)?;
                Ok(TextsByKind::of(files, &state.to_string()))
            }
        }
    }

    fn of(texts: &TextsByKind, schema: Option<&Arc<Schema>>) -> Result<Self, Diagnostics> {
        let (schema, mut warnings) = match schema {
            Some(schema) => (Arc::clone(schema), Diagnostics::default()),
            None => texts.parse_schema(None)?,
        };
        let ParsedPolicies { policies, routes, changes, warnings: more } = texts.parse(schema)?;
        warnings.extend(more);
        let (schema, guardrails) = (texts.schema.clone()?, texts.guardrails.clone());
        Ok(Self { policies, schema, guardrails, routes, changes, warnings })
    }
}
