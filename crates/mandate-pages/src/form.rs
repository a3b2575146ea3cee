//! Reads forms that were sent. Their tokens are in `form_token`.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use crate::form_token::{TOKEN, is_token};
use crate::instead::Instead;
use crate::message;
use crate::session::Session;
use crate::visit::Visit;

/// The fields of a form.
#[derive(Debug, Default, Clone)]
pub struct Fields(BTreeMap<String, String>);

/// What was sent, before it was read.
pub type SentForm = Result<Form<Vec<(String, String)>>, FormRejection>;

impl Fields {
    /// Reads a form. A field that was sent twice is refused: nobody can say which is meant.
    ///
    /// # Errors
    /// It cannot be read, or it is too long.
    pub fn read(visit: &Visit, sent: SentForm) -> Result<Self, Instead> {
        let wrong = |status| message::plain(visit, status, visit.words().wrong_request);
        let Form(pairs) = sent.map_err(|rejection| wrong(rejection.into_response().status()))?;
        let count = pairs.len();
        let fields: BTreeMap<String, String> = pairs.into_iter().collect();
        if fields.len() == count { Ok(Self(fields)) } else { Err(wrong(StatusCode::BAD_REQUEST).into()) }
    }

    /// The value of a field; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == "on"
    }

    /// Whether the form comes from a page of this session at this path, which showed this.
    pub fn is_from(&self, session: &Session, path: &str, shown: &[u8]) -> bool {
        is_token(session, path, shown, self.get(TOKEN))
    }
}
