//! The one thread that commits. It takes the proposals that wait, decides them by the policies in use, appends what
//! is permitted to the log, puts the entities in use, and only then answers. Proposals that arrive while the disk
//! writes are committed together with the next write.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_sources::loader::{Accepted, LOADING_STACK_BYTES};
use mandate_store::{AppendError, EntityName, StoreError, StoredEntity, TransactionLog};

use crate::change_result::ChangeResult;
use crate::commit_group::{CommitGroup, MustWait};
use crate::generation::Generation;
use crate::proposal::{CommitResult, Proposal, Refusal};
use crate::publisher::{NoCommit, Publisher};
use crate::report::Reporter;
use crate::request_book::RequestBook;
use crate::task_book::TaskBook;
use crate::track::TrackName;
use crate::trigger::StopFlag;

/// The most proposals that wait.
const MAX_WAITING: usize = 1024;

/// About how many actions and edits are committed together. While they are decided, no other policies come into use.
const MAX_GROUP: usize = 1024;

/// How often a group is decided again after others have committed something in between.
const MAX_ATTEMPTS: usize = 8;

/// How often the log is looked at while nothing is committed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Takes proposals to the thread that commits. Clones lead to the same thread.
#[derive(Clone)]
pub struct CommitQueue {
    jobs: SyncSender<Job>,
    log: Arc<dyn TransactionLog>,
}

/// Takes the result of a proposal. It is called on the thread that commits, so it must neither block nor panic; if it
/// is dropped, nobody knows the result.
type Reply = Box<dyn FnOnce(CommitResult) + Send>;

struct Job {
    proposal: Proposal,
    reply: Reply,
}

impl CommitQueue {
    /// Has a proposal committed, and calls `reply` with the result. If `reply` is dropped without a call, it is not
    /// known what became of the proposal.
    pub fn submit(&self, proposal: Proposal, reply: impl FnOnce(CommitResult) + Send + 'static) {
        let job = Job { proposal, reply: Box::new(reply) };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.jobs.try_send(job) {
            (job.reply)(Err(Refusal::Overload));
        }
    }

    /// The tasks of the log.
    pub fn tasks(&self) -> TaskBook {
        TaskBook::new(Arc::clone(&self.log))
    }

    /// The requests of the log.
    pub fn requests(&self) -> RequestBook {
        RequestBook::new(Arc::clone(&self.log))
    }

    /// An entity as it is stored, which the entities in use may follow a moment later. It reads from the disk.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn entity(&self, name: &EntityName) -> Result<Option<StoredEntity>, StoreError> {
        self.log.entity(name)
    }
}

/// Commits a proposal without a queue, as long as nobody else has the log. `generation` has to be at its end.
pub fn commit_alone(log: &dyn TransactionLog, generation: &Generation, proposal: &Proposal) -> CommitResult {
    let position = log.head().map_err(|error| Refusal::NotCommitted(error.to_string()))?.position();
    let mut group = CommitGroup::new(log, generation.clone(), position);
    let committed = match group.propose(proposal, generation) {
        Ok(result) => result?,
        // Only another proposal of the group can make one wait.
        Err(MustWait) => return Err(Refusal::Overload),
    };
    let (transactions, _) = group.into_parts();
    if !transactions.is_empty() {
        log.append(position, transactions).map_err(|error| match error {
            AppendError::Unknown(_) => Refusal::Unknown,
            error => Refusal::NotCommitted(error.to_string()),
        })?;
    }
    Ok(committed)
}

struct Committer {
    log: Arc<dyn TransactionLog>,
    publisher: Arc<Publisher>,
    queue: Receiver<Job>,
    /// Proposals that could not be decided together with those before.
    waiting: Vec<Job>,
    last_look: Instant,
}

/// Starts the thread. The generation in use has to be at a position of this log.
///
/// # Errors
/// The system cannot start a thread.
pub(crate) fn start(
    log: Arc<dyn TransactionLog>,
    publisher: Arc<Publisher>,
    stop: StopFlag,
) -> std::io::Result<CommitQueue> {
    let (sender, queue) = sync_channel(MAX_WAITING);
    let queue_log = Arc::clone(&log);
    let mut committer = Committer { log, publisher, queue, waiting: Vec::new(), last_look: Instant::now() };
    let run = move || {
        while !stop.is_set() {
            committer.run_once();
        }
    };
    let thread = std::thread::Builder::new().name("commit".into()).stack_size(LOADING_STACK_BYTES);
    thread.spawn(run).map(|_| CommitQueue { jobs: sender, log: queue_log })
}

impl Committer {
    /// Commits what waits, or looks at the log if nothing does.
    fn run_once(&mut self) {
        let mut jobs = std::mem::take(&mut self.waiting);
        if jobs.is_empty() {
            match self.queue.recv_timeout(LOOK_INTERVAL) {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                // The thread ends when it is told to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_INTERVAL),
            }
        }
        let mut edits: usize = jobs.iter().map(|job| job.proposal.size()).sum();
        while edits < MAX_GROUP
            && let Ok(job) = self.queue.try_recv()
        {
            edits += job.proposal.size();
            jobs.push(job);
        }
        // A panic must not end the thread. Whoever waits is told that the outcome is not known.
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
            if jobs.is_empty() || self.last_look.elapsed() > LOOK_INTERVAL {
                self.look();
            }
            if !jobs.is_empty() {
                self.commit(jobs);
            }
        }));
        if done.is_err() {
            tracing::error!("a defect of this program ended a commit");
        }
    }

    /// Looks whether the log is where the entities in use are.
    fn look(&mut self) {
        let (publisher, began) = (Arc::clone(&self.publisher), Instant::now());
        let no_commit = publisher.no_commit();
        let result = self.catch_up(&no_commit);
        let confirmed = result.is_ok();
        let result = match result {
            Ok(false) => None,
            Ok(true) => Some(Ok(Accepted { changed: true, ..Accepted::default() })),
            Err(diagnostics) => Some(Err(diagnostics)),
        };
        publisher.reporter().reload(TrackName::Entities, result.as_ref(), began.elapsed(), None);
        publisher.reporter().looked(TrackName::Entities, began, confirmed);
        self.last_look = began;
    }

    /// Puts in use what others have committed. Returns whether there was something.
    fn catch_up(&self, no_commit: &NoCommit<'_>) -> Result<bool, Diagnostics> {
        let current = self.publisher.current();
        let Some(position) = current.position() else { return Ok(false) };
        let head = self.log.head().map_err(|error| Diagnostic::error(error.to_string()))?;
        if head.position() == position {
            return Ok(false);
        }
        let snapshot = current.snapshot();
        let (changes, head) = self.log.changes_after(position, snapshot.schema())?;
        self.publisher.publish_committed(no_commit, &snapshot.apply(&changes)?, head.position());
        Ok(true)
    }

    /// Commits proposals together, and answers them.
    fn commit(&mut self, mut jobs: Vec<Job>) {
        let (publisher, log) = (Arc::clone(&self.publisher), Arc::clone(&self.log));
        publisher.let_policies_pass();
        let no_commit = publisher.no_commit();
        for _ in 0..MAX_ATTEMPTS {
            // Nothing is decided on entities that the log has left behind, most likely because of an error.
            if let Err(diagnostics) = self.catch_up(&no_commit) {
                let reason = diagnostics.to_string();
                publisher.reporter().not_committed(&reason);
                return answer_all(jobs, publisher.reporter(), || Refusal::NotCommitted(reason.clone()));
            }
            let current = publisher.current();
            let Some(position) = current.position() else { return };
            let mut group = CommitGroup::new(&*log, Generation::clone(&current), position);
            let (results, wait) = decide(&mut group, &publisher, jobs);
            self.waiting.extend(wait);
            let (transactions, entities) = group.into_parts();
            let appended = match transactions.len() {
                0 => Ok(None),
                _ => log.append(position, transactions).map(Some),
            };
            match appended {
                Ok(head) => {
                    if let Some(head) = head {
                        publisher.publish_committed(&no_commit, &entities, head.position());
                        self.last_look = Instant::now();
                        publisher.reporter().looked(TrackName::Entities, self.last_look, true);
                    }
                    for (job, result) in results {
                        job.answer(result, publisher.reporter());
                    }
                    return;
                }
                Err(AppendError::Conflict(at)) => {
                    tracing::debug!(%at, "something else was committed: deciding again");
                    jobs = results.into_iter().map(|(job, _)| job).collect();
                }
                Err(AppendError::NotAppended(error)) => {
                    let jobs = results.into_iter().map(|(job, _)| job).collect();
                    let reason = error.to_string();
                    publisher.reporter().not_committed(&reason);
                    return answer_all(jobs, publisher.reporter(), || Refusal::NotCommitted(reason.clone()));
                }
                Err(AppendError::Unknown(error)) => {
                    publisher.reporter().not_committed(&format!("the outcome is not known: {error}"));
                    let jobs = results.into_iter().map(|(job, _)| job).collect();
                    return answer_all(jobs, publisher.reporter(), || Refusal::Unknown);
                }
            }
        }
        answer_all(jobs, publisher.reporter(), || Refusal::TooManyConflicts);
    }
}

/// Decides proposals in their order. Those that the group cannot decide yet are given back.
fn decide(
    group: &mut CommitGroup<'_>,
    publisher: &Publisher,
    jobs: Vec<Job>,
) -> (Vec<(Job, CommitResult)>, Vec<Job>) {
    let (mut results, mut wait) = (Vec::new(), Vec::new());
    for job in jobs {
        // A later proposal must not overtake one that waits.
        if !wait.is_empty() {
            wait.push(job);
            continue;
        }
        // An operator may have denied everything since the group began.
        match group.propose(&job.proposal, &publisher.current()) {
            Ok(result) => results.push((job, result)),
            Err(MustWait) => wait.push(job),
        }
    }
    (results, wait)
}

fn answer_all(jobs: Vec<Job>, reporter: &Reporter, refusal: impl Fn() -> Refusal) {
    for job in jobs {
        job.answer(Err(refusal()), reporter);
    }
}

impl Job {
    fn answer(self, result: CommitResult, reporter: &Reporter) {
        reporter.change(ChangeResult::from(&result));
        (self.reply)(result);
    }
}
