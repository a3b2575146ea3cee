//! Makes snapshots of what the sources give: the first one at the start, and a new one for each change.
//!
//! Policies and entities are loaded independently of each other, so a broken policy file does not delay a
//! revoked consent. Only a new schema replaces both at once, because entities are read by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entity_files::EntityFiles;
use super::git;
use super::policy_files::{PolicyFiles, PolicyFolderContent, TextsByKind, is_policy_folder_file};
use super::source::{EntitySource, EntityUpdate, Origins, PollFor};
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::entities::EntityChanges;
use mandate_core::policies::Policies;
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;
use mandate_routes::Routes;

/// The stack size of a thread that loads content, in bytes: Cedar's parser and validator recurse. Memory is
/// only taken for the part that is used.
pub const LOADING_STACK_BYTES: usize = 256 * 1024 * 1024;

/// The folders of the content, and the settings for parsing requests.
#[derive(Debug, Clone)]
pub struct ContentPaths {
    pub policies: PathBuf,
    pub entities: PathBuf,
    pub terms: RequestConfig,
}

/// Loads snapshots, and remembers which content is in use.
pub struct Loader {
    policies: PolicyFiles,
    entities: Box<dyn EntitySource>,
    origins: Origins,
    terms: RequestConfig,
    guardrails: Vec<Arc<SourceText>>,
}

/// The content of a policy folder, without entities.
#[derive(Debug)]
pub struct PolicyFolder {
    pub policies: Arc<Policies>,
    /// The text of the folder's schema.
    pub schema: Arc<SourceText>,
    pub guardrails: Vec<Arc<SourceText>>,
    pub routes: Routes,
    pub warnings: Diagnostics,
}

impl PolicyFolder {
    /// Loads a policy folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(root: &Path) -> Result<Self, Diagnostics> {
        Self::of(&Self::texts(root)?, None)
    }

    /// Loads two states of a policy folder, both by the schema of the second, and the schema of the first.
    ///
    /// # Errors
    /// All diagnostics of either, including those of the first by the second's schema.
    pub fn load_two_versions(
        first: &PolicyFolderState<'_>,
        second: &PolicyFolderState<'_>,
    ) -> Result<(Self, Self, Arc<Schema>), Diagnostics> {
        let (first, second) = (first.texts()?, second.texts()?);
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

    fn texts(root: &Path) -> Result<TextsByKind, Diagnostics> {
        let texts = PolicyFiles::new(root).read_if_changed(true)?;
        texts
            .map(|texts| texts.by_kind)
            .ok_or_else(|| Diagnostic::error(format!("cannot read `{}`", root.display())).into())
    }

    fn of(texts: &TextsByKind, schema: Option<&Arc<Schema>>) -> Result<Self, Diagnostics> {
        let (schema, mut warnings) = match schema {
            Some(schema) => (Arc::clone(schema), Diagnostics::default()),
            None => texts.parse_schema(None)?,
        };
        let (policies, routes, more) = texts.parse(schema)?;
        warnings.extend(more);
        let (policies, schema) = (Arc::new(policies), texts.schema.clone()?);
        Ok(Self { policies, schema, guardrails: texts.guardrails.clone(), routes, warnings })
    }
}

/// A state of a policy folder.
#[derive(Debug)]
pub enum PolicyFolderState<'a> {
    /// The folder as it is now.
    Current(&'a Path),
    /// The folder as it was at a git revision.
    AtRevision(&'a Path, &'a str),
}

impl PolicyFolderState<'_> {
    fn texts(&self) -> Result<TextsByKind, Diagnostics> {
        match self {
            Self::Current(root) => PolicyFolder::texts(root),
            Self::AtRevision(folder, revision) => {
                let name = format!("{revision}:{}", folder.display());
                Ok(TextsByKind::of(git::files_at_revision(folder, revision, is_policy_folder_file)?, &name))
            }
        }
    }
}

/// The content that was loaded at the start.
#[derive(Debug)]
pub struct LoadedContent {
    pub snapshot: Snapshot,
    pub routes: Arc<Routes>,
    pub warnings: Diagnostics,
}

/// The result of polling the entities.
#[derive(Debug, Default)]
pub struct EntityPoll {
    /// The next snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// Whether a change was accepted; `None` if nothing changed.
    pub result: Option<ReloadResult>,
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
    routes: Arc<Routes>,
    texts: PolicyFolderContent,
    warnings: Diagnostics,
}

impl PendingPolicies {
    /// The texts of the guardrails.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.texts.by_kind.guardrails
    }

    /// Identifies everything that a proof depends on: policies, schema and guardrails.
    pub fn digest(&self) -> Digest {
        proof_digest(&self.policies, &self.texts.by_kind.guardrails)
    }
}

/// The digest of policies, their schema and their guardrails.
fn proof_digest(policies: &Policies, guardrails: &[Arc<SourceText>]) -> Digest {
    let claims = Digest::of(guardrails.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
    Digest::of([policies.digest(), policies.schema().digest(), &claims].map(Digest::as_bytes))
}

/// A change was accepted, or refused as a whole with all its diagnostics.
pub type ReloadResult = Result<Accepted, Diagnostics>;

/// The next snapshot, with the routes that belong to it.
pub type Next = (Snapshot, Arc<Routes>);

/// An accepted change.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether the content differs from what was in use before.
    pub changed: bool,
    pub warnings: Diagnostics,
}

impl Loader {
    pub fn new(content_paths: &ContentPaths) -> Self {
        let entities = Box::new(EntityFiles::new(&content_paths.entities));
        Self::with_entities(&content_paths.policies, entities, content_paths.terms.clone())
    }

    /// A loader of a policy folder, with entities from any source.
    pub fn with_entities(policies: &Path, entities: Box<dyn EntitySource>, terms: RequestConfig) -> Self {
        let policies = PolicyFiles::new(policies);
        Self { policies, entities, origins: Origins::default(), terms, guardrails: Vec::new() }
    }

    /// Loads everything.
    ///
    /// # Errors
    /// All diagnostics of policies and entities.
    pub fn load(&mut self) -> Result<LoadedContent, Diagnostics> {
        let (policies, routes, texts, mut warnings) = match self.load_policies() {
            Ok(loaded) => loaded,
            Err((schema, mut diagnostics)) => {
                // Entities can be read without policies, so their errors are reported, too.
                let poll =
                    |schema: Arc<Schema>| self.entities.poll(PollFor::Snapshot, &schema, &mut self.origins);
                if let Some(Err(found)) = schema.map(poll) {
                    diagnostics.extend(found);
                }
                return Err(diagnostics);
            }
        };
        let snapshot = self.build_snapshot(Arc::new(policies), texts).map_err(|mut diagnostics| {
            diagnostics.extend(std::mem::take(&mut warnings));
            diagnostics
        })?;
        Ok(LoadedContent { snapshot, routes: Arc::new(routes), warnings })
    }

    #[expect(clippy::type_complexity, reason = "the schema beside the diagnostics is for this one caller")]
    fn load_policies(
        &self,
    ) -> Result<(Policies, Routes, PolicyFolderContent, Diagnostics), (Option<Arc<Schema>>, Diagnostics)>
    {
        let texts = self.policies.read_if_changed(true).map_err(|diagnostics| (None, diagnostics))?;
        let texts = texts.ok_or((None, Diagnostics::default()))?;
        let (schema, mut warnings) =
            texts.by_kind.parse_schema(None).map_err(|diagnostics| (None, diagnostics))?;
        match texts.by_kind.parse(Arc::clone(&schema)) {
            Ok((policies, routes, more)) => {
                warnings.extend(more);
                Ok((policies, routes, texts, warnings))
            }
            Err(diagnostics) => Err((Some(schema), diagnostics)),
        }
    }

    /// Builds a snapshot for a new schema: all entities are read by it.
    fn build_snapshot(
        &mut self,
        policies: Arc<Policies>,
        texts: PolicyFolderContent,
    ) -> Result<Snapshot, Diagnostics> {
        let snapshot = Snapshot::new(policies, &self.terms)?;
        let update = self.entities.poll(PollFor::Snapshot, snapshot.schema(), &mut self.origins)?;
        let Some((position, update)) = update else { return Err(no_snapshot()) };
        let snapshot = snapshot.apply(&as_change(update, &snapshot))?;
        self.entities.confirm(position);
        self.mark_applied(texts);
        Ok(snapshot)
    }

    /// Looks for a change of policies, schema, guardrails or routes. `pending` is what was found before and
    /// is still being proven. With `force` every file is read, even if its metadata did not change.
    pub fn poll_policies(
        &self,
        current: &Snapshot,
        pending: Option<&PendingPolicies>,
        force: bool,
    ) -> PolicyPoll {
        let texts = match self.policies.read_if_changed(force) {
            Ok(None) => return PolicyPoll::Unchanged,
            Ok(Some(texts)) if pending.is_some_and(|pending| pending.texts.same_as(&texts)) => {
                return PolicyPoll::StillPending;
            }
            Ok(Some(texts)) => texts,
            Err(diagnostics) => return PolicyPoll::Invalid(diagnostics),
        };
        let parsed = texts.by_kind.parse_schema(Some(current.policies().schema())).and_then(
            |(schema, mut warnings)| {
                let (policies, routes, more) = texts.by_kind.parse(schema)?;
                warnings.extend(more);
                Ok((Arc::new(policies), Arc::new(routes), warnings))
            },
        );
        match parsed {
            Ok((policies, routes, warnings)) => {
                PolicyPoll::Pending(Box::new(PendingPolicies { policies, routes, texts, warnings }))
            }
            Err(diagnostics) => PolicyPoll::Invalid(diagnostics),
        }
    }

    /// Whether the policies and guardrails are those in use. The routes may differ: no proof depends on
    /// them.
    pub fn is_in_use(&self, pending: &PendingPolicies, current: &Snapshot) -> bool {
        proof_digest(current.policies(), &self.guardrails) == pending.digest()
    }

    /// Accepts pending policies. Returns the next snapshot and routes if they differ from the current ones. If
    /// the schema is new, all entities are read again.
    ///
    /// # Errors
    /// The entities do not fit the new schema.
    pub fn accept(
        &mut self,
        pending: PendingPolicies,
        current: &Snapshot,
        current_routes: &Routes,
    ) -> Result<(Option<Next>, Accepted), Diagnostics> {
        let reroutes = pending.routes.digest() != current_routes.digest();
        let changed = reroutes || !self.is_in_use(&pending, current);
        let PendingPolicies { policies, routes, texts, warnings } = pending;
        let accepted = Accepted { changed, warnings };
        if policies.schema().digest() != current.schema().digest() {
            return Ok((Some((self.build_snapshot(policies, texts)?, routes)), accepted));
        }
        let next = if policies.digest() == current.policies().digest() {
            reroutes.then(|| current.clone())
        } else {
            Some(current.with_policies(policies)?)
        };
        self.mark_applied(texts);
        Ok((next.map(|snapshot| (snapshot, routes)), accepted))
    }

    fn mark_applied(&mut self, texts: PolicyFolderContent) {
        self.guardrails.clone_from(&texts.by_kind.guardrails);
        self.policies.mark_applied(texts);
    }

    /// The guardrails of the policies in use.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.guardrails
    }

    /// Looks for a change of entities. They are read by the schema in use.
    pub fn poll_entities(&mut self, current: &Snapshot, force: bool) -> EntityPoll {
        let mut poll = EntityPoll::default();
        poll.result = self.apply_entity_changes(current, force, &mut poll.snapshot).transpose();
        poll
    }

    fn apply_entity_changes(
        &mut self,
        current: &Snapshot,
        force: bool,
        next: &mut Option<Snapshot>,
    ) -> Result<Option<Accepted>, Diagnostics> {
        let what = PollFor::Changes { force };
        let polled = self.entities.poll(what, current.schema(), &mut self.origins)?;
        let Some((position, update)) = polled else { return Ok(None) };
        let change = as_change(update, current);
        let changed = !change.upserts.is_empty() || !change.removals.is_empty();
        if changed {
            *next = Some(current.apply(&change)?);
        }
        self.entities.confirm(position);
        Ok(Some(Accepted { changed, warnings: Diagnostics::default() }))
    }
}

/// An update as a change of a snapshot's entities.
fn as_change(update: EntityUpdate, current: &Snapshot) -> EntityChanges {
    match update {
        // An entity that is both removed and upserted ends up as upserted.
        EntityUpdate::Snapshot(upsert) => {
            let remove = current.entities().iter().map(|entity| entity.uid().to_owned()).collect();
            EntityChanges { upserts: upsert, removals: remove }
        }
        EntityUpdate::Changes(change) => change,
    }
}

/// A source broke its contract: [`PollFor::Snapshot`] always gets a snapshot.
fn no_snapshot() -> Diagnostics {
    Diagnostic::error("the source of the entities gave no snapshot").into()
}
