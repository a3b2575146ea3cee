//! The path of a request: split on `/` first, then each segment decoded once. A path that two programs might
//! resolve differently is rejected, not resolved. The templates that it is compared with are in
//! `path_template`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a path is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    #[error("the path has an empty segment (`//` or a trailing `/`)")]
    EmptySegment,
    #[error("the path has a dot segment (`.` or `..`)")]
    DotSegment,
    #[error("a segment of the path contains an encoded slash or a backslash")]
    SlashInSegment,
    #[error("the path has an invalid percent-encoding: `%` has to be followed by two hexadecimal digits")]
    InvalidPercentEncoding,
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    #[error("the path is not UTF-8")]
    NotUtf8,
    #[error("the path has a character that is not allowed in a path")]
    InvalidCharacter,
    #[error(
        "a segment of the path has a character that some programs read as a dot, a slash or `%`, or one that changes the direction of text"
    )]
    MisleadingCharacter,
}

/// The decoded path segments of a request target; the query is ignored.
///
/// # Errors
/// The path is invalid, or programs might resolve it differently.
pub fn decode_segments(target: &str) -> Result<Vec<Cow<'_, str>>, PathError> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let inside = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    if inside.is_empty() {
        return Ok(Vec::new());
    }
    inside.split('/').map(decode_segment).collect()
}

fn decode_segment(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if raw.is_empty() {
        return Err(PathError::EmptySegment);
    }
    if raw.contains(['#', '?']) || !raw.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(PathError::InvalidCharacter);
    }
    if !has_valid_percent_encoding(raw.as_bytes()) {
        return Err(PathError::InvalidPercentEncoding);
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| PathError::NotUtf8)?;
    if text.contains(['/', '\\']) {
        return Err(PathError::SlashInSegment);
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::InvalidCharacter);
    }
    // None of them is ASCII, as most segments are.
    if !text.is_ascii() && text.chars().any(is_misleading) {
        return Err(PathError::MisleadingCharacter);
    }
    if text.as_bytes().windows(3).any(|part| part.starts_with(b"%") && has_valid_percent_encoding(part)) {
        return Err(PathError::DoubleEncoding);
    }
    // Some servers remove `;` parameters or spaces from a segment, and then resolve the rest.
    if matches!(text.split(';').next().map(str::trim), Some("." | "..")) {
        return Err(PathError::DotSegment);
    }
    Ok(text)
}

/// Whether some programs make a dot, a slash, a backslash or `%` of a character, or whether it is invisible
/// and changes the direction of the text around it.
fn is_misleading(c: char) -> bool {
    matches!(c, '\u{ff0e}' | '\u{fe52}' | '\u{2024}'..='\u{2026}' | '\u{ff61}' | '\u{3002}')
        || matches!(c, '\u{ff0f}' | '\u{2044}' | '\u{2215}' | '\u{29f8}')
        || matches!(c, '\u{ff3c}' | '\u{fe68}' | '\u{2216}' | '\u{29f5}' | '\u{29f9}')
        || matches!(c, '\u{ff05}' | '\u{fe6a}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether each `%` is followed by two hexadecimal digits.
fn has_valid_percent_encoding(raw: &[u8]) -> bool {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut marks = raw.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    marks.all(|(at, _)| hex(raw.get(at + 1)) && hex(raw.get(at + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn split(target: &str, expected: Result<&[&str], PathError>) {
        let found = decode_segments(target);
        let found = found.as_ref().map(|found| found.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|error| **error), expected, "{target}");
    }

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        split("/", Ok(&[]));
        split("/v1/customers?x=/../y", Ok(&["v1", "customers"]));
        split("/a%20b/%C3%A9", Ok(&["a b", "é"]));
        split("/%D7%A9%D7%9C%D7%95%D7%9D/%EF%BC%A1", Ok(&["שלום", "Ａ"]));
        split("/50%25", Ok(&["50%"]));
        split("/...", Ok(&["..."]));
        split("/a;b", Ok(&["a;b"]));
    }

    #[test]
    fn what_could_be_resolved_otherwise_is_refused() {
        split("", Err(PathError::NotAbsolute));
        split("http://host/v1", Err(PathError::NotAbsolute));
        split("//v1", Err(PathError::EmptySegment));
        split("/v1/", Err(PathError::EmptySegment));
        split("/a/../b", Err(PathError::DotSegment));
        split("/a/%2e%2E/b", Err(PathError::DotSegment));
        split("/a/..;x=1/b", Err(PathError::DotSegment));
        split("/./a", Err(PathError::DotSegment));
        split("/a%2Fb", Err(PathError::SlashInSegment));
        split("/a%5cb", Err(PathError::SlashInSegment));
        split("/a\\b", Err(PathError::SlashInSegment));
        split("/a%2", Err(PathError::InvalidPercentEncoding));
        split("/a%zz", Err(PathError::InvalidPercentEncoding));
        split("/a%", Err(PathError::InvalidPercentEncoding));
        split("/a%FF", Err(PathError::NotUtf8));
        split("/a%00", Err(PathError::InvalidCharacter));
        split("/a%0d%0a", Err(PathError::InvalidCharacter));
        split("/a b", Err(PathError::InvalidCharacter));
        split("/caf\u{e9}", Err(PathError::InvalidCharacter));
        split("/a%252Fb", Err(PathError::DoubleEncoding));
        split("/..%252f..%252fother", Err(PathError::DoubleEncoding));
        split("/a/..%20/b", Err(PathError::DotSegment));
        split("/a#b", Err(PathError::InvalidCharacter));
        split("/a/%EF%BC%8E%EF%BC%8E/b", Err(PathError::MisleadingCharacter));
        split("/a%EF%BC%8Fb", Err(PathError::MisleadingCharacter));
        split("/a%EF%BC%BCb", Err(PathError::MisleadingCharacter));
        split("/a%E2%88%95b", Err(PathError::MisleadingCharacter));
        split("/a%EF%BC%852fb", Err(PathError::MisleadingCharacter));
        split("/a%E2%80%AEb", Err(PathError::MisleadingCharacter));
        split("/a%E2%81%A6b", Err(PathError::MisleadingCharacter));
    }
}
