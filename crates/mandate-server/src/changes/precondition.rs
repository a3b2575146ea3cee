//! What a request expects of an entity: `If-Match` and `If-None-Match`, with the version of the entity as its tag.

use hyper::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use super::problem::Problem;
use mandate_pdp::proposal::Precondition;

/// The precondition that headers state.
///
/// # Errors
/// They cannot be read.
pub fn of_headers(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let text = |name: HeaderName| headers.get(name).map(HeaderValue::to_str).transpose();
    let wrong = |_| Problem::bad_request("`If-Match` and `If-None-Match` have to be plain text");
    let (matches, none) = (text(IF_MATCH).map_err(wrong)?, text(IF_NONE_MATCH).map_err(wrong)?);
    match (matches.map(str::trim), none.map(str::trim)) {
        (None, None) => Ok(Precondition::Anything),
        (Some("*"), None) => Ok(Precondition::Exists),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some(tag), None) => version(tag).map(Precondition::Version),
        (None, Some(_)) => {
            Err(Problem::bad_request("`If-None-Match` has to be `*`: the entity must not exist"))
        }
        (Some(_), Some(_)) => Err(Problem::bad_request("send `If-Match` or `If-None-Match`, not both")),
    }
}

/// The version that a tag names.
///
/// # Errors
/// It is no tag of an entity.
pub fn version(tag: &str) -> Result<u64, Problem> {
    let quoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    quoted.and_then(|version| version.parse().ok()).ok_or_else(|| {
        Problem::bad_request("`If-Match` has to be the `ETag` of the entity, such as `\"42\"`, or `*`")
    })
}

/// The tag of a version.
pub fn tag(version: u64) -> String {
    format!("\"{version}\"")
}
