//! The folder in which a copy of files is kept, as it is on disk.
//!
//! `current` leads to a folder of the files, which is replaced as a whole; the time of the file `confirmed` is
//! when its content was last found in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::state_folder::{StateFolder, private_file, private_folder};
use mandate_core::diagnostics::{Diagnostic, SourceText};

/// Leads to the newest version.
pub(crate) const CURRENT: &str = "current";

/// Its time of modification is when the newest version was last found in the source.
pub(crate) const CONFIRMED: &str = "confirmed";

/// Texts by the paths of their files inside the folder.
pub(crate) type Texts = BTreeMap<String, Arc<SourceText>>;

/// The folder of a copy.
pub(crate) struct SavedFiles {
    root: PathBuf,
    /// Keeps other processes away.
    _state: StateFolder,
}

impl SavedFiles {
    /// Opens the folder, which is made if there is none.
    ///
    /// # Errors
    /// The folder cannot be used, or somebody else can change it.
    pub fn open(state: &StateFolder, name: &str) -> Result<Self, Diagnostic> {
        Ok(Self { root: state.subfolder(name)?, _state: state.clone() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the files.
    pub fn current(&self) -> PathBuf {
        self.root.join(CURRENT)
    }

    /// When the files were last found in the source; `None` if there are none.
    pub fn confirmed(&self) -> Option<SystemTime> {
        let confirmed = || fs::metadata(self.root.join(CONFIRMED))?.modified();
        if self.current().is_dir() { confirmed().ok() } else { None }
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
        let (folder, mut names) = (self.current(), BTreeSet::new());
        // Without a copy there are no files.
        let _ = list(&folder, &folder, &mut names);
        names
    }

    /// Writes when the files were last found in the source.
    pub fn write_confirmed(&self, at: SystemTime) -> io::Result<()> {
        private_file().create(true).open(self.root.join(CONFIRMED))?.set_modified(at)
    }

    /// Writes these files beside the current version, and puts them in its place. Those without a text are
    /// taken from the current version.
    pub fn replace(&self, names: &BTreeSet<String>, texts: &Texts) -> io::Result<()> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let version = format!("version-{}", now.as_nanos());
        let folder = self.root.join(&version);
        if let Err(error) =
            self.write_files(&folder, names, texts).and_then(|()| self.replace_current(&version))
        {
            let _ = fs::remove_dir_all(&folder);
            return Err(error);
        }
        if let Err(error) = self.remove_versions_except(&version) {
            let folder = self.root.display();
            tracing::warn!(%error, "cannot remove an earlier copy in `{folder}`: this is tried again with the next change");
        }
        Ok(())
    }

    fn write_files(&self, folder: &Path, names: &BTreeSet<String>, texts: &Texts) -> io::Result<()> {
        private_folder().create(folder)?;
        let current = self.current();
        let mut folders = BTreeSet::from([folder.to_owned()]);
        for name in names {
            let (to, before) = (folder.join(name), current.join(name));
            if let Some(parent) = to.parent() {
                private_folder().recursive(true).create(parent)?;
                folders
                    .extend(parent.ancestors().take_while(|it| it.starts_with(folder)).map(Path::to_owned));
            }
            match texts.get(name).filter(|text| !holds(&before, &text.text)) {
                Some(text) => write(&to, &mut text.text.as_bytes())?,
                // Not every file system has links.
                None => fs::hard_link(&before, &to).or_else(|_| write(&to, &mut File::open(&before)?))?,
            }
        }
        folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    fn replace_current(&self, version: &str) -> io::Result<()> {
        let link = self.root.join("next");
        let _ = fs::remove_file(&link);
        symlink(version, &link)?;
        fs::rename(&link, self.current())?;
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

fn write(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let mut file = private_file().create_new(true).open(path)?;
    io::copy(content, &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn unchanged_files_are_copied_where_links_are_not_possible() {
        let folder = tempfile::tempdir().unwrap();
        let files = SavedFiles::open(&StateFolder::open(folder.path()).unwrap(), "copy").unwrap();
        // A link cannot lead from one file system into another.
        symlink("/proc/sys/kernel", files.current()).unwrap();
        files.replace(&BTreeSet::from(["ostype".to_owned()]), &Texts::new()).unwrap();
        let copied = files.current().join("ostype");
        assert!(copied.canonicalize().unwrap().starts_with(folder.path()));
        assert_eq!(
            fs::read_to_string(&copied).unwrap(),
            fs::read_to_string("/proc/sys/kernel/ostype").unwrap()
        );
        assert_eq!(fs::metadata(&copied).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
