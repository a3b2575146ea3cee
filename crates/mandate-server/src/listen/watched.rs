//! Small files that are followed while they serve: certificates, keys, tokens. Content decides; what
//! cannot be used leaves the last good in use.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use sha2::{Digest, Sha256};

/// The longest file that is read.
const LONGEST: u64 = 1024 * 1024;

/// What files hold, once read.
pub trait Content: Send + Sync + 'static {
    /// What it is, in a word or two.
    const WHAT: &'static str;

    /// When it ends to be valid, in seconds since the epoch.
    fn expires(&self) -> Option<i64> {
        None
    }
}

/// A file with its bytes.
pub struct File<'a> {
    pub path: &'a Path,
    pub bytes: &'a [u8],
}

type Parse<T> = Box<dyn Fn(&[File<'_>]) -> Result<T, String> + Send + Sync>;

/// Files that are one content together, and the last good of it.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    current: ArcSwap<T>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The newest content that was judged.
    judged: [u8; 32],
    /// Content that could not be used when it was seen first: it may be half written.
    suspect: Option<[u8; 32]>,
    loaded: SystemTime,
    refused: Option<String>,
}

/// How files that are followed stand.
#[derive(Debug, Clone)]
pub struct FileState {
    pub what: &'static str,
    pub paths: Vec<PathBuf>,
    /// When the content in use was read.
    pub loaded: SystemTime,
    pub expires: Option<i64>,
    /// Why the newest content is not in use.
    pub refused: Option<String>,
}

impl FileState {
    /// Says so where what is in use is not valid any more.
    pub fn warn_if_expired(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        if self.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) > expires) {
            let file = self.paths.first().map(|path| path.display().to_string());
            tracing::warn!(file, "the {} has expired: clients will refuse it", self.what);
        }
    }
}

/// What follows files, whatever they hold.
pub trait Follow: Send + Sync {
    /// Looks whether the content has changed. Blocks.
    fn look(&self);

    fn state(&self) -> FileState;
}

impl<T: Content> Watched<T> {
    /// Reads files and begins to follow them.
    ///
    /// # Errors
    /// They cannot be used, in sentences that name them.
    pub fn open(
        paths: Vec<PathBuf>,
        parse: impl Fn(&[File<'_>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        let texts = read(&paths);
        let judged = digest(texts.as_ref());
        let parse: Parse<T> = Box::new(parse);
        let current = parsed(&paths, texts, &parse)?;
        let progress = Progress { judged, suspect: None, loaded: SystemTime::now(), refused: None };
        let (current, progress) = (ArcSwap::from_pointee(current), Mutex::new(progress));
        Ok(Arc::new(Self { paths, parse, current, progress }))
    }

    /// The content in use.
    pub fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.paths.iter().map(|path| format!("`{}`", path.display())).collect();
        names.join(", ")
    }
}

impl<T: Content> Follow for Watched<T> {
    fn look(&self) {
        let texts = read(&self.paths);
        let seen = digest(texts.as_ref());
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if seen == progress.judged {
            progress.suspect = None;
            return;
        }
        match parsed(&self.paths, texts, &self.parse) {
            Ok(content) => {
                self.current.store(Arc::new(content));
                *progress =
                    Progress { judged: seen, suspect: None, loaded: SystemTime::now(), refused: None };
                tracing::info!(files = self.names(), "{} read again", T::WHAT);
                drop(progress);
                self.state().warn_if_expired();
            }
            Err(error) if progress.suspect == Some(seen) => {
                tracing::error!("{error}; the last good {} stays in use", T::WHAT);
                (progress.judged, progress.refused) = (seen, Some(error));
            }
            // A certificate and its key are two files, and one of them is written first.
            Err(_) => progress.suspect = Some(seen),
        }
    }

    fn state(&self) -> FileState {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        FileState {
            what: T::WHAT,
            paths: self.paths.clone(),
            loaded: progress.loaded,
            expires: self.current.load().expires(),
            refused: progress.refused.clone(),
        }
    }
}

fn parsed<T>(paths: &[PathBuf], texts: Result<Vec<Vec<u8>>, String>, parse: &Parse<T>) -> Result<T, String> {
    let texts = texts?;
    let files = paths.iter().zip(&texts).map(|(path, bytes)| File { path, bytes });
    parse(&files.collect::<Vec<_>>())
}

/// All files, or every reason why not.
fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match read_one(path) {
            Ok(text) => texts.push(text),
            Err(error) => errors.push(format!("cannot read `{}`: {error}", path.display())),
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors.join("; ")) }
}

fn read_one(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(std::io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    Ok(text)
}

fn digest(texts: Result<&Vec<Vec<u8>>, &String>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    match texts {
        Ok(texts) => {
            for text in texts {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        Err(error) => hasher.update(error),
    }
    hasher.finalize().into()
}
