//! SIGTERM and SIGINT stop the process, SIGHUP reads everything again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of operators.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Handles these signals from now on.
    ///
    /// # Errors
    /// The system cannot handle signals.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT; calls `reload` on each SIGHUP before that.
    pub async fn until_stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
            }
        }
    }
}
