//! The red button: while the file `deny-all` is in the policy folder, every request is denied, whatever else is
//! in the folder. The file has a thread of its own, so that nothing can delay it: no validation, no proof and no
//! broken policy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mandate_sources::deny_all::{DENY_ALL_FILE, DenyAllFile};

use crate::publisher::Publisher;
use crate::trigger::StopFlag;

/// How often the file is looked for. File events are not waited for: some file systems send none.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks for the file once, and starts the thread that goes on looking. With `always`, everything is denied even
/// without the file.
///
/// # Errors
/// The system cannot start a thread.
pub(crate) fn start(
    folder: PathBuf,
    always: bool,
    publisher: Arc<Publisher>,
    stop: StopFlag,
) -> std::io::Result<()> {
    let mut button = Button { folder, always, publisher, found: None, is_folder_gone: false };
    button.look();
    let watch = move || {
        while !stop.is_set() {
            std::thread::sleep(INTERVAL);
            button.look();
        }
    };
    std::thread::Builder::new().name("deny-all".into()).spawn(watch).map(|_| ())
}

struct Button {
    folder: PathBuf,
    always: bool,
    publisher: Arc<Publisher>,
    /// The reason that the file gives.
    found: Option<String>,
    /// Whether it was found by an earlier look, and now nobody knows whether the file is still there.
    is_folder_gone: bool,
}

impl Button {
    fn look(&mut self) {
        let file = DenyAllFile::find(&self.folder);
        let is_absent = matches!(file, DenyAllFile::Absent);
        self.found = file.reason(&self.folder, self.found.take());
        let reason = self.found.clone().or_else(|| self.always.then(String::new));
        self.publisher.set_deny_all(reason.map(Arc::from));
        self.log_gone(is_absent && self.found.is_some());
    }

    fn log_gone(&mut self, is_gone: bool) {
        if is_gone && !self.is_folder_gone {
            let folder = self.folder.display();
            tracing::warn!(
                "`{folder}` has no `{DENY_ALL_FILE}` any more, but has no schema either, or cannot be read: every request stays denied until the folder is back"
            );
        }
        self.is_folder_gone = is_gone;
    }
}
