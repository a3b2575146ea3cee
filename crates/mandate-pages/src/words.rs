//! The texts of the pages, by language. What texts there are is in `texts`.

mod de;
mod en;

use crate::language::Language;
use crate::texts::Words;

/// The texts in a language.
pub fn words(language: Language) -> &'static Words {
    match language {
        Language::En => &en::WORDS,
        Language::De => &de::WORDS,
    }
}
