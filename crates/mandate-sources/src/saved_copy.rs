//! A copy on disk of the files of a folder that are in use. A restart beside a broken folder loads it. A thread
//! of its own writes, so that a slow disk delays nobody; what came into use meanwhile is written as one change.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::saved_files::{SavedFiles, Texts};
use crate::state_folder::StateFolder;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// How soon a copy that could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The copies of policies and entities, in one folder.
#[derive(Clone)]
pub struct SavedCopies {
    pub policies: SavedCopy,
    pub entities: SavedCopy,
}

impl SavedCopies {
    /// As [`SavedCopy::open`], for both.
    ///
    /// # Errors
    /// As there.
    pub fn open(state: &StateFolder) -> Result<Self, Diagnostics> {
        match (SavedCopy::open(state, "policies"), SavedCopy::open(state, "entities")) {
            (Ok(policies), Ok(entities)) => Ok(Self { policies, entities }),
            (policies, entities) => {
                let mut diagnostics = Diagnostics::default();
                policies.err().into_iter().chain(entities.err()).for_each(|error| diagnostics.push(error));
                Err(diagnostics)
            }
        }
    }

    /// As [`SavedCopy::start`], for both.
    ///
    /// # Errors
    /// As there.
    pub fn start(&self) -> io::Result<()> {
        self.policies.start()?;
        self.entities.start()
    }
}

/// The copy of one source. Clones are the same copy.
#[derive(Clone)]
pub struct SavedCopy {
    files: Arc<SavedFiles>,
    /// When the version that was found at the start was last found in the source.
    last_confirmed: Option<SystemTime>,
    changes: Arc<Mutex<Changes>>,
    /// Wakes the thread that writes, once it is started. The thread ends when all clones are gone.
    waker: Arc<OnceLock<SyncSender<()>>>,
}

/// What came into use and is not written yet.
#[derive(Default)]
struct Changes {
    /// The files in use, if they changed.
    names: Option<BTreeSet<String>>,
    /// At least those that changed.
    texts: Texts,
    /// When the files in use were last found in the source, if that is newer than what is written.
    confirmed: Option<SystemTime>,
}

impl Changes {
    /// Adds what changed afterwards.
    fn merge(&mut self, later: Self) {
        self.confirmed = later.confirmed.or(self.confirmed);
        if let Some(names) = later.names {
            self.texts.extend(later.texts);
            self.texts.retain(|name, _| names.contains(name));
            self.names = Some(names);
        }
    }
}

impl SavedCopy {
    /// Opens the copy of this name, whose folder is made if there is none.
    ///
    /// # Errors
    /// The folder cannot be used, or somebody else can change it.
    pub fn open(state: &StateFolder, name: &str) -> Result<Self, Diagnostic> {
        let files = Arc::new(SavedFiles::open(state, name)?);
        let last_confirmed = files.confirmed();
        Ok(Self { files, last_confirmed, changes: Arc::default(), waker: Arc::default() })
    }

    /// The folder of the files.
    pub fn folder(&self) -> PathBuf {
        self.files.current()
    }

    /// When the copy that was found at the start was last found in the source; `None` if there was no copy.
    pub fn last_confirmed(&self) -> Option<SystemTime> {
        self.last_confirmed
    }

    /// The paths inside the folder of the files that are not empty.
    pub fn nonempty_files(&self) -> BTreeSet<String> {
        self.files.nonempty_files()
    }

    /// Begins to write: what is in use by now, and every change from now on.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(&self) -> io::Result<()> {
        let (waker, woken) = sync_channel(1);
        let (changes, files) = (Arc::clone(&self.changes), Arc::clone(&self.files));
        let writer = Writer { files, unwritten: Changes::default() };
        std::thread::Builder::new().name("save".into()).spawn(move || writer.run(&changes, &woken))?;
        // If there is a thread already, nobody can wake the new one, so it ends at once.
        let _ = self.waker.set(waker);
        self.wake();
        Ok(())
    }

    /// Forgets what came into use before the start: the copy is in use instead.
    pub fn forget_changes(&self) {
        *lock(&self.changes) = Changes::default();
    }

    /// These files are in use now, and were found in the source at that time. `texts` are at least those that
    /// changed.
    pub fn save(&self, names: BTreeSet<String>, texts: Vec<Arc<SourceText>>, found: SystemTime) {
        let texts = texts.into_iter().map(|text| (text.name.clone(), text)).collect();
        self.merge(Changes { names: Some(names), texts, confirmed: Some(found) });
    }

    /// The files in use were found in the source at that time.
    pub fn confirm(&self, found: SystemTime) {
        self.merge(Changes { confirmed: Some(found), ..Changes::default() });
    }

    fn merge(&self, later: Changes) {
        lock(&self.changes).merge(later);
        self.wake();
    }

    fn wake(&self) {
        // A full channel wakes the thread already.
        let _ = self.waker.get().map(|waker| waker.try_send(()));
    }
}

fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the copy.
struct Writer {
    files: Arc<SavedFiles>,
    /// What could not be written.
    unwritten: Changes,
}

impl Writer {
    fn run(mut self, changes: &Mutex<Changes>, woken: &Receiver<()>) {
        loop {
            match woken.recv_timeout(RETRY_INTERVAL) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let changes = std::mem::take(&mut *lock(changes));
            if let Err(error) = self.write(changes) {
                let folder = self.files.root().display();
                tracing::error!(%error, "cannot keep the copy of the content in use in `{folder}`: this is tried again");
            }
        }
    }

    /// Writes changes, and what could not be written before. What is not in the copy is not confirmed.
    fn write(&mut self, changes: Changes) -> io::Result<()> {
        self.unwritten.merge(changes);
        if let Some(names) = &self.unwritten.names {
            self.files.replace(names, &self.unwritten.texts)?;
            (self.unwritten.names, self.unwritten.texts) = Default::default();
        }
        if let Some(at) = self.unwritten.confirmed {
            self.files.write_confirmed(at)?;
            self.unwritten.confirmed = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use crate::saved_files::{CONFIRMED, CURRENT};

    fn open(folder: &Path) -> Result<SavedCopy, Diagnostic> {
        SavedCopy::open(&StateFolder::open(folder)?, "copy")
    }

    fn text(name: &str, text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { path: name.to_owned(), name: name.to_owned(), text: text.to_owned() })
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn files_are_replaced_as_a_whole_and_unchanged_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (copy, root) = (open(&state).unwrap(), state.join("mandate/copy"));
        assert_eq!(copy.last_confirmed(), None);
        copy.save(names(&["a", "b/c"]), vec![text("a", "1"), text("b/c", "2")], at(0));
        copy.start().unwrap();
        let read = |name: &str| fs::read_to_string(root.join(CURRENT).join(name)).unwrap_or_default();
        until("both are written", || (read("a"), read("b/c")) == ("1".to_owned(), "2".to_owned()));
        copy.save(names(&["b/c", "d"]), vec![text("d", "3")], at(5));
        until("the new version is written", || (read("b/c"), read("d")) == ("2".to_owned(), "3".to_owned()));
        assert_eq!(read("a"), "");
        let versions =
            || fs::read_dir(&root).unwrap().filter(|it| it.as_ref().unwrap().path().is_dir()).count();
        until("the old version is gone", || versions() == 2);
        let confirmed = || fs::metadata(root.join(CONFIRMED)).and_then(|file| file.modified()).ok();
        until("it is confirmed", || confirmed() == Some(at(5)));

        assert!(open(&state).is_err_and(|error| error.message.contains("another process")));
        drop(copy);
        let reopened = || open(&state).ok().and_then(|copy| copy.last_confirmed());
        until("it is found again", || reopened() == Some(at(5)));
    }

    #[test]
    fn a_copy_that_cannot_be_written_is_not_confirmed_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let copy = open(folder.path()).unwrap();
        let root = folder.path().join("mandate/copy");
        copy.start().unwrap();
        // Nothing can be put in the place of a folder.
        fs::create_dir_all(root.join(CURRENT).join("in-the-way")).unwrap();
        copy.save(names(&["a"]), vec![text("a", "1")], SystemTime::now());
        until("it was tried", || root.join("next").is_symlink());
        assert!(!root.join(CONFIRMED).exists());
        fs::remove_dir_all(root.join(CURRENT)).unwrap();
        until("it is written later", || root.join(CURRENT).join("a").exists());
    }

    #[test]
    fn a_time_that_cannot_be_written_leaves_the_files_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let files = Arc::new(SavedFiles::open(&state, "copy").unwrap());
        let (at, confirmed) = (at(0), files.root().join(CONFIRMED));
        files.replace(&names(&["a"]), &Texts::from([("a".to_owned(), text("a", "1"))])).unwrap();
        // As after a restart: this thread knows no file.
        let mut writer = Writer { files, unwritten: Changes::default() };
        // A folder cannot be written like a file.
        fs::create_dir(&confirmed).unwrap();
        assert!(writer.write(Changes { confirmed: Some(at), ..Changes::default() }).is_err());
        assert!(writer.write(Changes::default()).is_err());
        fs::remove_dir(&confirmed).unwrap();
        writer.write(Changes::default()).unwrap();
        assert_eq!(writer.files.confirmed(), Some(at));
        assert_eq!(fs::read_to_string(writer.files.current().join("a")).unwrap(), "1");
    }

    #[test]
    fn changes_while_the_disk_hangs_are_written_as_one_and_take_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let copy = open(folder.path()).unwrap();
        let confirmed = folder.path().join("mandate/copy").join(CONFIRMED);
        // Opening a pipe hangs as long as nobody reads.
        assert!(Command::new("mkfifo").arg(&confirmed).status().unwrap().success());
        copy.save(names(&["a", "b"]), vec![text("a", "1"), text("b", "1")], at(0));
        copy.start().unwrap();
        let read = |name: &str| fs::read_to_string(copy.folder().join(name)).unwrap_or_default();
        until("the first change is written", || read("b") == "1");
        let texts: Vec<_> = ["2", "3"].into_iter().map(|new| text("b", new)).collect();
        let earlier: Vec<_> = texts.iter().map(Arc::downgrade).collect();
        for text in texts {
            copy.save(names(&["a", "b"]), vec![text], at(1));
        }
        assert!(earlier[0].upgrade().is_none() && earlier[1].upgrade().is_some());
        copy.save(names(&["a", "c"]), vec![text("c", "4")], at(2));
        assert!(earlier[1].upgrade().is_none());
        let _reader = File::open(&confirmed).unwrap();
        until("the last change is written", || read("c") == "4");
        assert_eq!((read("a"), read("b")), ("1".to_owned(), String::new()));
    }
}
