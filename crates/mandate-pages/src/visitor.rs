//! Finds out who asks for a page: by the cookie of a session, or by the ID token of a gateway in front. A page is shown,
//! or something is changed, only for somebody who is signed in.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::cookie::Cookie;
use crate::instead::Instead;
use crate::layout::redirect;
use crate::message;
use crate::pages::Pages;
use crate::paths;
use crate::principals::principals;
use crate::session::Session;
use crate::sign_in::SignIn;
use crate::sign_in::failure::Failure;
use crate::sign_in::gateway::Gateway;
use crate::visit::Visit;

impl FromRequestParts<Arc<Pages>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Arc<Pages>) -> Result<Self, Response> {
        let mut visit = Self::anonymous(parts, pages);
        visit.session = match &pages.sign_in {
            SignIn::Demo | SignIn::OpenIdConnect(_) => {
                let id = Cookie::Session.read(&parts.headers, pages.is_https);
                id.and_then(|id| pages.sessions.get(id))
            }
            SignIn::Gateway(gateway) => {
                let session = gateway_session(pages, gateway, &parts.headers).await;
                Some(session.map_err(|failure| message::not_signed_in(&visit, &failure))?)
            }
        };
        Ok(visit)
    }
}

/// The session of an ID token. What a token says of its user is written once.
async fn gateway_session(
    pages: &Pages,
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<Arc<Session>, Failure> {
    let token = gateway.token(headers)?;
    if let Some(session) = gateway.known(token) {
        return Ok(session);
    }
    let claims = gateway.verify(token).await?;
    let principals = principals(pages, gateway.rules(), &claims).await?;
    Ok(gateway.remember(token, &claims, principals))
}

/// The parameters of a path; the default if they cannot be read.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Query::try_from_uri(&parts.uri).map(|Query(read)| read).unwrap_or_default()))
    }
}

impl Visit {
    /// Who is signed in.
    ///
    /// # Errors
    /// Nobody is: the answer leads to the sign-in, and from there back to this page.
    pub fn signed_in(&self) -> Result<Arc<Session>, Instead> {
        self.session.clone().ok_or_else(|| redirect(&paths::path_to(&self.here())).into())
    }

    /// Who is signed in, for a request that would change something.
    ///
    /// # Errors
    /// Nobody is. The answer is a page: what was sent is lost, and the reader has to know.
    pub fn signed_in_to_change(&self) -> Result<Arc<Session>, Instead> {
        self.session.clone().ok_or_else(|| message::sign_in_again(self).into())
    }

    /// Does work that may read from the disk or take long, on a thread for that.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Instead> {
        let visit = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&visit)).await;
        done.map_err(|error| {
            tracing::error!(%error, "a defect of this program ended a page");
            message::plain(self, StatusCode::INTERNAL_SERVER_ERROR, self.words().internal).into()
        })
    }
}
