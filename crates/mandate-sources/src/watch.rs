//! File events for folders, where the file system sends them. An event only tells when to read again; what
//! changed is found by reading.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::file_system::without_events;
use super::folder::{ENTITY_EXTENSIONS, POLICY_EXTENSIONS, has_extension};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};

/// How long a file that is being written in place delays reading its folder.
const MAX_OPEN_WRITE_AGE: Duration = Duration::from_secs(1);

/// Watches folders until it is dropped.
pub struct FolderWatcher {
    watcher: RecommendedWatcher,
    roots: Vec<WatchedRoot>,
    open_writes: OpenWrites,
}

/// The files that were written to and are not closed yet, and since when. A half-written file may well parse,
/// and the part that is not written yet must not disappear meanwhile.
#[derive(Clone, Default)]
struct OpenWrites(Arc<Mutex<HashMap<PathBuf, Instant>>>);

impl OpenWrites {
    fn record(&self, event: &Event) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for path in event.paths.iter().filter(|path| is_content_file(path)) {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    open.entry(path.clone()).or_insert_with(Instant::now);
                }
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    open.remove(path);
                }
                _ => {}
            }
        }
    }

    fn has_open_files(&self) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, since| since.elapsed() < MAX_OPEN_WRITE_AGE);
        !open.is_empty()
    }
}

struct WatchedRoot {
    path: PathBuf,
    /// Device and inode of the folder when it was watched. A mount or a rename can put another folder there.
    watched: Option<PathIdentity>,
    /// Why events do not tell of every change, if so.
    why_not: Option<String>,
}

type PathIdentity = (u64, u64);

impl FolderWatcher {
    /// Watches the folders and everything in them, and calls `hint` when something may have changed. Folders
    /// that cannot be watched now are tried again by [`FolderWatcher::rewatch`].
    ///
    /// # Errors
    /// The system provides no file events.
    pub fn new(roots: &[PathBuf], hint: impl Fn() + Send + 'static) -> Result<Self, notify::Error> {
        let open_writes = OpenWrites::default();
        let noted = open_writes.clone();
        let on_event = move |event: Result<Event, notify::Error>| {
            if let Ok(event) = &event {
                noted.record(event);
            }
            // An error, such as a queue overflow, may hide a change.
            if event.map_or(true, |event| event.need_rescan() || changes_content(event.kind)) {
                hint();
            }
        };
        let watcher = RecommendedWatcher::new(on_event, Config::default())?;
        let root = |path: &PathBuf| WatchedRoot { path: path.clone(), watched: None, why_not: None };
        let roots = roots.iter().map(root).collect();
        let mut watch = Self { watcher, roots, open_writes };
        watch.rewatch();
        Ok(watch)
    }

    /// Watches the folders that the paths lead to now, where these are other folders than before. Returns
    /// whether there is such a path.
    pub fn rewatch(&mut self) -> bool {
        let mut refreshed = false;
        for root in &mut self.roots {
            let now = path_identity(&root.path);
            if now.is_some() && now == root.watched {
                continue;
            }
            if root.watched.is_some() {
                // Fails if the old folder is gone: then its watch is gone, too.
                let _ = self.watcher.unwatch(&root.path);
            }
            let result = self.watcher.watch(&root.path, RecursiveMode::Recursive);
            let watched = now.filter(|_| result.is_ok());
            root.why_not = match result {
                Ok(()) => sends_no_events(&root.path),
                Err(error) => Some(cannot_be_watched(&root.path, error)),
            };
            refreshed |= watched != root.watched;
            root.watched = watched;
        }
        refreshed
    }

    /// Whether a file is being written, as far as events tell. A write counts for `MAX_OPEN_WRITE_AGE` at most.
    pub fn has_unfinished_writes(&self) -> bool {
        self.open_writes.has_open_files()
    }

    /// Why events do not tell of every change; `None` if they do.
    pub fn why_not_watched(&self) -> Option<&str> {
        self.roots.iter().find_map(|root| root.why_not.as_deref())
    }
}

/// Whether a file belongs to the content. Hidden files, such as those of editors, never do.
fn is_content_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
    !hidden && (has_extension(path, POLICY_EXTENSIONS) || has_extension(path, ENTITY_EXTENSIONS))
}

fn cannot_be_watched(folder: &Path, error: notify::Error) -> String {
    let why = error.set_paths(Vec::new()).to_string();
    format!("`{}` cannot be watched: {}", folder.display(), why.trim_end_matches('.'))
}

fn sends_no_events(folder: &Path) -> Option<String> {
    let (path, file_system) = without_events(folder)?;
    let path = path.display();
    Some(format!("`{path}` is on {file_system}, which sends no events for changes made elsewhere"))
}

fn path_identity(path: &Path) -> Option<PathIdentity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether an event can mean a change. Reading a file is an event, too, and must not cause the next poll.
fn changes_content(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
