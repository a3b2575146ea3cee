//! Pages of a search. A token says where the next page begins, and of which question, revision and
//! limit. Nobody can see more by making one up, because whatever a page shows was decided for that page;
//! but it names where the page ended, which may be an entity that was looked at and not found.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::endpoints::{ApiError, ApiLimits};
use super::wire::optional_object;
use mandate_core::digest::Digest;
use mandate_core::json::{Json, Object};
use mandate_pdp::Revision;

/// The page that a caller wants.
pub struct PageRequest<'j> {
    limit: Option<usize>,
    token: Option<&'j str>,
    limits: ApiLimits,
}

/// Where a page ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageEnd {
    pub named: bool,
    pub entity_type: String,
    pub id: String,
}

/// What a page hands to the next one.
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
    /// What is of the wrong shape.
    pub fn read(object: &'j Object<'j>, limits: &ApiLimits) -> Result<Self, ApiError> {
        let page = optional_object(object.get("page"), "page").map_err(ApiError::bad_request)?;
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
                return Err(ApiError::bad_request(format!(
                    "page.token: has to be a string, found {}",
                    other.describe()
                )));
            }
        };
        Ok(Self { limit, token, limits: *limits })
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The token, if there is one, of the same question at the same revision.
    ///
    /// # Errors
    /// It is of another one, or another limit is wanted.
    pub fn token(&self, question: &Digest, revision: &Revision) -> Result<Option<PageToken>, ApiError> {
        let Some(text) = self.token else { return Ok(None) };
        let token = PageToken::decode(text).ok_or_else(PageToken::invalid)?;
        if token.question != question.short() {
            return Err(ApiError::bad_request(
                "page.token: belongs to another question: repeat the question as it was, or search again from the first page",
            ));
        }
        if token.revision != revision.as_str() {
            return Err(ApiError::bad_request(
                "page.token: the content has changed since: search again from the first page",
            ));
        }
        // Larger limits come to the largest page, which may be another on another sidecar.
        let same = |limit: usize| [limit, limit.min(self.limits.max_page_size)].contains(&token.limit);
        if self.limit.is_some_and(|limit| !same(limit)) {
            return Err(ApiError::bad_request(format!(
                "page.limit: the first page's was {}: repeat it, or leave it out",
                token.limit
            )));
        }
        Ok(Some(token))
    }

    /// How many results the page may have: a page that does not say so has as many as the one before.
    pub fn page_size(&self, token: Option<&PageToken>) -> usize {
        let limit = token.map(|token| token.limit).or(self.limit).unwrap_or(self.limits.default_page_size);
        limit.clamp(1, self.limits.max_page_size)
    }
}

impl PageToken {
    pub fn new(question: &Digest, revision: &Revision, limit: usize, end: PageEnd) -> Self {
        Self { question: question.short(), revision: revision.as_str().to_owned(), limit, end }
    }

    /// The token as callers get it.
    pub fn encode(&self) -> String {
        // Strings and numbers can be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("{}{json}", checksum(&json)))
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sum, json) = std::str::from_utf8(&bytes).ok()?.split_at_checked(CHECKSUM_CHARS)?;
        (checksum(json) == sum).then(|| serde_json::from_str(json).ok()).flatten()
    }

    /// No search gave such a token.
    pub fn invalid() -> ApiError {
        ApiError::bad_request("page.token: is no token of this search: search again from the first page")
    }
}

const CHECKSUM_CHARS: usize = 16;

/// So that a token that was changed on its way is refused rather than read as another place.
fn checksum(json: &str) -> String {
    Digest::of([json.as_bytes()]).short()
}
