//! The language that a caller prefers, among those of the texts of content.

use hyper::header::{ACCEPT_LANGUAGE, HeaderMap};

/// The languages of texts; the first is for everybody else.
const LANGUAGES: [&str; 2] = ["en", "de"];

/// The preferred language by `Accept-Language`: the one with the highest weight, the first of equal ones.
pub fn preferred(headers: &HeaderMap) -> &'static str {
    let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best = (0.0, LANGUAGES[0]);
    for range in asked.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
        let weight: f32 = weight.parse().unwrap_or(0.0);
        let primary = tag.split('-').next().unwrap_or_default();
        let known = LANGUAGES.iter().find(|language| language.eq_ignore_ascii_case(primary));
        if let Some(language) = known.filter(|_| weight > best.0) {
            best = (weight, language);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue};

    use super::preferred;

    #[track_caller]
    fn check(asked: &'static str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(asked));
        assert_eq!(preferred(&headers), expected, "{asked}");
    }

    #[test]
    fn the_highest_weight_counts() {
        assert_eq!(preferred(&HeaderMap::new()), "en");
        check("de", "de");
        check("de-AT, en;q=0.8", "de");
        check("en;q=0.5, de;q=0.9", "de");
        check("fr, de;q=0.2, en;q=0.1", "de");
        check("fr, *;q=0.1", "en");
        check("de;q=0, en;q=0.1", "en");
        check("de;q=x", "en");
    }
}
