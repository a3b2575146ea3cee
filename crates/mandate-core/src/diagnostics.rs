//! Diagnostics of policies, schemas and entities: what is wrong, where, and what to do. A diagnostic is data;
//! how it is shown (terminal, JSON, annotations) is the caller's choice.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that diagnostics point into.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The path, as the user would write it.
    pub path: String,
    /// The name inside its folder: the same on every machine, so it is part of digests and ids.
    pub name: String,
    pub text: String,
}

impl SourceText {
    /// A text whose path is its name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let name = name.into();
        Arc::new(Self { path: name.clone(), name, text: text.into() })
    }
}

/// A range of bytes in a source text.
#[derive(Debug, Clone)]
pub struct SourceSpan {
    pub source: Arc<SourceText>,
    /// The first byte's offset.
    pub offset: usize,
    /// Length in bytes; may be 0.
    pub length: usize,
}

impl SourceSpan {
    /// A span, limited to the text and to character boundaries.
    pub fn new(source: &Arc<SourceText>, offset: usize, length: usize) -> Self {
        let text = &source.text;
        let offset = text.floor_char_boundary(offset.min(text.len()));
        let end = text.ceil_char_boundary(offset.saturating_add(length).min(text.len()));
        Self { source: Arc::clone(source), offset, length: end - offset }
    }

    /// The range of its bytes.
    pub fn byte_range(&self) -> Range<usize> {
        self.offset..self.offset + self.length
    }

    /// Line and column, both counted from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.bytes().filter(|b| *b == b'\n').count() + 1, column)
    }
}

/// Whether a diagnostic stops the content from being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it, if that is not obvious.
    pub help: Option<String>,
    pub span: Option<SourceSpan>,
}

impl Diagnostic {
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), help: None, span: None }
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn at(mut self, span: impl Into<Option<SourceSpan>>) -> Self {
        self.span = span.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = &self.span {
            let (line, column) = span.line_column();
            write!(f, "{}:{line}:{column}: ", span.source.path)?;
        }
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// The diagnostics of a change, errors first. As an `Err`, it contains at least one error.
///
/// Keeps the first [`Diagnostics::MAX_KEPT`] and counts the rest, so that a million broken records cannot
/// fill the memory. No warning takes the place of an error.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    found: usize,
    errors: usize,
}

impl Diagnostics {
    /// How many diagnostics are kept.
    pub const MAX_KEPT: usize = 200;

    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = match diagnostic.severity {
            // Errors are kept before all warnings, so this is the end of the kept errors.
            Severity::Error => self.errors,
            Severity::Warning => self.kept.len(),
        };
        self.found += 1;
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if place < Self::MAX_KEPT {
            self.kept.insert(place, diagnostic);
            self.kept.truncate(Self::MAX_KEPT);
        }
    }

    /// Adds a diagnostic, unless the same one is there for the same place.
    pub fn push_once(&mut self, diagnostic: Diagnostic) {
        let place = |diagnostic: &Diagnostic| diagnostic.span.as_ref().map(|span| span.offset);
        let is_same =
            |other: &Diagnostic| other.message == diagnostic.message && place(other) == place(&diagnostic);
        if !self.iter().any(is_same) {
            self.push(diagnostic);
        }
    }

    /// Pushes an error that is built only if it is kept: there may be as many errors as entities.
    pub fn push_error(&mut self, build: impl FnOnce() -> Diagnostic) {
        if self.errors < Self::MAX_KEPT {
            self.push(build());
        } else {
            self.found += 1;
            self.errors += 1;
        }
    }

    pub fn extend(&mut self, other: Self) {
        let (found, errors) = (self.found + other.found, self.errors + other.errors);
        for diagnostic in other.kept {
            self.push(diagnostic);
        }
        (self.found, self.errors) = (found, errors);
    }

    /// Ok, unless one of the diagnostics is an error.
    ///
    /// # Errors
    /// All diagnostics, warnings included, when at least one is an error.
    pub fn into_result(self) -> Result<Self, Self> {
        if self.has_errors() { Err(self) } else { Ok(self) }
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.kept.iter()
    }

    /// How many diagnostics were found, kept or not.
    pub fn len(&self) -> usize {
        self.found
    }

    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// How many of the diagnostics are errors.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// How many diagnostics were found but not kept.
    pub fn omitted(&self) -> usize {
        self.found - self.kept.len()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut diagnostics = Self::default();
        diagnostics.push(diagnostic);
        diagnostics
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.kept.iter().enumerate() {
            write!(f, "{}{diagnostic}", if n == 0 { "" } else { "\n" })?;
        }
        match self.omitted() {
            0 => Ok(()),
            omitted => write!(f, "\n… and {omitted} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Diagnostics};

    fn of(warnings: usize, errors: usize) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        (0..warnings).for_each(|n| diagnostics.push(Diagnostic::warning(format!("w{n}"))));
        (0..errors).for_each(|n| diagnostics.push(Diagnostic::error(format!("e{n}"))));
        diagnostics
    }

    fn kept(diagnostics: &Diagnostics) -> Vec<&str> {
        diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect()
    }

    #[test]
    fn errors_come_first_in_their_order() {
        let mut diagnostics = of(2, 2);
        assert_eq!(kept(&diagnostics), ["e0", "e1", "w0", "w1"]);
        diagnostics.extend(of(1, 1));
        assert_eq!(kept(&diagnostics), ["e0", "e1", "e0", "w0", "w1", "w0"]);
        assert_eq!((diagnostics.len(), diagnostics.error_count(), diagnostics.omitted()), (6, 3, 0));
    }

    #[test]
    fn no_warning_takes_the_place_of_an_error() {
        let max = Diagnostics::MAX_KEPT;
        let mut diagnostics = of(max + 10, 1);
        assert_eq!(kept(&diagnostics).first(), Some(&"e0"));
        assert_eq!((diagnostics.len(), diagnostics.error_count(), diagnostics.omitted()), (max + 11, 1, 11));
        diagnostics.extend(of(5, max + 5));
        diagnostics.push_error(|| Diagnostic::error("one more"));
        let counts = (diagnostics.len(), diagnostics.error_count(), diagnostics.omitted());
        assert_eq!(counts, (2 * max + 22, max + 7, max + 22));
        assert!(kept(&diagnostics).iter().all(|message| message.starts_with('e')));
    }
}
