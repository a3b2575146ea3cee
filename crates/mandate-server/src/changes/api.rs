//! The API of changes over HTTP: who asks, what for, and the answer. What is asked is read in `actions` and
//! `entities`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::operation::ChangeOperation;
use super::problem::{Problem, finish};
use super::request::{Answer, ChangeRequest};
use super::rights::ChangeRights;
use super::{actions, entities, links};
use crate::access_requests::issuer::{AccessRequestSettings, Issuer};
use crate::authzen::api::ApiLimits;
use crate::authzen::json_body::read_json_body;
use crate::base_url::host;
use crate::context;
use crate::endpoints::Endpoint;
use crate::listen::address::Address;
use crate::listen::authentication::Caller;
use crate::position;
use mandate_pdp::{CommitQueue, Pdp, Transport};

/// Who may change entities, and where changes go.
#[derive(Clone, Default)]
pub struct ChangeSettings {
    /// Takes the changes; without it, there are none.
    pub commits: Option<CommitQueue>,
    pub rights: ChangeRights,
    /// The URL of the pages, without a slash at the end; links to reviews lead there.
    pub pages_url: Option<String>,
    /// What access requests need; without it, there are none.
    pub access_requests: Option<AccessRequestSettings>,
}

impl ChangeSettings {
    /// Access requests on a listener, if they are taken at all.
    pub(crate) fn issuer(&self, listener: &Address, public_url: Option<&str>) -> Option<Arc<Issuer>> {
        let (settings, commits) = self.access_requests.as_ref().zip(self.commits.as_ref())?;
        let issuer = || Issuer {
            tasks: commits.tasks(),
            keys: settings.keys.clone(),
            rights: self.rights.clone(),
            listener: listener.clone(),
            public_url: public_url.map(ToOwned::to_owned),
            pages_url: self.pages_url.clone(),
            callbacks: settings.callbacks.clone(),
        };
        self.rights.takes_requests().then(|| Arc::new(issuer()))
    }
}

/// The API of changes on one listener.
pub struct ChangeApi {
    pdp: Pdp,
    limits: ApiLimits,
    commits: Option<CommitQueue>,
    rights: ChangeRights,
    /// Where the pages are, without a slash at the end.
    pages_url: Option<String>,
    listener: Address,
}

impl ChangeApi {
    pub fn new(
        pdp: Pdp,
        limits: ApiLimits,
        ChangeSettings { commits, rights, pages_url, .. }: ChangeSettings,
        listener: Address,
    ) -> Self {
        Self { pdp, limits, commits, rights, pages_url, listener }
    }

    /// Answers a request.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        endpoint: &Endpoint,
        operation: ChangeOperation,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = self.answer(&head, body, endpoint, operation).await;
        finish(&self.pdp, endpoint.methods.allow_header(), &head, answer.map(Answer::response))
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        endpoint: &Endpoint,
        operation: ChangeOperation,
    ) -> Result<Answer, Problem> {
        if !endpoint.methods.allow(&head.method) {
            let use_one_of = format!("use {}", endpoint.methods.allow_header());
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, use_one_of));
        }
        let commits = self.commits.as_ref().ok_or_else(|| {
            let detail =
                "the entities here come from files, which Mandate only reads: start it with `--store`";
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?;
        let caller = head.extensions.get::<Caller>();
        let caller = self
            .rights
            .check(operation.right(), caller, (&self.listener, host(&head.uri, &head.headers)))?
            .to_owned();
        let request = ChangeRequest {
            pdp: &self.pdp,
            limits: &self.limits,
            commits,
            context: context::of_request(Transport::Changes, &head.headers, &head.extensions),
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            pages_url: self.pages_url.as_deref(),
            headers: &head.headers,
            key: ChangeRequest::read_key(&head.headers)?,
            caller,
            is_plural: matches!(operation, ChangeOperation::Actions | ChangeOperation::Entities),
        };
        let has_body = head.method == Method::POST || head.method == Method::PUT;
        let body =
            if has_body { read_json_body(&head.headers, body, &self.limits).await? } else { Bytes::new() };
        position::reach(&self.pdp, &head.headers, self.limits.max_wait)
            .await
            .map_err(|error| Problem::new(error.status(), error.to_string()))?;
        match operation {
            ChangeOperation::Action => actions::single(&request, &body).await,
            ChangeOperation::Actions => actions::batch(&request, &body).await,
            ChangeOperation::Entity => entities::one(&request, &body).await,
            ChangeOperation::Entities => entities::bulk(&request, &body).await,
            ChangeOperation::Links => links::collection(&request, &body).await,
            ChangeOperation::Link => links::one(&request, &body).await,
        }
    }
}
