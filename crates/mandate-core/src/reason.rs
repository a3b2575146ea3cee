//! Sentences for people who were denied, in the languages of the content: English, and German where there is a
//! `@reason_de` beside the `@reason`.

use std::fmt;
use std::sync::Arc;

/// A language in which reasons can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    German,
}

impl Language {
    /// The two letters of the language.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The language of two letters.
    pub fn of_code(code: &str) -> Option<Self> {
        [Self::English, Self::German].into_iter().find(|language| language.code() == code)
    }
}

/// A sentence in English, and perhaps in German. Clones share the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(Arc<Sentences>);

#[derive(Debug, PartialEq, Eq)]
struct Sentences {
    english: Box<str>,
    german: Option<Box<str>>,
}

impl Reason {
    /// The annotations that a reason is made of.
    pub const ANNOTATIONS: [&'static str; 2] = ["reason", "reason_de"];

    /// A reason; `None` if there is no English sentence.
    pub fn new(english: Option<&str>, german: Option<&str>) -> Option<Self> {
        let english = english.filter(|text| !text.is_empty())?.into();
        let german = german.filter(|text| !text.is_empty()).map(Into::into);
        Some(Self(Arc::new(Sentences { english, german })))
    }

    /// The sentence in English.
    pub fn as_str(&self) -> &str {
        &self.0.english
    }

    /// The sentence in a language; `None` if there is none.
    pub fn in_language(&self, language: Language) -> Option<&str> {
        match language {
            Language::English => Some(&self.0.english),
            Language::German => self.0.german.as_deref(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
