//! Path templates: the path of a route, such as `/v1/customers/{customer}/policies`, and which of two is more
//! specific. Requests' paths are decoded in `path`.

use std::borrow::Cow;

/// The most segments in a template.
const MAX_SEGMENTS: usize = 64;

/// A path with parameters, each of which matches any one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathTemplate(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Compared without regard to the case of ASCII letters.
    Literal(String),
    Parameter(String),
}

/// What is wrong with a path template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("a path has to begin with `/`")]
    NotAbsolute,
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    #[error("`{{{0}}}` appears twice in the path")]
    RepeatedParameter(String),
    #[error("`{0}`: a parameter name may have only ASCII letters, digits and `_`")]
    InvalidParameterName(String),
    #[error("`{0}`: a parameter has to be a whole segment, as in `/{{customer}}/`")]
    PartialParameter(String),
    #[error("the path has an empty segment (`//` or a trailing `/`); such requests are denied")]
    EmptySegment,
    #[error("the path has a dot segment (`.` or `..`); such requests are denied")]
    DotSegment,
    #[error("`{0}`: a literal segment may have only ASCII letters, digits and `-._~!$&'()*+,=:@`")]
    InvalidLiteral(String),
}

impl PathTemplate {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let inside = text.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        if inside.is_empty() {
            return Ok(Self(Vec::new()));
        }
        if inside.matches('/').count() >= MAX_SEGMENTS {
            return Err(TemplateError::TooManySegments);
        }
        let template = Self(inside.split('/').map(parse_segment).collect::<Result<_, _>>()?);
        let names: Vec<&str> = template.parameters().collect();
        match names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
            Some((_, name)) => Err(TemplateError::RepeatedParameter((*name).to_owned())),
            None => Ok(template),
        }
    }

    /// The number of literal segments.
    pub fn literal_count(&self) -> usize {
        self.0.iter().filter(|part| matches!(part, Segment::Literal(_))).count()
    }

    /// The names of the parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The index of the segment of a parameter.
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

    /// Whether some path matches both templates.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(other)) => one.eq_ignore_ascii_case(other),
                (Segment::Parameter(_), _) | (_, Segment::Parameter(_)) => true,
            })
    }

    /// Whether every path that matches this template matches the other one as well, but not the reverse.
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

fn parse_segment(text: &str) -> Result<Segment, TemplateError> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let is_valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let parameter = is_valid.then(|| Segment::Parameter(name.to_owned()));
        return parameter.ok_or_else(|| TemplateError::InvalidParameterName(text.to_owned()));
    }
    if text.contains(['{', '}']) {
        return Err(TemplateError::PartialParameter(text.to_owned()));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
    match text {
        "" => Err(TemplateError::EmptySegment),
        "." | ".." => Err(TemplateError::DotSegment),
        _ if text.bytes().all(is_plain) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(TemplateError::InvalidLiteral(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::decode_segments;

    #[track_caller]
    fn wrong(template: &str, says: &str) {
        let error = PathTemplate::parse(template).expect_err("must be refused").to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn templates_are_plain() {
        wrong("v1", "begin with `/`");
        wrong("/v1//x", "empty segment");
        wrong("/v1/", "empty segment");
        wrong("/a/../b", "dot segment");
        wrong("/{a}/{a}", "twice");
        wrong("/x-{a}", "whole segment");
        wrong("/{}", "parameter name may have only ASCII letters, digits");
        wrong("/a%20b", "a literal segment may have only");
        wrong(&"/{a}".repeat(65), "more than 64 segments");
    }

    #[test]
    fn literals_match_in_any_case() {
        let template = PathTemplate::parse("/v1/Customers/{c}").unwrap();
        assert!(template.matches(&decode_segments("/V1/cUSTOMERS/x").unwrap()));
        assert!(!template.matches(&decode_segments("/v1/customers").unwrap()));
        // The Kelvin sign does not match `k`.
        assert!(!PathTemplate::parse("/k").unwrap().matches(&decode_segments("/%E2%84%AA").unwrap()));
    }

    #[test]
    fn the_more_specific_template_is_known() {
        let template = |text| PathTemplate::parse(text).unwrap();
        assert!(template("/a/b").is_more_specific_than(&template("/{x}/b")));
        assert!(template("/a/{x}").is_more_specific_than(&template("/{x}/{y}")));
        assert!(!template("/a/{x}").is_more_specific_than(&template("/{x}/b")));
        assert!(template("/a/{x}").overlaps(&template("/{x}/b")));
        assert!(!template("/a/{x}").overlaps(&template("/b/{x}")));
        assert!(!template("/a").is_more_specific_than(&template("/A")));
    }
}
