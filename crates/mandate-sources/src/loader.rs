//! From folders to snapshots: the first one, and each next one from what changed.
//!
//! Policies and entities are two tracks. A broken policy file does not hold up a revoked consent,
//! nor the other way round; only a new schema takes both along, because it says how to read entities.

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

/// The stack of a thread that loads, in bytes: Cedar's parser and validator recurse. Only what is used
/// of it takes memory.
pub const LOADING_STACK_BYTES: usize = 256 * 1024 * 1024;

/// Where a snapshot's content is, and the terms of reading questions.
#[derive(Debug, Clone)]
pub struct ContentPaths {
    pub policies: PathBuf,
    pub entities: PathBuf,
    pub terms: RequestConfig,
}

/// Loads snapshots from folders, and knows what of them is in use.
pub struct Loader {
    policies: PolicyFiles,
    entities: Box<dyn EntitySource>,
    origins: Origins,
    terms: RequestConfig,
    guardrails: Vec<Arc<SourceText>>,
}

/// Policies without entities, with the texts of the guardrails that stand beside them.
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

    /// Loads two states of a policy folder, both by the schema of the second; with the schema of the first.
    ///
    /// # Errors
    /// Everything that is wrong with either, or with the first by the second's schema.
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
    /// A folder as it is.
    Current(&'a Path),
    /// A folder as it was at a revision of git.
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

/// Everything that was loaded at a start.
#[derive(Debug)]
pub struct LoadedContent {
    pub snapshot: Snapshot,
    pub routes: Arc<Routes>,
    pub warnings: Diagnostics,
}

/// What a look at the entities brought.
#[derive(Debug, Default)]
pub struct EntityPoll {
    /// The next snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// What became of a change; `None` if the folder certainly holds what is in use.
    pub result: Option<ReloadResult>,
}

/// What a look at the policies saw in their folder.
#[derive(Debug)]
pub enum PolicyPoll {
    /// What is in use.
    Unchanged,
    /// The candidate that waits already.
    StillPending,
    /// Something that cannot be used.
    Invalid(Diagnostics),
    /// Something that can be used, as far as it shows in itself. It may be what is in use.
    Pending(Box<PendingPolicies>),
}

/// Content of the policy folder that was checked by itself and is not in use.
#[derive(Debug)]
pub struct PendingPolicies {
    pub policies: Arc<Policies>,
    routes: Arc<Routes>,
    texts: PolicyFolderContent,
    warnings: Diagnostics,
}

impl PendingPolicies {
    /// The claims that stand beside the policies.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.texts.by_kind.guardrails
    }

    /// The same for the same policies, schema and claims: all that is proven.
    pub fn digest(&self) -> Digest {
        proof_digest(&self.policies, &self.texts.by_kind.guardrails)
    }
}

/// The digest of policies with their schema and the claims about them.
fn proof_digest(policies: &Policies, guardrails: &[Arc<SourceText>]) -> Digest {
    let claims = Digest::of(guardrails.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
    Digest::of([policies.digest(), policies.schema().digest(), &claims].map(Digest::as_bytes))
}

/// Accepted, or refused whole, with everything that is wrong.
pub type ReloadResult = Result<Accepted, Diagnostics>;

/// A snapshot with the routes that belong to it.
pub type Next = (Snapshot, Arc<Routes>);

/// Content that is in use now.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether it differs from what was in use before.
    pub changed: bool,
    pub warnings: Diagnostics,
}

impl Loader {
    pub fn new(content_paths: &ContentPaths) -> Self {
        let entities = Box::new(EntityFiles::new(&content_paths.entities));
        Self::with_entities(&content_paths.policies, entities, content_paths.terms.clone())
    }

    /// A loader of a policy folder and of the entities of any source.
    pub fn with_entities(policies: &Path, entities: Box<dyn EntitySource>, terms: RequestConfig) -> Self {
        let policies = PolicyFiles::new(policies);
        Self { policies, entities, origins: Origins::default(), terms, guardrails: Vec::new() }
    }

    /// Loads everything. Warnings come beside the snapshot.
    ///
    /// # Errors
    /// Everything that is wrong, with policies and entities alike.
    pub fn load(&mut self) -> Result<LoadedContent, Diagnostics> {
        let (policies, routes, texts, mut warnings) = match self.load_policies() {
            Ok(loaded) => loaded,
            Err((schema, mut diagnostics)) => {
                // Entities can be read without policies, so what is wrong with them shows as well.
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

    /// A snapshot of policies with a schema of their own: all entities are read by it.
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

    /// Looks for a change of policies, schema or guardrails, where one candidate may be waiting. With
    /// `force`, every file is read again, whatever its metadata say.
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

    /// Whether a candidate has the policies and the claims that are in use. Its routes may be others:
    /// nothing is proven of them.
    pub fn is_in_use(&self, pending: &PendingPolicies, current: &Snapshot) -> bool {
        proof_digest(current.policies(), &self.guardrails) == pending.digest()
    }

    /// Takes a candidate, and gives the next snapshot and routes if it makes others. A new schema takes the
    /// entities along.
    ///
    /// # Errors
    /// The entities do not fit a new schema.
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

    /// The claims that stand beside the policies in use.
    pub fn guardrails(&self) -> &[Arc<SourceText>] {
        &self.guardrails
    }

    /// Looks for a change of entities, by the schema in use.
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
        // An entity that is both removed and upserted stays, as it comes.
        EntityUpdate::Snapshot(upsert) => {
            let remove = current.entities().iter().map(|entity| entity.uid().to_owned()).collect();
            EntityChanges { upserts: upsert, removals: remove }
        }
        EntityUpdate::Changes(change) => change,
    }
}

/// A defect of a source.
fn no_snapshot() -> Diagnostics {
    Diagnostic::error("the source of the entities gave no snapshot").into()
}
