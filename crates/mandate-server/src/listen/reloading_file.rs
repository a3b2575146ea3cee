//! Small files that are reloaded when their content changes: certificates, keys and tokens. If the new
//! content cannot be used, the last good content stays in use. Policies and entities are not here: see
//! `mandate-sources`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use sha2::{Digest, Sha256};

use super::error::{FileError, FileErrors};

/// The maximum length of a file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The parsed content of one or several files.
pub trait FileContent: Send + Sync + 'static {
    /// Its name in messages.
    const LABEL: &'static str;

    /// Its expiry, in seconds since the epoch.
    fn expires(&self) -> Option<i64> {
        None
    }
}

/// A file that was read.
pub struct FileBytes<'a> {
    pub path: &'a Path,
    pub bytes: &'a [u8],
}

type ParseFn<T> = Box<dyn Fn(&[FileBytes<'_>]) -> Result<T, FileErrors> + Send + Sync>;

/// Files that are parsed together, and the last good content.
pub struct ReloadingFile<T> {
    paths: Vec<PathBuf>,
    parse: ParseFn<T>,
    current: ArcSwap<T>,
    reload_state: Mutex<ReloadState>,
}

struct ReloadState {
    /// The digest of the newest content that was accepted or refused.
    last_digest: [u8; 32],
    /// The digest of content that could not be parsed once. It is refused only if the next poll finds the
    /// same, because it may have been half written.
    suspect_digest: Option<[u8; 32]>,
    loaded: SystemTime,
    refused: Option<String>,
}

/// The state of files, for operators.
#[derive(Debug, Clone)]
pub struct FileState {
    pub label: &'static str,
    pub paths: Vec<PathBuf>,
    /// When the content in use was read.
    pub loaded: SystemTime,
    pub expires: Option<i64>,
    /// The reason why the newest content is not in use.
    pub refused: Option<String>,
}

impl FileState {
    /// Logs a warning if the content in use has expired.
    pub fn warn_if_expired(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        if self.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) > expires) {
            let file = self.paths.first().map(|path| path.display().to_string());
            tracing::warn!(file, "the {} has expired: clients will refuse it", self.label);
        }
    }
}

/// Files that are reloaded, whatever their content.
pub trait Reloadable: Send + Sync {
    /// Reloads the files if their content has changed. Blocks.
    fn poll(&self);

    fn state(&self) -> FileState;
}

impl<T: FileContent> ReloadingFile<T> {
    /// Reads files for the first time.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn open<const N: usize>(
        paths: [PathBuf; N],
        parse: impl Fn(&[FileBytes<'_>; N]) -> Result<T, FileErrors> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, FileErrors> {
        let paths = Vec::from(paths);
        let texts = read_files(&paths);
        let last_digest = digest(texts.as_ref());
        // There are always as many files as paths.
        let parse: ParseFn<T> =
            Box::new(move |files| files.first_chunk().map_or_else(|| Err(FileErrors(Vec::new())), &parse));
        let current = parse_files(&paths, texts, &parse)?;
        let reload_state =
            ReloadState { last_digest, suspect_digest: None, loaded: SystemTime::now(), refused: None };
        let (current, reload_state) = (ArcSwap::from_pointee(current), Mutex::new(reload_state));
        Ok(Arc::new(Self { paths, parse, current, reload_state }))
    }

    /// The content in use.
    pub fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    fn quoted_paths(&self) -> String {
        let names: Vec<String> = self.paths.iter().map(|path| format!("`{}`", path.display())).collect();
        names.join(", ")
    }
}

impl<T: FileContent> Reloadable for ReloadingFile<T> {
    fn poll(&self) {
        let texts = read_files(&self.paths);
        let seen = digest(texts.as_ref());
        let mut reload_state = self.reload_state.lock().unwrap_or_else(PoisonError::into_inner);
        if seen == reload_state.last_digest {
            reload_state.suspect_digest = None;
            return;
        }
        match parse_files(&self.paths, texts, &self.parse) {
            Ok(content) => {
                self.current.store(Arc::new(content));
                *reload_state = ReloadState {
                    last_digest: seen,
                    suspect_digest: None,
                    loaded: SystemTime::now(),
                    refused: None,
                };
                tracing::info!(files = self.quoted_paths(), "the {} was reloaded", T::LABEL);
                drop(reload_state);
                self.state().warn_if_expired();
            }
            Err(error) if reload_state.suspect_digest == Some(seen) => {
                tracing::error!("{error}; the last good {} stays in use", T::LABEL);
                (reload_state.last_digest, reload_state.refused) = (seen, Some(error.to_string()));
            }
            // A certificate and its key are two files, and one of them is written before the other.
            Err(_) => reload_state.suspect_digest = Some(seen),
        }
    }

    fn state(&self) -> FileState {
        let reload_state = self.reload_state.lock().unwrap_or_else(PoisonError::into_inner);
        FileState {
            label: T::LABEL,
            paths: self.paths.clone(),
            loaded: reload_state.loaded,
            expires: self.current.load().expires(),
            refused: reload_state.refused.clone(),
        }
    }
}

fn parse_files<T>(
    paths: &[PathBuf],
    texts: Result<Vec<Vec<u8>>, FileErrors>,
    parse: &ParseFn<T>,
) -> Result<T, FileErrors> {
    let texts = texts?;
    let files = paths.iter().zip(&texts).map(|(path, bytes)| FileBytes { path, bytes });
    parse(&files.collect::<Vec<_>>())
}

/// Reads all files, or collects all errors.
fn read_files(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileErrors> {
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match read_file(path) {
            Ok(text) => texts.push(text),
            Err(error) => errors.push(FileError::Unreadable { path: path.clone(), error }),
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(FileErrors(errors)) }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

fn digest(texts: Result<&Vec<Vec<u8>>, &FileErrors>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    match texts {
        Ok(texts) => {
            for text in texts {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        Err(errors) => hasher.update(errors.to_string()),
    }
    hasher.finalize().into()
}
