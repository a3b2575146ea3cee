//! The red button: while the file `deny-all` is in the policy folder, every request is denied, whatever else is
//! in the folder. The file has a thread of its own, so that nothing can delay it: no validation, no proof and no
//! broken policy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mandate_sources::deny_all::DenyAllFile;

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
    let mut found = None;
    let mut look = move || {
        found = DenyAllFile::find(&folder).reason(found.take());
        let reason = found.clone().or_else(|| always.then(String::new));
        publisher.set_deny_all(reason.map(Arc::from));
    };
    look();
    let watch = move || {
        while !stop.is_set() {
            std::thread::sleep(INTERVAL);
            look();
        }
    };
    std::thread::Builder::new().name("deny-all".into()).spawn(watch).map(|_| ())
}
