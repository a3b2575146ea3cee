//! Paths as routes see them: split on `/` first, then each segment decoded once. A path that two
//! programs might resolve differently is refused rather than resolved.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a path is not looked at any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    #[error("the path has an empty segment, as in `//` or at its end")]
    EmptySegment,
    #[error("the path has a dot segment")]
    DotSegment,
    #[error("the path has a slash or backslash inside a segment")]
    SlashInSegment,
    #[error("the path has a `%` that encodes no byte")]
    InvalidPercentEncoding,
    #[error("the path is encoded twice")]
    DoubleEncoding,
    #[error("the path is not UTF-8")]
    NotUtf8,
    #[error("the path has a character that no path has")]
    InvalidCharacter,
}

/// The segments of a request's target, decoded; the query is not part of the path.
///
/// # Errors
/// The path could mean different things to different programs, or nothing.
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
    if text.as_bytes().windows(3).any(|part| part.starts_with(b"%") && has_valid_percent_encoding(part)) {
        return Err(PathError::DoubleEncoding);
    }
    // Some servers take what follows `;` for parameters, or cut spaces off, and resolve what is left.
    if matches!(text.split(';').next().map(str::trim), Some("." | "..")) {
        return Err(PathError::DotSegment);
    }
    Ok(text)
}

/// Whether each `%` is followed by two hexadecimal digits.
fn has_valid_percent_encoding(raw: &[u8]) -> bool {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut marks = raw.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    marks.all(|(at, _)| hex(raw.get(at + 1)) && hex(raw.get(at + 2)))
}

/// The most segments of a template.
const MAX_SEGMENTS: usize = 64;

/// A path with places that take any segment, such as `/v1/customers/{customer}/policies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Matched without regard to the case of ASCII letters.
    Literal(String),
    Parameter(String),
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let inside = text.strip_prefix('/').ok_or("a path begins with `/`")?;
        if inside.is_empty() {
            return Ok(Self(Vec::new()));
        }
        if inside.matches('/').count() >= MAX_SEGMENTS {
            return Err(format!("it has more than {MAX_SEGMENTS} segments"));
        }
        let parts = inside.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        let template = Self(parts);
        let names: Vec<&str> = template.parameters().collect();
        match names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
            Some((_, name)) => Err(format!("`{{{name}}}` stands in the path twice")),
            None => Ok(template),
        }
    }

    /// How many of its segments have to be as they are written.
    pub fn literal_count(&self) -> usize {
        self.0.iter().filter(|part| matches!(part, Segment::Literal(_))).count()
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The segment that stands in the place of a parameter.
    pub fn parameter_index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|part| matches!(part, Segment::Parameter(it) if it == name))
    }

    pub fn matches(&self, segments: &[Cow<'_, str>]) -> bool {
        self.0.len() == segments.len()
            && self.0.iter().zip(segments).all(|(part, segment)| match part {
                Segment::Literal(literal) => literal.eq_ignore_ascii_case(segment),
                Segment::Parameter(_) => true,
            })
    }

    /// Whether there are paths that match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(other)) => one.eq_ignore_ascii_case(other),
                _ => true,
            })
    }

    /// Whether all that matches this matches the other, too, and not the other way round.
    pub fn is_more_specific_than(&self, other: &Self) -> bool {
        self.overlaps(other)
            && self.literal_count() > other.literal_count()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|pair| !matches!(pair, (Segment::Parameter(_), Segment::Literal(_))))
    }
}

fn parse_segment(text: &str) -> Result<Segment, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let wrong = || format!("`{text}`: a parameter's name is made of letters, digits and `_`");
        return if fits { Ok(Segment::Parameter(name.to_owned())) } else { Err(wrong()) };
    }
    if text.contains(['{', '}']) {
        return Err(format!("`{text}`: a parameter takes a whole segment, as in `/{{customer}}/`"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
    match text {
        "" => Err("it has an empty segment, as in `//` or at its end; such requests are refused".to_owned()),
        "." | ".." => Err("it has a dot segment; such requests are refused".to_owned()),
        _ if text.bytes().all(plain) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(format!(
            "`{text}`: write segments plainly, with ASCII letters, digits and `-._~!$&'()*+,=:@`"
        )),
    }
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
    }

    #[track_caller]
    fn wrong(template: &str, says: &str) {
        let error = PathTemplate::parse(template).expect_err("must be refused");
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn templates_are_plain() {
        wrong("v1", "begins with `/`");
        wrong("/v1//x", "empty segment");
        wrong("/v1/", "empty segment");
        wrong("/a/../b", "dot segment");
        wrong("/{a}/{a}", "twice");
        wrong("/x-{a}", "whole segment");
        wrong("/{}", "letters, digits");
        wrong("/a%20b", "plainly");
        wrong(&"/{a}".repeat(65), "more than 64 segments");
    }

    #[test]
    fn literals_match_in_any_case() {
        let template = PathTemplate::parse("/v1/Customers/{c}").unwrap();
        assert!(template.matches(&decode_segments("/V1/cUSTOMERS/x").unwrap()));
        assert!(!template.matches(&decode_segments("/v1/customers").unwrap()));
        // The Kelvin sign is no `k`.
        assert!(!PathTemplate::parse("/k").unwrap().matches(&decode_segments("/%E2%84%AA").unwrap()));
    }

    #[test]
    fn the_narrower_template_is_known() {
        let template = |text| PathTemplate::parse(text).unwrap();
        assert!(template("/a/b").is_more_specific_than(&template("/{x}/b")));
        assert!(template("/a/{x}").is_more_specific_than(&template("/{x}/{y}")));
        assert!(!template("/a/{x}").is_more_specific_than(&template("/{x}/b")));
        assert!(template("/a/{x}").overlaps(&template("/{x}/b")));
        assert!(!template("/a/{x}").overlaps(&template("/b/{x}")));
        assert!(!template("/a").is_more_specific_than(&template("/A")));
    }
}
