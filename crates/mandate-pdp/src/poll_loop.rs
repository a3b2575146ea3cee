//! The loop of a thread that follows one track: it polls when an event hints at a change, and at intervals.
//! What a poll does is in `policy_track` and `entity_track`.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mandate_core::diagnostics::Diagnostic;
use mandate_sources::loader::{LOADING_STACK_BYTES, ReloadResult};
use mandate_sources::source::Reread;
use mandate_sources::watch::FolderWatcher;

use crate::publisher::Publisher;
use crate::track::TrackName;
use crate::trigger::{ReloadTrigger, Requested};

/// How long no event may arrive before a poll: saving one file causes several events.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// How long a stream of events can delay a poll.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// How long files that are still being written can delay a poll.
const MAX_WRITE_WAIT: Duration = Duration::from_millis(1_200);

/// How often to check whether the path still leads to the folder that is watched.
const WATCH_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How soon a refused change is tried again; doubled each time, up to the poll interval.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Content that is followed by a thread of its own.
pub(crate) trait Track: Send + 'static {
    const NAME: TrackName;

    /// Looks at the source and puts a change in use.
    fn poll(&mut self, reread: Reread) -> Polled;
}

/// What a poll came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polled {
    /// Whether the source had something else than the last poll found.
    pub found_change: bool,
    pub state: SourceState,
}

impl Polled {
    /// What became of a poll that found this, and whether the content of the source is refused.
    pub fn of(result: Option<&ReloadResult>, refused: bool) -> Self {
        let found_change = match result {
            None => false,
            Some(Ok(accepted)) => accepted.changed,
            Some(Err(_)) => true,
        };
        Self { found_change, state: if refused { SourceState::Refused } else { SourceState::InUse } }
    }
}

/// How the content in use stands to that of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceState {
    /// The source holds what is in use.
    InUse,
    /// The source holds something that is not in use yet: a proof has to end first.
    Waiting,
    /// The source holds something that cannot be used, or cannot be read.
    Refused,
}

/// Follows one track.
pub(crate) struct PollLoop<T> {
    track: T,
    publisher: Arc<Publisher>,
    trigger: ReloadTrigger,
    /// The watch on the folder, or why there is none.
    watch: Result<FolderWatcher, String>,
    /// `None`: only events and retries lead to polls.
    poll_interval: Option<Duration>,
    /// After which time refused content is tried again.
    retry_interval: Duration,
    state: SourceState,
    last_poll: Instant,
    /// The last poll by the interval. Events do not put off the next one: it also finds what they do not tell.
    last_regular_poll: Instant,
}

impl<T: Track> PollLoop<T> {
    /// Starts the thread. It ends when the trigger asks it to.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        track: T,
        publisher: Arc<Publisher>,
        (trigger, woken): (ReloadTrigger, Receiver<()>),
        root: PathBuf,
        poll_interval: Option<Duration>,
    ) -> std::io::Result<()> {
        let waker = trigger.clone();
        let watch = FolderWatcher::new(&[root], move || waker.request_poll());
        let watch = watch.map_err(|error| format!("the system provides no file events: {error}"));
        // Content may have changed between loading and watching.
        trigger.request_poll();
        let mut poll_loop = Self {
            track,
            publisher,
            trigger,
            watch,
            poll_interval,
            retry_interval: MIN_RETRY_INTERVAL,
            state: SourceState::InUse,
            last_poll: Instant::now(),
            last_regular_poll: Instant::now(),
        };
        std::thread::Builder::new()
            .name(T::NAME.as_str().to_owned())
            .stack_size(LOADING_STACK_BYTES)
            .spawn(move || poll_loop.run(&woken))?;
        Ok(())
    }

    fn run(&mut self, woken: &Receiver<()>) {
        let mut first = true;
        loop {
            match woken.recv_timeout(self.until_due().min(WATCH_CHECK_INTERVAL)) {
                Ok(()) => self.wait_for_quiet(woken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let requested = self.trigger.take();
            if requested == Requested::Stop {
                return;
            }
            let announced = self.refresh_watches() || requested == Requested::Poll || first;
            if announced || self.until_due().is_zero() {
                self.poll(announced || self.state == SourceState::Refused);
                first = false;
            }
        }
    }

    /// How long until the next poll without an event.
    fn until_due(&self) -> Duration {
        let since_regular = self.last_regular_poll.elapsed();
        let regular = self.poll_interval.map_or(Duration::MAX, |it| it.saturating_sub(since_regular));
        match self.state {
            SourceState::InUse | SourceState::Waiting => regular,
            SourceState::Refused => regular.min(self.retry_interval.saturating_sub(self.last_poll.elapsed())),
        }
    }

    /// Waits until no more events arrive and no file is being written, but not forever.
    fn wait_for_quiet(&self, woken: &Receiver<()>) {
        let started = Instant::now();
        while woken.recv_timeout(DEBOUNCE).is_ok() && started.elapsed() < MAX_DEBOUNCE {}
        while self.watch.as_ref().is_ok_and(FolderWatcher::has_unfinished_writes)
            && started.elapsed() < MAX_WRITE_WAIT
        {
            let _ = woken.recv_timeout(DEBOUNCE);
        }
    }

    /// Watches the folder that the path leads to now. Returns whether it is another folder than before.
    fn refresh_watches(&mut self) -> bool {
        let refreshed = self.watch.as_mut().is_ok_and(FolderWatcher::rewatch);
        let why_not = match &self.watch {
            Ok(watch) => watch.why_not_watched(),
            Err(why) => Some(why.as_str()),
        };
        self.publisher.reporter().watched(T::NAME, why_not, self.poll_interval);
        refreshed
    }

    /// Polls once. `announced` is whether an event, or something else, gave reason to.
    fn poll(&mut self, announced: bool) {
        let began = Instant::now();
        let regular = self.poll_interval.is_some_and(|it| self.last_regular_poll.elapsed() >= it);
        let reread = match (self.trigger.take_full(), regular) {
            (true, _) => Reread::Everything,
            (false, true) => Reread::InTurn,
            (false, false) => Reread::Nothing,
        };
        let track = &mut self.track;
        // A panic in one poll must not end the thread.
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| track.poll(reread)));
        let polled = polled.unwrap_or_else(|_| self.report_panic());
        if polled.found_change && !announced && reread != Reread::Everything {
            self.publisher.reporter().unannounced_change(T::NAME);
        }
        self.publisher.reporter().looked(T::NAME, began, polled.state == SourceState::InUse);
        self.retry_interval = match polled.state {
            SourceState::Refused => {
                (self.retry_interval * 2).min(self.poll_interval.unwrap_or(Duration::MAX))
            }
            SourceState::Waiting => self.retry_interval,
            SourceState::InUse => MIN_RETRY_INTERVAL,
        };
        (self.state, self.last_poll) = (polled.state, Instant::now());
        if regular {
            self.last_regular_poll = self.last_poll;
        }
    }

    fn report_panic(&self) -> Polled {
        let diagnostic = Diagnostic::error("a defect of this program kept the change from being read");
        self.publisher.reporter().reload(T::NAME, Some(&Err(diagnostic.into())), Duration::ZERO, None);
        Polled { found_change: false, state: SourceState::Refused }
    }
}
