//! The first load of `mandate serve`: from the folders, or where one cannot be used, from the copy that `--state`
//! keeps of it. The first generation comes into use here, with the threads that follow the folders.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::signals::Signals;
use super::store::ServedStore;
use crate::config::ServeConfig;
use crate::error::CliError;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_pdp::proof_worker::{CompletedProof, GuardrailMode, ProofConfig, ProofJob};
use mandate_pdp::reload::{ReloadConfig, Reloader};
use mandate_pdp::{Generation, InitialLoadReport, Pdp, PdpConfig, Restored, RestoredContent};
use mandate_sources::kept_denial::KeptDenial;
use mandate_sources::loader::{
    ContentPaths, EntityLoader, LOADING_STACK_BYTES, LoadFrom, LoadedContent, Loader,
};
use mandate_sources::saved_copy::{SavedCopies, SavedCopy};
use mandate_sources::state_folder::StateFolder;
use mandate_store::Store;

/// How far the clocks of two starts may differ.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// The result of the first load.
pub struct InitialLoad {
    loader: Loader,
    proof_config: ProofConfig,
    generation: Generation,
    warnings: Diagnostics,
    proof: Option<CompletedProof>,
    restored: Restored,
    kept_denial: Option<KeptDenial>,
    store: Option<ServedStore>,
}

/// What to load, and how.
struct Plan {
    content_paths: ContentPaths,
    copies: Option<SavedCopies>,
    kept_denial: Option<KeptDenial>,
    /// The file of the store that the entities come from.
    store: Option<PathBuf>,
    /// The copies that may be used.
    usable: Restored,
    /// Why the others may not.
    unusable: Diagnostics,
    proof_config: ProofConfig,
}

/// Loads the first snapshot; `None` if a signal stops the process meanwhile.
pub async fn load(
    config: &ServeConfig,
    proof_config: ProofConfig,
    signals: &mut Signals,
) -> Option<Result<InitialLoad, Diagnostics>> {
    let (copies, kept_denial) =
        match config.state.as_deref().map(|state| open_state(state, config)).transpose() {
            Ok(kept) => kept.unzip(),
            Err(diagnostics) => return Some(Err(diagnostics)),
        };
    let (mut usable, unusable) = usable_copies(copies.as_ref(), config.staleness.map(|limit| limit.max_age));
    if config.store.is_some() {
        // A store is its own copy; one of a folder is of another time.
        usable.entities = None;
    }
    let plan = Plan {
        content_paths: config.content_paths.clone(),
        copies,
        kept_denial,
        store: config.store.clone(),
        usable,
        unusable,
        proof_config,
    };
    let (done, loaded) = oneshot::channel();
    let load = move || {
        // The receiver is gone if a signal stopped the process.
        let _ = done.send(plan.load());
    };
    let thread = std::thread::Builder::new().name("load".into()).stack_size(LOADING_STACK_BYTES).spawn(load);
    if let Err(error) = thread {
        return Some(Err(Diagnostic::error(format!("cannot start a thread: {error}")).into()));
    }
    tokio::select! {
        loaded = loaded => Some(loaded.unwrap_or_else(|_| Err(Diagnostic::error("internal error: loading panicked (a bug in mandate)").into()))),
        () = signals.until_stop(|| {}) => None,
    }
}

/// Opens what is kept. In a folder of the content it would be content itself.
fn open_state(state: &Path, config: &ServeConfig) -> Result<(SavedCopies, KeptDenial), Diagnostics> {
    let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let ContentPaths { policies, entities, .. } = &config.content_paths;
    for folder in [policies, entities] {
        if let (Ok(inside), Ok(around)) = (absolute(state), absolute(folder))
            && inside.starts_with(around)
        {
            let message = format!("`state` is `{}`, which is inside `{}`", state.display(), folder.display());
            return Err(Diagnostic::error(message)
                .help("keep copies outside of policies and entities")
                .into());
        }
    }
    let state = StateFolder::open(state)?;
    Ok((SavedCopies::open(&state)?, KeptDenial::read(&state)))
}

/// The copies that may be used by their times, and why others may not.
fn usable_copies(copies: Option<&SavedCopies>, max_age: Option<Duration>) -> (Restored, Diagnostics) {
    let (now, mut unusable) = (SystemTime::now(), Diagnostics::default());
    let mut usable = |copy: &SavedCopy| {
        let (confirmed, folder) = (copy.last_confirmed()?, copy.folder());
        match max_age.map_or(Ok(()), |max_age| check_time(&folder, confirmed, now, max_age)) {
            Ok(()) => Some(RestoredContent::new(folder, confirmed, now)),
            Err(error) => {
                unusable.push(error);
                None
            }
        }
    };
    let policies = copies.and_then(|copies| usable(&copies.policies));
    let entities = copies.and_then(|copies| usable(&copies.entities));
    (Restored { policies, entities }, unusable)
}

/// Refuses a copy that is too old, and one whose age nobody can know.
fn check_time(
    folder: &Path,
    confirmed: SystemTime,
    now: SystemTime,
    max_age: Duration,
) -> Result<(), Diagnostic> {
    let (folder, time) = (folder.display(), humantime::format_rfc3339_seconds);
    match now.duration_since(confirmed) {
        Ok(age) if age > max_age => {
            let message = format!("the copy in `{folder}` is of {}", time(confirmed));
            Err(Diagnostic::error(message).help("`max-staleness` allows no copy that is so old"))
        }
        Err(ahead) if ahead.duration() > CLOCK_TOLERANCE => {
            let message = format!(
                "the copy in `{folder}` is of {}, and by the clock of this machine it is only {}: its age is not known",
                time(confirmed),
                time(now)
            );
            let help = "`max-staleness` allows no copy of unknown age: set the clock of this machine if it is wrong, or else repair the folder";
            Err(Diagnostic::error(message).help(help))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A decision point on the loaded content, and the reloader that keeps it up to date.
///
/// # Errors
/// The system cannot start a thread.
pub fn start(
    loaded: InitialLoad,
    config: &ServeConfig,
    started: Instant,
) -> Result<(Pdp, Reloader), CliError> {
    let InitialLoad { loader, proof_config, generation, warnings, proof, restored, kept_denial, store } =
        loaded;
    log_restored(&restored);
    let first = InitialLoadReport { warnings, took: started.elapsed(), proof, restored };
    log_start(&generation, &first);
    let (pdp, publisher) = Pdp::new(generation, PdpConfig::cached(config.cache_entries));
    let mut content_paths = config.content_paths.clone();
    if let Some(store) = &store {
        store.path().clone_into(&mut content_paths.entities);
    }
    let reload_config = ReloadConfig {
        content_paths,
        log: store.map(|store| store.log()),
        poll_interval: config.poll,
        proofs: proof_config,
        staleness: config.staleness,
        ready_when_restored: config.ready_when_restored,
        deny_all: config.deny_all,
        kept_denial,
    };
    let reloader = Reloader::start(publisher, loader, reload_config, &first);
    reloader.map(|reloader| (pdp, reloader)).map_err(CliError::system("cannot start a thread"))
}

impl InitialLoad {
    /// The store that the entities come from.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.as_ref().map(ServedStore::store)
    }

    /// What is printed at the start: the store, and which copies are in use, a line each.
    pub fn announcement(&self) -> String {
        let mut text = String::new();
        if let (Some(store), Some(position)) = (&self.store, self.generation.position()) {
            let _ = writeln!(text, "store: {} at {position}", store.path().display());
        }
        for (track, restored) in restored_tracks(&self.restored) {
            let confirmed = humantime::format_rfc3339_seconds(restored.confirmed);
            let _ = writeln!(
                text,
                "{track}: RESTORED from {} of {confirmed} (the folder cannot be used; see the log)",
                restored.folder.display()
            );
        }
        text
    }
}

impl Plan {
    /// Loads from the folders, or else from copies, as few as possible.
    fn load(mut self) -> Result<InitialLoad, Diagnostics> {
        use LoadFrom::{SavedCopy, Source};
        let store = self.store.as_deref().map(ServedStore::open).transpose()?;
        let mut loader = match &store {
            None => Loader::with_copies(&self.content_paths, self.copies.clone()),
            Some(store) => {
                let source = store.source(&self.content_paths.entities);
                Loader::with_source(&self.content_paths, self.copies.clone(), source)
            }
        };
        let mut refused: Option<Diagnostics> = None;
        for (policies, entities) in
            [(Source, Source), (Source, SavedCopy), (SavedCopy, Source), (SavedCopy, SavedCopy)]
        {
            let Some(restored) = self.restored(policies, entities) else { continue };
            match self.load_and_prove(&mut loader, policies, entities) {
                Ok((mut content, proof)) => {
                    self.start_copies()?;
                    let warnings = std::mem::take(&mut content.warnings);
                    let mut position = None;
                    if let Some(store) = &store {
                        position = Some(store.begin(&content.snapshot)?);
                        loader.entities = EntityLoader::new(store.followed());
                    }
                    let Self { proof_config, kept_denial, .. } = self;
                    let generation = Generation::from(content).with_position(position);
                    return Ok(InitialLoad {
                        loader,
                        proof_config,
                        generation,
                        warnings,
                        proof,
                        restored,
                        kept_denial,
                        store,
                    });
                }
                Err(diagnostics) => {
                    refused.get_or_insert(diagnostics);
                }
            }
        }
        let mut refused = refused.unwrap_or_default();
        refused.extend(self.unusable);
        Err(refused)
    }

    /// Loads the content and, if guardrails are enforced, proves them before anything is served.
    fn load_and_prove(
        &mut self,
        loader: &mut Loader,
        policies: LoadFrom,
        entities: LoadFrom,
    ) -> Result<(LoadedContent, Option<CompletedProof>), Diagnostics> {
        let loaded = loader.load_from(policies, entities)?;
        if self.proof_config.mode != GuardrailMode::Enforce {
            return Ok((loaded, None));
        }
        let guardrails = loader.guardrails().to_vec();
        let guardrails_in_use = guardrails.clone();
        let (policies, routes) = (Arc::clone(loaded.snapshot.policies()), Arc::clone(&loaded.routes));
        let proof =
            self.proof_config.prove_now(&ProofJob { policies, routes, guardrails, guardrails_in_use });
        match proof.as_ref().map(|proof| &proof.outcome.result) {
            Some(Err(diagnostics)) => Err(diagnostics.clone()),
            Some(Ok(())) | None => Ok((loaded, proof)),
        }
    }

    /// The copies that such a load uses; `None` if one of them cannot be used.
    fn restored(&self, policies: LoadFrom, entities: LoadFrom) -> Option<Restored> {
        let restored = |from, usable: &Option<RestoredContent>| match from {
            LoadFrom::Source => Some(None),
            LoadFrom::SavedCopy => usable.clone().map(Some),
        };
        Some(Restored {
            policies: restored(policies, &self.usable.policies)?,
            entities: restored(entities, &self.usable.entities)?,
        })
    }

    fn start_copies(&self) -> Result<(), Diagnostics> {
        let Some(copies) = &self.copies else { return Ok(()) };
        copies.start().map_err(|error| Diagnostic::error(format!("cannot start a thread: {error}")).into())
    }
}

fn restored_tracks(restored: &Restored) -> impl Iterator<Item = (&'static str, &RestoredContent)> {
    let policies = restored.policies.iter().map(|copy| ("policies", copy));
    policies.chain(restored.entities.iter().map(|copy| ("entities", copy)))
}

/// What is wrong with the folders, their first poll says.
fn log_restored(restored: &Restored) {
    for (track, restored) in restored_tracks(restored) {
        let (from, confirmed) =
            (restored.folder.display(), humantime::format_rfc3339_seconds(restored.confirmed));
        tracing::error!(track, %from, %confirmed, "the folder cannot be used: serving the copy of what was in use before");
    }
}

fn log_start(generation: &Generation, first: &InitialLoadReport) {
    for warning in first.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let snapshot = generation.snapshot();
    let (policies, entities) = (snapshot.policies().len(), snapshot.entities().len());
    let took_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX);
    let (revision, routes) = (generation.revision(), generation.routes().digest().short());
    tracing::info!(%revision, policies, entities, routes, took_ms, "loaded");
}
