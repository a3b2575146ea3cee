//! Pages of a search. A token has the end of the last page, and the question, the revision and the limit that
//! it belongs to. A forged token grants nothing, because every result is decided for the request at hand. A
//! token does show the id of the last entity that was visited, which may be one that is not a result.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::api::{ApiError, ApiLimits};
use super::wire::{ShapeError, optional_object};
use mandate_core::digest::Digest;
use mandate_core::json::{Json, Object};
use mandate_pdp::Revision;

/// The page that a request asks for.
pub struct PageRequest<'j> {
    limit: Option<usize>,
    token: Option<&'j str>,
    limits: ApiLimits,
}

/// The last entity or action that was visited for a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageEnd {
    pub named: bool,
    pub entity_type: String,
    pub id: String,
}

/// The content of a token: what the next page needs to go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageToken {
    question: String,
    revision: String,
    limit: usize,
    pub end: PageEnd,
}

impl<'j> PageRequest<'j> {
    /// Reads `page` of a search.
    ///
    /// # Errors
    /// A field has the wrong type or value.
    pub fn read(object: &'j Object<'j>, limits: &ApiLimits) -> Result<Self, ApiError> {
        let page = optional_object(object.get("page"), "page")?;
        let of_page = |key| page.and_then(|page| page.get(key));
        let limit = match of_page("limit") {
            None => None,
            Some(Json::Long(limit)) if *limit >= 1 => Some(usize::try_from(*limit).unwrap_or(usize::MAX)),
            Some(_) => {
                let most = limits.max_page_size;
                return Err(ApiError::bad_request(format!(
                    "page.limit: has to be a whole number, from 1 to {most}"
                )));
            }
        };
        let token = match of_page("token") {
            None => None,
            Some(Json::String(token)) => Some(token.as_ref()),
            Some(other) => {
                return Err(ShapeError::wrong_type("page.token", "a string", other).into());
            }
        };
        Ok(Self { limit, token, limits: *limits })
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The token, if the request has one. It has to belong to the same question at the same revision.
    ///
    /// # Errors
    /// It belongs to another question or revision, or the request has another limit.
    pub fn token(&self, question: &Digest, revision: &Revision) -> Result<Option<PageToken>, ApiError> {
        let Some(text) = self.token else { return Ok(None) };
        let token = PageToken::decode(text).ok_or_else(PageToken::invalid)?;
        if token.question != question.short() {
            return Err(ApiError::bad_request(
                "page.token: belongs to another search: repeat the same request, or start again at the first page",
            ));
        }
        if token.revision != revision.as_str() {
            return Err(ApiError::bad_request(
                "page.token: the content has changed since the last page: start again at the first page",
            ));
        }
        // A limit above the maximum is cut to it, and another sidecar may have another maximum.
        let same = |limit: usize| [limit, limit.min(self.limits.max_page_size)].contains(&token.limit);
        if self.limit.is_some_and(|limit| !same(limit)) {
            return Err(ApiError::bad_request(format!(
                "page.limit: has to be {}, as for the first page, or absent",
                token.limit
            )));
        }
        Ok(Some(token))
    }

    /// The most results on the page: the limit in the token, or else in the request, or else the default.
    pub fn page_size(&self, token: Option<&PageToken>) -> usize {
        let limit = token.map(|token| token.limit).or(self.limit).unwrap_or(self.limits.default_page_size);
        limit.clamp(1, self.limits.max_page_size)
    }
}

impl PageToken {
    pub fn new(question: &Digest, revision: &Revision, limit: usize, end: PageEnd) -> Self {
        Self { question: question.short(), revision: revision.as_str().to_owned(), limit, end }
    }

    /// The text of the token.
    pub fn encode(&self) -> String {
        // Strings and numbers always serialize.
        let json = serde_json::to_string(self).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("{}{json}", checksum(&json)))
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sum, json) = std::str::from_utf8(&bytes).ok()?.split_at_checked(CHECKSUM_CHARS)?;
        (checksum(json) == sum).then(|| serde_json::from_str(json).ok()).flatten()
    }

    /// The text is not a token that this search gave.
    pub fn invalid() -> ApiError {
        ApiError::bad_request(
            "page.token: is not a valid token of this search: start again at the first page",
        )
    }
}

const CHECKSUM_CHARS: usize = 16;

/// Detects a token that was damaged on its way. It is not a signature: a forged token grants nothing.
fn checksum(json: &str) -> String {
    Digest::of([json.as_bytes()]).short()
}
