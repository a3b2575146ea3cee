//! The state of the listeners for operators: addresses, authentication, and the files that they use, for
//! `/status` and `/metrics`. The files are reloaded by `reloading_file`; the port is in `crate::admin`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::address::Address;
use super::rejection::RejectionReason;
use super::reloading_file::FileState;
pub use super::reloading_file::Reloadable;

type Label = [(&'static str, String); 1];

/// How often the files of certificates, keys and tokens are checked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Listeners write to it, and the operators' port reads it. It is shared by all listeners.
pub struct ListenerMonitor {
    rejected: Family<Label, Counter>,
    /// The counters of `rejected`, so that counting takes no lock.
    rejected_by_reason: [(RejectionReason, Counter); RejectionReason::ALL.len()],
    pub handshake_failures: Counter,
    certificate_expiry: Family<Label, Gauge>,
    refused: Family<Label, Gauge>,
    listeners: Mutex<Vec<ListenerInfo>>,
    files: Vec<Arc<dyn Reloadable>>,
}

/// A listener, as it registers.
#[derive(Clone)]
pub struct ListenerInfo {
    pub serves: &'static str,
    pub address: Address,
    /// The methods of authentication; empty if callers are not authenticated.
    pub authentication: Vec<&'static str>,
    pub files: Vec<Arc<dyn Reloadable>>,
}

/// A listener, as `/status` shows it.
#[derive(Debug, Serialize)]
pub struct ListenerStatus {
    serves: &'static str,
    address: String,
    tls: bool,
    authentication: Vec<&'static str>,
    files: Vec<FileStatus>,
}

#[derive(Debug, Serialize)]
struct FileStatus {
    content: &'static str,
    files: Vec<String>,
    loaded: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// The reason why the newest content is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl ListenerMonitor {
    /// A monitor of listeners that use these files.
    pub fn new(files: Vec<Arc<dyn Reloadable>>) -> Arc<Self> {
        let rejected: Family<Label, Counter> = Family::default();
        let counter = |reason: RejectionReason| {
            (reason, rejected.get_or_create(&[("reason", reason.as_str().to_owned())]).clone())
        };
        Arc::new(Self {
            rejected_by_reason: RejectionReason::ALL.map(counter),
            rejected,
            handshake_failures: Counter::default(),
            certificate_expiry: Family::default(),
            refused: Family::default(),
            listeners: Mutex::default(),
            files,
        })
    }

    /// Registers the metrics, with the current state of the files.
    pub fn register_metrics(&self, registry: &mut Registry) {
        for state in self.files.iter().map(|file| file.state()) {
            let Some(path) = state.paths.first() else { continue };
            let label = || [("file", path.display().to_string())];
            self.refused.get_or_create(&label()).set(i64::from(state.refused.is_some()));
            if let Some(expires) = state.expires {
                self.certificate_expiry.get_or_create(&label()).set(expires);
            }
        }
        registry.register(
            "rejected",
            "Requests that were rejected or took too long, by reason",
            self.rejected.clone(),
        );
        registry.register(
            "handshake_failures",
            "TLS handshakes that failed",
            self.handshake_failures.clone(),
        );
        let help = "Expiry of the certificate in use, in seconds since the epoch, by file";
        registry.register("certificate_expiry_timestamp_seconds", help, self.certificate_expiry.clone());
        let help = "Whether the newest content of a listener's file is refused";
        registry.register("listener_file_refused", help, self.refused.clone());
    }

    /// Adds a listener that accepts connections.
    pub fn register(&self, entry: ListenerInfo) {
        entry.files.iter().for_each(|file| file.state().warn_if_expired());
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub fn count_rejection(&self, reason: RejectionReason) {
        let found = self.rejected_by_reason.iter().find(|(other, _)| *other == reason);
        if let Some((_, counter)) = found {
            counter.inc();
        }
    }

    /// Polls the files, without end.
    pub async fn poll_files(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let monitor = Arc::clone(&self);
            // If a poll panics, the next one follows all the same.
            let _ =
                tokio::task::spawn_blocking(move || monitor.files.iter().for_each(|file| file.poll())).await;
        }
    }

    pub fn status(&self) -> Vec<ListenerStatus> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(ListenerStatus::of).collect()
    }
}

impl ListenerStatus {
    fn of(entry: &ListenerInfo) -> Self {
        Self {
            serves: entry.serves,
            address: entry.address.to_string(),
            tls: entry.address.is_https(),
            authentication: entry.authentication.clone(),
            files: entry.files.iter().map(|file| FileStatus::of(file.state())).collect(),
        }
    }
}

impl FileStatus {
    fn of(state: FileState) -> Self {
        let expires = state.expires.and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            content: state.label,
            files: state.paths.iter().map(|path| path.display().to_string()).collect(),
            loaded: timestamp(state.loaded),
            expires: expires.map(|seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))),
            refused: state.refused,
        }
    }
}

fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
