//! Asks a thread that follows content to poll, or to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Asks for a poll. Asking again before the poll changes nothing. Clones ask the same thread.
#[derive(Clone)]
pub struct ReloadTrigger {
    wake: SyncSender<()>,
    requested: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// Tells threads to end.
#[derive(Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a thread was woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requested {
    Nothing,
    Poll,
    Stop,
}

impl ReloadTrigger {
    /// A trigger, and what wakes the thread that it asks.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (wake, woken) = sync_channel(1);
        let trigger = Self { wake, requested: Arc::default(), full: Arc::default(), stop: Arc::default() };
        (trigger, woken)
    }

    /// Asks for a poll, because something may have changed.
    pub fn request_poll(&self) {
        self.requested.store(true, Ordering::Release);
        // A full channel wakes the thread already.
        let _ = self.wake.try_send(());
    }

    /// Asks for a poll that reads every file again, whatever its metadata says.
    pub fn request_full_poll(&self) {
        self.full.store(true, Ordering::Release);
        self.request_poll();
    }

    /// Asks the thread to end.
    pub(crate) fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.request_poll();
    }

    /// What was asked for since the last call.
    pub(crate) fn take(&self) -> Requested {
        match (self.stop.load(Ordering::Acquire), self.requested.swap(false, Ordering::AcqRel)) {
            (true, _) => Requested::Stop,
            (false, true) => Requested::Poll,
            (false, false) => Requested::Nothing,
        }
    }

    /// Whether the next poll has to read every file, as asked for since the last call.
    pub(crate) fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::AcqRel)
    }
}
