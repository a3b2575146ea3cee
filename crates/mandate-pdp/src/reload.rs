//! Follows the content of a running decision point. Each track has a thread of its own, so that neither a disk
//! that hangs nor the validation of many policies delays the other; two more threads watch for an operator's
//! `deny-all` and for content that gets too old.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mandate_sources::kept_denial::KeptDenial;
use mandate_sources::loader::{ContentPaths, Loader};
use mandate_store::TransactionLog;

use crate::committer::{self, CommitQueue};
use crate::deny_all::Button;
use crate::entity_track::EntityTrack;
use crate::policy_track::PolicyTrack;
use crate::poll_loop::PollLoop;
use crate::proof_worker::{ProofConfig, ProofWorker};
use crate::publisher::Publisher;
use crate::report::InitialLoadReport;
use crate::staleness::{self, StalenessLimit};
use crate::trigger::{ReloadTrigger, StopFlag};

/// How content is followed.
pub struct ReloadConfig {
    pub content_paths: ContentPaths,
    /// How often to poll in case there are no file events; zero means never.
    pub poll_interval: Duration,
    pub proofs: ProofConfig,
    /// How old content may get; `None` for any age.
    pub staleness: Option<StalenessLimit>,
    /// Whether requests may be sent here while a copy of the content is in use.
    pub ready_when_restored: bool,
    /// Whether to deny everything from the start until the end.
    pub deny_all: bool,
    /// The log of the store that the entities come from; `None` if they come from a folder, which is followed.
    pub log: Option<Arc<dyn TransactionLog>>,
    /// Where a denial is kept for the next start, if anywhere.
    pub kept_denial: Option<KeptDenial>,
}

/// The running threads. They are told to stop when this is dropped, and not waited for: they may be reading
/// from a disk that does not answer.
pub struct Reloader {
    policies: ReloadTrigger,
    entities: ReloadTrigger,
    stop: StopFlag,
    commits: Option<CommitQueue>,
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.policies.request_stop();
        self.entities.request_stop();
        self.stop.set();
    }
}

impl Reloader {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        publisher: Publisher,
        loader: Loader,
        config: ReloadConfig,
        first: &InitialLoadReport,
    ) -> std::io::Result<Self> {
        let ContentPaths { policies: policy_root, entities: entity_root, .. } = config.content_paths;
        publisher.reporter().initial_load(&[policy_root.clone(), entity_root.clone()], first);
        publisher.reporter().ready_when_restored(config.ready_when_restored);
        let (publisher, stop) = (Arc::new(publisher), StopFlag::default());
        let interval = Some(config.poll_interval).filter(|interval| !interval.is_zero());
        let button =
            Button::new(policy_root.clone(), config.deny_all, config.kept_denial, Arc::clone(&publisher))?;
        button.start(stop.clone())?;

        let Loader { policies, entities, .. } = loader;
        let entities = Arc::new(Mutex::new(entities));
        let (policy_waker, entity_waker) = (ReloadTrigger::new(), ReloadTrigger::new());
        let triggers = [policy_waker.0.clone(), entity_waker.0.clone()];
        let worker = ProofWorker::start(config.proofs, policy_waker.0.clone())?;
        let commits = if let Some(log) = config.log {
            Some(committer::start(log, Arc::clone(&publisher), stop.clone())?)
        } else {
            let track = EntityTrack { loader: Arc::clone(&entities), publisher: Arc::clone(&publisher) };
            PollLoop::start(track, Arc::clone(&publisher), entity_waker, entity_root, interval)?;
            None
        };
        let policy_track =
            PolicyTrack::new(policies, entities, Arc::clone(&publisher), worker, first.proof.as_ref());
        PollLoop::start(policy_track, Arc::clone(&publisher), policy_waker, policy_root, interval)?;
        if let Some(limit) = config.staleness {
            staleness::start(limit, publisher, stop.clone())?;
        }
        let [policies, entities] = triggers;
        Ok(Self { policies, entities, stop, commits })
    }

    /// Takes changes of the entities, if they come from a store.
    pub fn commits(&self) -> Option<CommitQueue> {
        self.commits.clone()
    }

    /// Asks for a poll that reads every file again, whatever its metadata says.
    pub fn request_full_poll(&self) {
        self.policies.request_full_poll();
        self.entities.request_full_poll();
    }
}
