//! A folder of text files: which there are, and whether they changed since they were last read.
//!
//! What counts is content. Metadata only tells which files need not be read again, and is believed
//! only when it is older than the clock tick in which a file could have changed unseen.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// The files of a policy folder that count.
pub const POLICY_EXTENSIONS: &[&str] = &["cedar", "cedarschema", ROUTES_FILE_NAME];
/// Files of routes: `routes.toml`, or any name before it, as in `oem.routes.toml`.
pub const ROUTES_FILE_NAME: &str = "routes.toml";
/// The files of an entity folder that count.
pub const ENTITY_EXTENSIONS: &[&str] = &["json", "ndjson"];

/// How deep folders may nest; also what ends a loop of symbolic links.
const MAX_FOLDER_DEPTH: usize = 16;

/// A change within this time of an earlier one may leave the metadata as it was.
const TIMESTAMP_GRANULARITY: Duration = Duration::from_millis(50);

/// How often a folder that changes while it is read is read again before giving up for now.
const MAX_READ_ATTEMPTS: usize = 5;

/// What metadata says about a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file, read at `now`, last changed so long before that a change after the reading
    /// must show. If not, it has to be read again, though its metadata stay the same.
    pub fn is_reliable_at(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        changed.is_some_and(|(seconds, nanoseconds)| {
            now > Duration::new(seconds, nanoseconds) + TIMESTAMP_GRANULARITY
        })
    }
}

/// The files of a folder at one moment, by their name inside it.
pub type Listing = BTreeMap<String, Fingerprint>;

/// A folder, and which of its files count.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// The extensions of the files that count.
    extensions: &'static [&'static str],
    /// Folders directly inside that do not count.
    excluded: &'static [&'static str],
}

impl Folder {
    /// A folder of the files with these extensions, at any depth, but not in the folders `excluded`.
    /// Names that begin with a dot never count: they are editors' and Kubernetes' own.
    pub fn new(root: &Path, extensions: &'static [&'static str], excluded: &'static [&'static str]) -> Self {
        Self { root: root.to_owned(), extensions, excluded }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All files that count.
    ///
    /// # Errors
    /// The folder, or one in it, cannot be read.
    pub fn list(&self) -> Result<Listing, Diagnostics> {
        let mut listing = Listing::new();
        self.list_into(Path::new(""), 0, &mut listing)?;
        Ok(listing)
    }

    fn list_into(&self, inside: &Path, depth: usize, listing: &mut Listing) -> Result<(), Diagnostics> {
        // Joining nothing would add a slash, which the user did not write.
        let nothing = inside.as_os_str().is_empty();
        let folder = if nothing { self.root.clone() } else { self.root.join(inside) };
        if depth > MAX_FOLDER_DEPTH {
            let message = format!("`{}` is nested too deep, or a loop of symbolic links", folder.display());
            return Err(Diagnostic::error(message).into());
        }
        let unreadable = |error: &io::Error| {
            let diagnostic = Diagnostic::error(format!("cannot read `{}`: {error}", folder.display()));
            let is_root = depth == 0 && error.kind() == io::ErrorKind::NotFound;
            Diagnostics::from(if is_root {
                diagnostic.help("name the folder with `--policies` or `--entities`")
            } else {
                diagnostic
            })
        };
        for entry in fs::read_dir(&folder).map_err(|error| unreadable(&error))? {
            let name = entry.map_err(|error| unreadable(&error))?.file_name();
            if name.as_encoded_bytes().first() != Some(&b'.') {
                self.list_entry(&inside.join(&name), depth, listing)?;
            }
        }
        Ok(())
    }

    /// Lists a file, or what is in a folder. What cannot be looked at is an error: to leave it out
    /// would drop the policies in it in silence.
    fn list_entry(&self, path: &Path, depth: usize, listing: &mut Listing) -> Result<(), Diagnostics> {
        let full = self.root.join(path);
        let metadata = match fs::metadata(&full) {
            Ok(metadata) => metadata,
            // What is gone by now, such as an editor's temporary file, was never there.
            Err(_) if fs::symlink_metadata(&full).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => {
                return Ok(());
            }
            Err(error) => return Err(cannot_read(&full, &error)),
        };
        if metadata.is_dir() {
            let excluded = self.excluded.iter().any(|excluded| path == Path::new(excluded));
            return if excluded { Ok(()) } else { self.list_into(path, depth + 1, listing) };
        }
        if !self.is_included(path) {
            return Ok(());
        }
        if !metadata.is_file() {
            return Err(Diagnostic::error(format!("`{}` is no regular file", full.display())).into());
        }
        let name = path
            .to_str()
            .ok_or_else(|| Diagnostic::error(format!("the name `{}` is not UTF-8", full.display())))?;
        listing.insert(name.to_owned(), Fingerprint::of(&metadata));
        Ok(())
    }

    fn is_included(&self, path: &Path) -> bool {
        has_extension(path, self.extensions)
    }

    /// Lists the folder and reads the files that `wanted` picks from the listing, such that none of
    /// them changed meanwhile and all belong to one listing.
    ///
    /// # Errors
    /// A file cannot be read or is not UTF-8, or the folder does not come to rest.
    pub fn read(
        &self,
        wanted: impl Fn(&str, &Fingerprint) -> bool,
    ) -> Result<(Listing, Vec<Arc<SourceText>>), Diagnostics> {
        let mut listing = self.list()?;
        for _ in 0..MAX_READ_ATTEMPTS {
            let names = listing.iter().filter(|(name, fingerprint)| wanted(name, fingerprint));
            let texts = names.map(|(name, _)| self.parse_entity_file(name)).collect::<Vec<_>>();
            let after = self.list()?;
            if after == listing {
                return collect_results(texts).map(|texts| (listing, texts));
            }
            listing = after;
        }
        let message = format!("`{}` keeps changing while it is read", self.root.display());
        Err(Diagnostic::error(message).help("it is read again as soon as it comes to rest").into())
    }

    fn parse_entity_file(&self, name: &str) -> Result<Arc<SourceText>, Diagnostics> {
        let path = self.root.join(name);
        let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Diagnostic::error(format!("`{}` is not UTF-8: the byte at offset {at} is none", path.display()))
        })?;
        Ok(Arc::new(SourceText { path: path.to_string_lossy().into_owned(), name: name.to_owned(), text }))
    }
}

/// Whether a path ends in one of these extensions. A file may also have one of several words for its name.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return false };
    extensions.iter().any(|extension| match name.strip_suffix(extension) {
        Some("") => extension.contains('.'),
        Some(before) => before.ends_with('.'),
        None => false,
    })
}

/// Refuses a text of which nothing is left. A file that had content and has none is most likely being
/// written in place at this moment, and what it held must not be gone meanwhile.
pub fn reject_emptied(text: &SourceText) -> Result<(), Diagnostics> {
    if !text.text.trim().is_empty() {
        return Ok(());
    }
    let message = format!("`{}` had content and is empty now", text.path);
    Err(Diagnostic::error(message).help("if nothing is to be left of it, remove the file").into())
}

fn collect_results<T>(results: Vec<Result<T, Diagnostics>>) -> Result<Vec<T>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut all = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(it) => all.push(it),
            Err(found) => diagnostics.extend(found),
        }
    }
    diagnostics.into_result().map(|_| all)
}

fn cannot_read(path: &Path, error: &io::Error) -> Diagnostics {
    Diagnostic::error(format!("cannot read `{}`: {error}", path.display())).into()
}
