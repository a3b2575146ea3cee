//! The cookies of the pages: read from a request, written for an answer.

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};

/// A cookie of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in.
    Session,
    /// The sign-in that has begun at an identity provider.
    Attempt,
    /// The language that was chosen.
    Language,
}

impl Cookie {
    fn name(self, is_https: bool) -> &'static str {
        // A browser takes a name that begins with `__Host-` only from this host, for this host, and over HTTPS.
        match (self, is_https) {
            (Self::Session, true) => "__Host-mandate-session",
            (Self::Session, false) => "mandate-session",
            (Self::Attempt, true) => "__Host-mandate-sign-in",
            (Self::Attempt, false) => "mandate-sign-in",
            (Self::Language, true) => "__Host-mandate-language",
            (Self::Language, false) => "mandate-language",
        }
    }

    /// The value in a request. Of several values none counts: one of them is somebody else's.
    pub fn read(self, headers: &HeaderMap, is_https: bool) -> Option<&str> {
        let name = self.name(is_https);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// The header that sets it, for so many seconds; `None` for as long as the browser is open. Values are of letters,
    /// digits, `-` and `_`.
    pub fn set(self, value: &str, seconds: Option<u64>, is_https: bool) -> Option<HeaderValue> {
        let (name, secure) = (self.name(is_https), if is_https { "; Secure" } else { "" });
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
        HeaderValue::from_str(&cookie).ok()
    }

    /// The header that removes it.
    pub fn remove(self, is_https: bool) -> Option<HeaderValue> {
        self.set("", Some(0), is_https)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_value_counts() {
        let cases = [
            ("mandate-session=a", Some("a")),
            ("x=y; mandate-session=a; z", Some("a")),
            ("mandate-session=a; mandate-session=b", None),
            ("xmandate-session=a", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())]);
            assert_eq!(Cookie::Session.read(&headers, false), expected, "{line}");
            assert_eq!(Cookie::Session.read(&headers, true), None, "{line}");
        }
    }
}
