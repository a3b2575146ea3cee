//! Who asks for a page: in which language, and signed in as whom. How that is found out is in `visitor`.

use std::sync::Arc;

use axum::http::request::Parts;

use crate::cookie::Cookie;
use crate::language::Language;
use crate::pages::Pages;
use crate::session::Session;
use crate::text::query_value;
use crate::texts::Words;
use crate::words::words;

/// One request for a page.
#[derive(Clone)]
pub struct Visit {
    pub pages: Arc<Pages>,
    pub language: Language,
    pub session: Option<Arc<Session>>,
    /// The path, as it was sent.
    pub path: String,
    /// The query, as it was sent, without what is only for one visit.
    pub query: String,
}

/// The name of the parameter that chooses a language.
pub const LANGUAGE: &str = "lang";

/// A query without the choice of a language, and without what was done just before.
fn kept_query(query: &str) -> String {
    let is_kept = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !name.is_empty() && ![LANGUAGE, "done", "proof"].contains(&name)
    };
    query.split('&').filter(is_kept).collect::<Vec<_>>().join("&")
}

impl Visit {
    /// A visit of somebody who is not signed in.
    pub fn anonymous(parts: &Parts, pages: &Arc<Pages>) -> Self {
        let chosen = parts.uri.query().and_then(|query| query_value(query, LANGUAGE));
        let remembered = || Language::from_code(Cookie::Language.read(&parts.headers, pages.is_https)?);
        let language = chosen.and_then(|code| Language::from_code(&code)).or_else(remembered);
        Self {
            pages: Arc::clone(pages),
            language: language.unwrap_or_else(|| Language::preferred(&parts.headers)),
            session: None,
            path: parts.uri.path().to_owned(),
            query: kept_query(parts.uri.query().unwrap_or_default()),
        }
    }

    /// The path and the query of this page, to come back to it.
    pub fn here(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        format!("{}{separator}{}", self.path, self.query)
    }

    pub fn words(&self) -> &'static Words {
        words(self.language)
    }
}
