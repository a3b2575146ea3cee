//! The red button: while the file `deny-all` is in the policy folder, every request is denied, whatever else is
//! in the folder. The file has a thread of its own, so that nothing can delay it: no validation, no proof and no
//! broken policy.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mandate_sources::deny_all::{DENY_ALL_FILE, DenyAllFile};
use mandate_sources::kept_denial::KeptDenial;

use crate::publisher::Publisher;
use crate::trigger::StopFlag;

/// How often the file is looked for. File events are not waited for: some file systems send none.
const INTERVAL: Duration = Duration::from_millis(100);

/// Denies everything as long as there is a reason to.
pub(crate) struct Button {
    folder: PathBuf,
    /// Whether everything is denied even without the file.
    always: bool,
    publisher: Arc<Publisher>,
    /// The reason that the file gives.
    found: Option<String>,
    /// Gets every other reason, to keep it for the next start.
    keeper: Option<Sender<Option<String>>>,
    /// Whether it was logged that nobody knows whether the file is still there.
    is_unknown: bool,
}

impl Button {
    /// A button that nobody presses yet, unless a denial was kept.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn new(
        folder: PathBuf,
        always: bool,
        kept: Option<KeptDenial>,
        publisher: Arc<Publisher>,
    ) -> std::io::Result<Self> {
        let found = kept.as_ref().and_then(KeptDenial::reason).map(ToOwned::to_owned);
        let keeper = kept.map(KeptDenial::start).transpose()?;
        Ok(Self { folder, always, publisher, found, keeper, is_unknown: false })
    }

    /// Looks for the file once, and starts the thread that goes on looking.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(mut self, stop: StopFlag) -> std::io::Result<()> {
        self.look();
        let watch = move || {
            while !stop.is_set() {
                std::thread::sleep(INTERVAL);
                self.look();
            }
        };
        std::thread::Builder::new().name("deny-all".into()).spawn(watch).map(|_| ())
    }

    fn look(&mut self) {
        let file = DenyAllFile::find(&self.folder);
        let is_absent = matches!(file, DenyAllFile::Absent);
        let before = self.found.clone();
        self.found = file.reason(&self.folder, before.clone());
        let reason = self.found.clone().or_else(|| self.always.then(String::new));
        self.publisher.set_deny_all(reason.map(Arc::from));
        if let Some(keeper) = self.keeper.as_ref().filter(|_| self.found != before) {
            // The thread ends only with this one.
            let _ = keeper.send(self.found.clone());
        }
        self.log_unknown(is_absent && self.found.is_some());
    }

    fn log_unknown(&mut self, is_unknown: bool) {
        if is_unknown && !self.is_unknown {
            let folder = self.folder.display();
            tracing::warn!(
                "`{folder}` has no `{DENY_ALL_FILE}` any more, but has no schema either, or cannot be read: every request stays denied until the folder is back"
            );
        }
        self.is_unknown = is_unknown;
    }
}
