//! The paths between the pages. Nobody is led anywhere else.

use crate::text::encode;

/// The path of the sign-in that leads to a page afterwards.
pub fn path_to(next: &str) -> String {
    format!("/sign-in?next={}", encode(next))
}

/// A path of ours, or else the first page: nobody is sent anywhere else.
pub fn local_path(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= 1_000
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn only_local_paths_are_followed() {
        for local in ["/", "/links/abc", "/consents?done=x&proof=y"] {
            assert_eq!(local_path(local), local);
        }
        for other in [
            "",
            "links",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\nb",
            "/\t/x",
            "/ä",
            "\\\\evil.example",
            "javascript:alert(1)",
        ] {
            assert_eq!(local_path(other), "/", "{other}");
        }
    }
}
