//! Bearer tokens from a file, whose lines have a name and a token or its digest. The file is reloaded by
//! `reloading_file`; signed tokens are in `jwt`.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::error::{FileError, FileErrors, TokenLineError};
use super::reloading_file::{FileBytes, FileContent, ReloadingFile};

/// Shorter tokens can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The names of the callers, by the digests of their tokens.
#[derive(Debug)]
pub struct Tokens(Vec<TokenEntry>);

#[derive(Debug)]
struct TokenEntry {
    name: Arc<str>,
    digest: [u8; 32],
}

impl FileContent for Tokens {
    const LABEL: &'static str = "list of tokens";
}

impl Tokens {
    /// Reads a file of tokens. Later changes are reloaded.
    ///
    /// # Errors
    /// The file cannot be used. The message names the file and its lines, but no token.
    pub fn open(path: PathBuf) -> Result<Arc<ReloadingFile<Self>>, FileErrors> {
        ReloadingFile::open([path], |[file]| Self::parse(file))
    }

    fn parse(file: &FileBytes<'_>) -> Result<Self, FileErrors> {
        let path = file.path.to_owned();
        let Ok(text) = std::str::from_utf8(file.bytes) else {
            return Err(FileError::NotUtf8 { path }.into());
        };
        let (mut entries, mut errors) = (Vec::<TokenEntry>::new(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            let parsed = match TokenEntry::parse(text) {
                Ok(Some(entry)) if entries.iter().any(|other| other.digest == entry.digest) => {
                    Err(TokenLineError::Repeated)
                }
                parsed => parsed,
            };
            match parsed {
                Ok(entry) => entries.extend(entry),
                Err(error) => errors.push(FileError::TokenLine { path: path.clone(), line, error }),
            }
        }
        if entries.is_empty() && errors.is_empty() {
            errors.push(FileError::NoToken { path });
        }
        if errors.is_empty() { Ok(Self(entries)) } else { Err(FileErrors(errors)) }
    }

    /// The name of the caller with this token. It takes the same time for every token, known or not.
    pub fn holder(&self, token: &str) -> Option<Arc<str>> {
        let presented = digest(token);
        let mut found = u64::MAX;
        for (index, entry) in (0..).zip(&self.0) {
            let same: Choice = presented.ct_eq(&entry.digest);
            found.conditional_assign(&index, same);
        }
        let entry = usize::try_from(found).ok().and_then(|found| self.0.get(found));
        entry.map(|entry| Arc::clone(&entry.name))
    }
}

impl TokenEntry {
    fn parse(line: &str) -> Result<Option<Self>, TokenLineError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
            return Err(TokenLineError::NotTwoWords);
        };
        let digest = match token.strip_prefix("sha256:") {
            Some(hex) => from_hex(hex).ok_or(TokenLineError::NotDigest)?,
            None if token.len() < MIN_TOKEN_LENGTH => {
                return Err(TokenLineError::TooShort { min_length: MIN_TOKEN_LENGTH });
            }
            None => digest(token),
        };
        Ok(Some(Self { name: name.into(), digest }))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Tokens, FileErrors> {
        Tokens::parse(&FileBytes { path: Path::new("tokens"), bytes: text.as_bytes() })
    }

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("secret"), "a token is shown: {error}");
    }

    #[test]
    fn holders() {
        let hex = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B"; // of `secret`
        let tokens = parse(&format!("# who\n\nalice secret-of-alice-01\n bob\tsha256:{hex} \n")).unwrap();
        let holder = |token| tokens.holder(token).map(|name| name.to_string());
        assert_eq!(holder("secret-of-alice-01").as_deref(), Some("alice"));
        assert_eq!(holder("secret").as_deref(), Some("bob"));
        for wrong in ["", "secret-of-alice-0", "secret-of-alice-011", hex, "alice"] {
            assert_eq!(holder(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn broken_lines_are_named_and_tokens_are_not_shown() {
        refused("", "has no token");
        refused("# nobody", "has no token");
        refused(
            "a secret-secret-secret\nsecret-without-a-name",
            "`tokens`, line 2: has to be a name and a token",
        );
        refused("a b secret-secret-secret", "line 1: has to be a name and a token");
        refused("a secret-short", "line 1: the token is shorter than 16 characters");
        refused("a sha256:secret", "line 1: after `sha256:`");
        refused(&format!("a sha256:{}", "+1".repeat(32)), "line 1: after `sha256:`");
        refused("a secret-secret-secret\nb secret-secret-secret", "line 2: another line has the same token");
        refused("a secret-short\nb secret-short", "line 2");
    }
}
