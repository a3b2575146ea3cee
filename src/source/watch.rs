//! Hints that folders may have changed: file events, where the file system has them.
//! A hint says nothing about what changed; it only says when to look.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches folders until it is dropped.
pub struct Watch {
    watcher: RecommendedWatcher,
    roots: Vec<Root>,
}

struct Root {
    path: PathBuf,
    /// What the path led to when it was watched. A mount or a rename can put something else there.
    watched: Option<PathIdentity>,
}

type PathIdentity = (u64, u64);

impl Watch {
    /// Watches the folders and everything in them, and calls `hint` when something may have changed.
    /// Folders that cannot be watched now are tried again by [`Watch::refresh`].
    ///
    /// # Errors
    /// The system gives no watcher at all.
    pub fn new(roots: &[PathBuf], hint: impl Fn() + Send + 'static) -> Result<Self, notify::Error> {
        let on_event = move |event: Result<Event, notify::Error>| {
            // An error, such as an overflow, may hide a change.
            if event.map_or(true, |event| event.need_rescan() || changes_content(event.kind)) {
                hint();
            }
        };
        let watcher = RecommendedWatcher::new(on_event, Config::default())?;
        let roots = roots.iter().map(|path| Root { path: path.clone(), watched: None }).collect();
        let mut watch = Self { watcher, roots };
        watch.refresh();
        Ok(watch)
    }

    /// Watches again what a path leads to, where that is no longer what it led to before.
    /// Returns the paths that cannot be watched.
    pub fn refresh(&mut self) -> Vec<PathBuf> {
        let mut failed = Vec::new();
        for root in &mut self.roots {
            let now = identity(&root.path);
            if now.is_some() && now == root.watched {
                continue;
            }
            if root.watched.is_some() {
                // Fails where the old folder is gone, and its watch with it.
                let _ = self.watcher.unwatch(&root.path);
            }
            let watched = self.watcher.watch(&root.path, RecursiveMode::Recursive).is_ok();
            root.watched = now.filter(|_| watched);
            if root.watched.is_none() {
                failed.push(root.path.clone());
            }
        }
        failed
    }
}

fn identity(path: &Path) -> Option<PathIdentity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Reading a file is an event too, and looking must not cause the next look.
fn changes_content(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
