//! The languages of the pages, and which of them a reader gets.

use axum::http::header::{ACCEPT_LANGUAGE, HeaderMap};

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    En,
    De,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::De];

    /// Two letters, as in the texts of the content.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// As the reasons of decisions know it.
    pub fn of_reasons(self) -> mandate_core::reason::Language {
        match self {
            Self::En => mandate_core::reason::Language::English,
            Self::De => mandate_core::reason::Language::German,
        }
    }

    /// Its name in itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::De => "Deutsch",
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(code))
    }

    /// The language that the browser's user prefers; English if it is none of ours.
    pub fn preferred(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranges = lines.flat_map(|line| line.split(','));
        let mut best: Option<(u16, Self)> = None;
        for (weight, language) in ranges.filter_map(range) {
            // Of equal weights the first counts.
            if weight > 0 && best.is_none_or(|(best, _)| weight > best) {
                best = Some((weight, language));
            }
        }
        best.map_or(Self::En, |(_, language)| language)
    }
}

/// A part of `Accept-Language`, such as `de-AT;q=0.8`: its weight in thousandths, and its language.
fn range(text: &str) -> Option<(u16, Language)> {
    let (tag, parameters) = text.split_once(';').unwrap_or((text, ""));
    let language = Language::from_code(tag.trim().split('-').next()?)?;
    let weight =
        parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1000")]
    let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
    Some((thousandths, language))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_preferred_language_is_that_of_the_greatest_weight() {
        let cases = [
            ("", Language::En),
            ("de", Language::De),
            ("de-AT, en;q=0.8", Language::De),
            ("fr, en;q=0.5, de;q=0.7", Language::De),
            ("en, de", Language::En),
            ("DE-ch;q=0.9,en;q=0.1", Language::De),
            ("fr", Language::En),
            ("de;q=0", Language::En),
            ("de;q=x, en;q=0.1", Language::En),
        ];
        for (header, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(header))]);
            assert_eq!(Language::preferred(&headers), expected, "{header}");
        }
    }
}
