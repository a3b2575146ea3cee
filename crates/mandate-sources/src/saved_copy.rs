//! A copy on disk of the files of a folder that are in use. A restart beside a broken folder loads it.
//!
//! `current` leads to a folder of the files, which is replaced as a whole; the time of the file `confirmed` is
//! when its content was last found in the source. A thread of its own writes, so that a slow disk delays nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// Leads to the newest version.
const CURRENT: &str = "current";

/// Its time of modification is when the newest version was last found in the source.
const CONFIRMED: &str = "confirmed";

/// How soon a copy that could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How often the time of the last confirmation is written.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);

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
    pub fn open(folder: &Path) -> Result<Self, Diagnostics> {
        let open = |name| {
            let root = folder.join(name);
            SavedCopy::open(&root).map_err(|error| {
                let message = format!("cannot keep copies in `{}`: {error}", root.display());
                Diagnostic::error(message).help("name a folder that only this process uses, and can write to")
            })
        };
        Ok(Self { policies: open("policies")?, entities: open("entities")? })
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
    root: PathBuf,
    /// When the version that was found at the start was last found in the source.
    found: Option<SystemTime>,
    changes: Arc<Mutex<Changes>>,
}

/// What is in use, until it is handed to the thread that writes.
struct Changes {
    /// The newest change before the thread was started.
    first: Option<(Message, SystemTime)>,
    /// Only one process may use the copy.
    lock: Option<File>,
    writer: Option<Sender<Message>>,
    last_confirmed: Option<Instant>,
}

enum Message {
    /// These files are in use now. `texts` are at least those that changed.
    Save { names: BTreeSet<String>, texts: Vec<Arc<SourceText>> },
    /// The files in use were found in the source at this time.
    Confirm(SystemTime),
}

impl SavedCopy {
    /// Opens the copy in a folder, which is made if there is none. Only this process may use it.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub fn open(root: &Path) -> io::Result<Self> {
        private_folder().recursive(true).create(root)?;
        let lock = private_file().create(true).open(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses it"),
            TryLockError::Error(error) => error,
        })?;
        let confirmed = || fs::metadata(root.join(CONFIRMED))?.modified();
        let found = if root.join(CURRENT).is_dir() { confirmed().ok() } else { None };
        let changes = Changes { first: None, lock: Some(lock), writer: None, last_confirmed: None };
        Ok(Self { root: root.to_owned(), found, changes: Arc::new(Mutex::new(changes)) })
    }

    /// The folder of the files.
    pub fn folder(&self) -> PathBuf {
        self.root.join(CURRENT)
    }

    /// When the copy that was found at the start was last up to date; `None` if there was none.
    pub fn found(&self) -> Option<SystemTime> {
        self.found
    }

    /// The paths inside the folder of the files that are not empty.
    pub fn nonempty_files(&self) -> BTreeSet<String> {
        fn list(folder: &Path, root: &Path, names: &mut BTreeSet<String>) -> io::Result<()> {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    list(&path, root, names)?;
                } else if fs::metadata(&path)?.len() > 0 {
                    names.extend(path.strip_prefix(root).ok().and_then(Path::to_str).map(ToOwned::to_owned));
                }
            }
            Ok(())
        }
        let (folder, mut names) = (self.folder(), BTreeSet::new());
        // Without a copy there are no files.
        let _ = list(&folder, &folder, &mut names);
        names
    }

    /// Begins to write: what is in use by now, and every change from now on.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(&self) -> io::Result<()> {
        let mut changes = self.changes();
        let (writer, messages) = channel();
        let (names, texts) = (BTreeSet::new(), BTreeMap::new());
        let state = Writer { root: self.root.clone(), names, texts, _lock: changes.lock.take() };
        std::thread::Builder::new().name("save".into()).spawn(move || state.run(&messages))?;
        changes.writer = Some(writer);
        if let Some((save, found)) = changes.first.take() {
            changes.send(save);
            changes.confirm(found);
        }
        Ok(())
    }

    /// Forgets what came into use before the start: the copy is in use instead.
    pub fn keep(&self) {
        self.changes().first = None;
    }

    /// These files are in use now, and were found in the source at that time. `texts` are at least those that
    /// changed.
    pub fn save(&self, names: BTreeSet<String>, texts: Vec<Arc<SourceText>>, found: SystemTime) {
        let mut changes = self.changes();
        let save = Message::Save { names, texts };
        if changes.writer.is_none() {
            changes.first = Some((save, found));
            return;
        }
        changes.send(save);
        changes.last_confirmed = None;
        changes.confirm(found);
    }

    /// The files in use were found in the source at that time.
    pub fn confirm(&self, found: SystemTime) {
        self.changes().confirm(found);
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn send(&self, message: Message) {
        // The thread runs as long as there is a sender.
        let _ = self.writer.as_ref().map(|writer| writer.send(message));
    }

    fn confirm(&mut self, found: SystemTime) {
        if self.last_confirmed.is_none_or(|last| last.elapsed() >= CONFIRM_INTERVAL) {
            self.last_confirmed = Some(Instant::now());
            self.send(Message::Confirm(found));
        }
    }
}

/// Writes the copy.
struct Writer {
    root: PathBuf,
    /// The files in use.
    names: BTreeSet<String>,
    /// Those that are not written yet.
    texts: BTreeMap<String, Arc<SourceText>>,
    /// Held as long as the thread runs.
    _lock: Option<File>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut saved = true;
        loop {
            let message = match messages.recv_timeout(RETRY_INTERVAL) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) if saved => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let result = match message {
                // What is in use is not in the copy.
                Some(Message::Confirm(_)) if !saved => continue,
                Some(Message::Confirm(at)) => self.write_confirmed(at),
                Some(Message::Save { names, texts }) => {
                    self.names = names;
                    self.texts.extend(texts.into_iter().map(|text| (text.name.clone(), text)));
                    self.write_version()
                }
                None => self.write_version(),
            };
            saved = result.is_ok();
            if let Err(error) = result {
                let folder = self.root.display();
                tracing::error!(%error, "cannot keep the copy of the content in use in `{folder}`: this is tried again");
            }
        }
    }

    fn write_confirmed(&self, at: SystemTime) -> io::Result<()> {
        private_file().create(true).open(self.root.join(CONFIRMED))?.set_modified(at)
    }

    /// Writes the files in use beside the current version, and puts them in its place.
    fn write_version(&mut self) -> io::Result<()> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let version = format!("version-{}", now.as_nanos());
        let folder = self.root.join(&version);
        if let Err(error) = self.write_files(&folder).and_then(|()| self.replace_current(&version)) {
            let _ = fs::remove_dir_all(&folder);
            return Err(error);
        }
        self.texts.clear();
        self.remove_versions_except(&version)
    }

    fn write_files(&self, folder: &Path) -> io::Result<()> {
        private_folder().create(folder)?;
        let current = self.root.join(CURRENT);
        let mut folders = BTreeSet::from([folder.to_owned()]);
        for name in &self.names {
            let (to, before) = (folder.join(name), current.join(name));
            if let Some(parent) = to.parent() {
                private_folder().recursive(true).create(parent)?;
                folders
                    .extend(parent.ancestors().take_while(|it| it.starts_with(folder)).map(Path::to_owned));
            }
            match self.texts.get(name).filter(|text| !holds(&before, &text.text)) {
                Some(text) => write(&to, &text.text)?,
                None => fs::hard_link(&before, &to)?,
            }
        }
        folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    fn replace_current(&self, version: &str) -> io::Result<()> {
        let link = self.root.join("next");
        let _ = fs::remove_file(&link);
        symlink(version, &link)?;
        fs::rename(&link, self.root.join(CURRENT))?;
        File::open(&self.root)?.sync_all()
    }

    fn remove_versions_except(&self, current: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("version-") && name != current) {
                fs::remove_dir_all(self.root.join(name))?;
            }
        }
        Ok(())
    }
}

fn holds(path: &Path, text: &str) -> bool {
    let same_length = fs::metadata(path).is_ok_and(|file| usize::try_from(file.len()) == Ok(text.len()));
    same_length && fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private_file().create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Entities may be confidential.
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { path: name.to_owned(), name: name.to_owned(), text: text.to_owned() })
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
        let root = folder.path().join("state/policies");
        let copy = SavedCopy::open(&root).unwrap();
        assert_eq!(copy.found(), None);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        copy.save(names(&["a", "b/c"]), vec![text("a", "1"), text("b/c", "2")], at);
        copy.start().unwrap();
        let read = |name: &str| fs::read_to_string(root.join(CURRENT).join(name)).unwrap_or_default();
        until("both are written", || (read("a"), read("b/c")) == ("1".to_owned(), "2".to_owned()));
        copy.save(names(&["b/c", "d"]), vec![text("d", "3")], at + Duration::from_secs(5));
        until("the new version is written", || (read("b/c"), read("d")) == ("2".to_owned(), "3".to_owned()));
        assert_eq!(read("a"), "");
        let versions =
            || fs::read_dir(&root).unwrap().filter(|it| it.as_ref().unwrap().path().is_dir()).count();
        until("the old version is gone", || versions() == 2);
        let confirmed = || fs::metadata(root.join(CONFIRMED)).and_then(|file| file.modified()).ok();
        until("it is confirmed", || confirmed() == Some(at + Duration::from_secs(5)));

        assert!(SavedCopy::open(&root).is_err_and(|error| error.to_string().contains("another process")));
        drop(copy);
        let reopened = || SavedCopy::open(&root).ok().and_then(|copy| copy.found());
        until("it is found again", || reopened() == Some(at + Duration::from_secs(5)));
    }

    #[test]
    fn a_copy_that_cannot_be_written_is_not_confirmed_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let copy = SavedCopy::open(&root).unwrap();
        copy.start().unwrap();
        // Nothing can be put in the place of a folder.
        fs::create_dir_all(root.join(CURRENT).join("in-the-way")).unwrap();
        copy.save(names(&["a"]), vec![text("a", "1")], SystemTime::now());
        until("it was tried", || root.join("next").is_symlink());
        assert!(!root.join(CONFIRMED).exists());
        fs::remove_dir_all(root.join(CURRENT)).unwrap();
        until("it is written later", || root.join(CURRENT).join("a").exists());
    }
}
