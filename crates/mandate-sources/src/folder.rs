//! A folder of text files: lists them, and reads those that may have changed.
//!
//! Content decides what changed. Metadata only tells which files need not be read again at once, and only if
//! the last change is older than one tick of the file system's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::{Digest, PartDigest};
use mandate_core::suggestion::closest;

/// The extensions of the files that are read from a policy folder.
pub const POLICY_EXTENSIONS: &[&str] =
    &["cedar", "cedarschema", ROUTES_FILE_NAME, CHANGES_FILE_NAME, "yaml", "yml"];
/// The extensions of suites, which are read among the guardrails only.
pub const SUITE_EXTENSIONS: &[&str] = &["yaml", "yml"];
/// Route files: `routes.toml`, or `NAME.routes.toml`.
pub const ROUTES_FILE_NAME: &str = "routes.toml";
/// Files of changes: `changes.toml`, or `NAME.changes.toml`.
pub const CHANGES_FILE_NAME: &str = "changes.toml";
/// The extensions of the files that are read from an entity folder.
pub const ENTITY_EXTENSIONS: &[&str] = &["json", "ndjson"];

/// How deep folders may nest. This also ends loops of symbolic links.
const MAX_FOLDER_DEPTH: usize = 16;

/// Two changes within this time may leave the same metadata.
const TIMESTAMP_GRANULARITY: Duration = Duration::from_millis(50);

/// How many bytes of a file are in memory while its digest is made.
const DIGEST_BUFFER_BYTES: usize = 64 * 1024;

/// How often a folder is read again if it changes while it is read.
const MAX_READ_ATTEMPTS: usize = 5;

/// The metadata that changes when a file's content changes.
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

    /// The length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file, read at `now`, had last changed long enough before that any later change must change
    /// the metadata. If not, the file has to be read again even if its metadata stays the same.
    pub fn is_reliable_at(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        changed.is_some_and(|(seconds, nanoseconds)| {
            now > Duration::new(seconds, nanoseconds) + TIMESTAMP_GRANULARITY
        })
    }
}

/// The files of a folder at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The included files, by their path inside the folder.
    pub files: BTreeMap<String, Fingerprint>,
    /// The paths of files that are not included, but whose names look as if they were meant to be.
    pub lookalikes: BTreeSet<PathBuf>,
}

/// A folder, and which of its files are included.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// The extensions of the included files.
    extensions: &'static [&'static str],
    /// Folders directly inside that are excluded.
    excluded: &'static [&'static str],
}

impl Folder {
    /// A folder of the files with these extensions, at any depth, but not in the folders `excluded`. Names
    /// that begin with a dot are never included: editors and Kubernetes use them for their own files.
    pub fn new(root: &Path, extensions: &'static [&'static str], excluded: &'static [&'static str]) -> Self {
        Self { root: root.to_owned(), extensions, excluded }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lists all included files.
    ///
    /// # Errors
    /// The folder, or a folder in it, cannot be read.
    pub fn list(&self) -> Result<Listing, Diagnostics> {
        let mut listing = Listing::default();
        self.list_into(Path::new(""), 0, &mut listing)?;
        Ok(listing)
    }

    fn list_into(&self, inside: &Path, depth: usize, listing: &mut Listing) -> Result<(), Diagnostics> {
        // Joining an empty path would add a slash that the user did not write.
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
            let path = inside.join(&name);
            if name.as_encoded_bytes().first() != Some(&b'.') {
                self.list_entry(&path, depth, listing)?;
            } else if is_bare_extension(&path, self.extensions) {
                listing.lookalikes.insert(path);
            }
        }
        Ok(())
    }

    /// Lists a file, or the content of a folder. One that cannot be read is an error: to leave it out would
    /// silently drop its policies.
    fn list_entry(&self, path: &Path, depth: usize, listing: &mut Listing) -> Result<(), Diagnostics> {
        let full = self.root.join(path);
        let metadata = match fs::metadata(&full) {
            Ok(metadata) => metadata,
            // A file that is gone by now, such as an editor's temporary file, is not an error.
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
            if looks_included(path, self.extensions) {
                listing.lookalikes.insert(path.to_owned());
            }
            return Ok(());
        }
        if !metadata.is_file() {
            return Err(Diagnostic::error(format!("`{}` is not a regular file", full.display())).into());
        }
        let name = path
            .to_str()
            .ok_or_else(|| Diagnostic::error(format!("the name `{}` is not UTF-8", full.display())))?;
        listing.files.insert(name.to_owned(), Fingerprint::of(&metadata));
        Ok(())
    }

    fn is_included(&self, path: &Path) -> bool {
        has_extension(path, self.extensions)
    }

    /// Lists the folder and reads the files that `wanted` selects. The listing before and after reading is
    /// the same, so files of two states of the folder are never mixed.
    ///
    /// # Errors
    /// A file cannot be read or is not UTF-8, or the folder keeps changing.
    pub fn read(
        &self,
        wanted: impl Fn(&str, &Fingerprint) -> bool,
    ) -> Result<(Listing, Vec<Arc<SourceText>>), Diagnostics> {
        self.check_and_read(|_| Ok(()), wanted)
    }

    /// Reads all files, unless `check` refuses their listing.
    ///
    /// # Errors
    /// Those of `check` and of [`Folder::read`].
    pub fn read_all(
        &self,
        check: impl Fn(&Listing) -> Result<(), Diagnostics>,
    ) -> Result<(Listing, Vec<Arc<SourceText>>), Diagnostics> {
        self.check_and_read(check, |_, _| true)
    }

    fn check_and_read(
        &self,
        check: impl Fn(&Listing) -> Result<(), Diagnostics>,
        wanted: impl Fn(&str, &Fingerprint) -> bool,
    ) -> Result<(Listing, Vec<Arc<SourceText>>), Diagnostics> {
        let mut listing = self.list()?;
        for _ in 0..MAX_READ_ATTEMPTS {
            check(&listing)?;
            let names = listing.files.iter().filter(|(name, fingerprint)| wanted(name, fingerprint));
            let texts = names.map(|(name, _)| self.read_file(name)).collect::<Vec<_>>();
            let after = self.list()?;
            if after == listing {
                return collect_results(texts).map(|texts| (listing, texts));
            }
            listing = after;
        }
        let message = format!("`{}` keeps changing while it is read", self.root.display());
        Err(Diagnostic::error(message).help("it is read again as soon as it stops changing").into())
    }

    /// The digest of a file's bytes. They are never in memory all at once.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(&self, name: &str) -> io::Result<Digest> {
        let mut file = fs::File::open(self.root.join(name))?;
        let mut digest = PartDigest::new(file.metadata()?.len());
        let mut piece = vec![0; DIGEST_BUFFER_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(digest.finish()),
                read => digest.add(piece.get(..read).unwrap_or_default()),
            }
        }
    }

    fn read_file(&self, name: &str) -> Result<Arc<SourceText>, Diagnostics> {
        let path = self.root.join(name);
        let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Diagnostic::error(format!("`{}` is not valid UTF-8 at byte offset {at}", path.display()))
        })?;
        Ok(Arc::new(SourceText { path: path.to_string_lossy().into_owned(), name: name.to_owned(), text }))
    }
}

/// Whether a path ends in one of these extensions. An extension with a dot in it, such as `routes.toml`, may
/// also be the whole file name.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return false };
    extensions.iter().any(|extension| match name.strip_suffix(extension) {
        Some("") => extension.contains('.'),
        Some(before) => before.ends_with('.'),
        None => false,
    })
}

/// Whether a path inside a folder is of a file that is never included: its name, or that of a folder on the way,
/// begins with a dot.
pub fn is_hidden(path: &Path) -> bool {
    path.iter().any(|part| part.as_encoded_bytes().first() == Some(&b'.'))
}

/// Whether a path without one of these extensions looks as if it was meant to have one: `a.CEDAR`,
/// `a.cedar.json`, `a.cedar~` and `a.ceder` do.
fn looks_included(path: &Path, extensions: &[&str]) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let last = name.rsplit_once('.').map_or("", |(_, last)| last);
    extensions.iter().any(|extension| {
        let dotted = format!(".{extension}");
        name.contains(&dotted) || (extension.contains('.') && name.contains(extension))
    }) || closest(last, extensions).is_some()
}

/// Whether a hidden file's name is only an extension, such as `.cedar` or `.cedar~`.
fn is_bare_extension(path: &Path, extensions: &[&str]) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let bare = name.trim_end_matches('~').trim_start_matches('.');
    extensions.contains(&bare)
}

/// Refuses a text that has become empty. Such a file is most likely being written in place at this moment,
/// and its content must not disappear meanwhile.
pub fn reject_emptied(text: &SourceText) -> Result<(), Diagnostics> {
    if !text.text.trim().is_empty() {
        return Ok(());
    }
    let message = format!("`{}` had content and is empty now", text.path);
    Err(Diagnostic::error(message).help("to remove its content, remove the file").into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_extended_names_look_like_policy_files() {
        let looks = |name: &str| looks_included(Path::new(name), POLICY_EXTENSIONS);
        for name in ["a.CEDAR", "a.cedar.json", "a.cedar~", "b/a.Cedar.bak", "a.ceder", "a.cedarschma"] {
            assert!(looks(name), "{name}");
        }
        assert!(looks("Routes.toml") && looks("routes.toml.off") && looks("Changes.toml"));
        for name in ["README.md", "cedar", "a.card", "Cargo.toml", "notes.txt", "cedar-notes.txt"] {
            assert!(!looks(name), "{name}");
        }
        let bare = |name: &str| is_bare_extension(Path::new(name), POLICY_EXTENSIONS);
        assert!(bare(".cedar") && bare(".cedar~") && bare(".CEDAR"));
        assert!(!bare(".a.cedar.swp") && !bare(".#a.cedar") && !bare(".gitignore"));
    }
}
