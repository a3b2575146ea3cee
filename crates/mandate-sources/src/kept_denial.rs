//! The reason of an operator's `deny-all`, kept on disk for as long as it counts: a restart without the policy folder
//! lifts no denial. A thread of its own writes, so that a disk that hangs does not delay the denial itself.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::deny_all::{DENY_ALL_FILE, DenyAllFile};
use crate::state_folder::{StateFolder, private_file};

/// How soon what could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The file that is written and then put in the place of the other.
const NEXT: &str = "deny-all.next";

/// The denial that is kept in a folder, if there is one.
pub struct KeptDenial {
    state: StateFolder,
    reason: Option<String>,
}

impl KeptDenial {
    /// Reads what is kept. In doubt, everything is denied.
    pub fn read(state: &StateFolder) -> Self {
        let reason = match DenyAllFile::find(state.path()) {
            DenyAllFile::Absent => None,
            DenyAllFile::Present(reason) => Some(reason),
            DenyAllFile::Unreadable(error) => {
                Some(format!("`{DENY_ALL_FILE}` was kept and cannot be read: {error}"))
            }
        };
        Self { state: state.clone(), reason }
    }

    /// The reason of the denial that counted when the process before this one ended.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Starts a thread that keeps the newest reason that it gets, and nothing after `None`. It ends when the sender is gone.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(self) -> io::Result<Sender<Option<String>>> {
        let (sender, reasons) = channel();
        let keep = move || keep(self.state.path(), &reasons);
        std::thread::Builder::new().name("keep-denial".into()).spawn(keep)?;
        Ok(sender)
    }
}

fn keep(folder: &Path, reasons: &Receiver<Option<String>>) {
    let mut unwritten = None;
    loop {
        match reasons.recv_timeout(RETRY_INTERVAL) {
            Ok(reason) => unwritten = Some(reason),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(newest) = reasons.try_iter().last().or(unwritten.take()) else { continue };
        if let Err(error) = write(folder, newest.as_deref()) {
            let file = folder.join(DENY_ALL_FILE);
            tracing::error!(%error, "cannot write or remove `{}`, by which a restart knows whether everything is denied: this is tried again", file.display());
            unwritten = Some(newest);
        }
    }
}

/// Keeps a reason, or nothing. Afterwards it is on the disk.
fn write(folder: &Path, reason: Option<&str>) -> io::Result<()> {
    let (file, next) = (folder.join(DENY_ALL_FILE), folder.join(NEXT));
    match reason {
        Some(reason) => {
            let mut written = private_file().create(true).truncate(true).open(&next)?;
            written.write_all(reason.as_bytes())?;
            written.sync_all()?;
            fs::rename(next, file)?;
        }
        None => match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        },
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    fn until(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_newest_reason_is_kept_until_there_is_none() {
        let around = tempfile::tempdir().unwrap();
        let state = StateFolder::open(around.path()).unwrap();
        let kept = || KeptDenial::read(&state).reason;
        assert_eq!(kept(), None);
        let keeper = KeptDenial::read(&state).start().unwrap();
        for reason in ["incident 42", "incident 43", ""] {
            keeper.send(Some(reason.to_owned())).unwrap();
            until("it is kept", || kept().as_deref() == Some(reason));
        }
        keeper.send(None).unwrap();
        until("nothing is kept", || kept().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let around = tempfile::tempdir().unwrap();
        let state = StateFolder::open(around.path()).unwrap();
        // What is written to a pipe never gets to a disk.
        let pipe = state.path().join(NEXT);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let keeper = KeptDenial::read(&state).start().unwrap();
        keeper.send(Some("incident 42".to_owned())).unwrap();
        assert_eq!(fs::read_to_string(&pipe).unwrap(), "incident 42");
        let kept = || KeptDenial::read(&state).reason;
        assert_eq!(kept(), None);
        fs::remove_file(&pipe).unwrap();
        until("it is kept later", || kept().as_deref() == Some("incident 42"));
    }

    #[test]
    fn what_cannot_be_read_denies() {
        let around = tempfile::tempdir().unwrap();
        let state = StateFolder::open(around.path()).unwrap();
        fs::create_dir(state.path().join(DENY_ALL_FILE)).unwrap();
        let reason = KeptDenial::read(&state).reason.unwrap();
        assert!(reason.starts_with("`deny-all` was kept and cannot be read"), "{reason}");
    }
}
