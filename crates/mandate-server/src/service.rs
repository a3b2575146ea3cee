//! One listener's service: what a request is for shows in its path, and each transport has its own.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tonic::codegen::Service as _;

use super::listen::address::Address;
use super::listen::door::Paths;
use crate::authzen::endpoints::{Api, Limits};
use crate::authzen::metadata::{self, Metadata};
use crate::authzen::openapi;
use crate::body::{Lost, collect};
use crate::gateway::envoy::{self, ExtAuthz};
use crate::gateway::http as gateway;
use mandate_pdp::Pdp;

/// The body of an answer.
pub type Body = Either<Full<Bytes>, tonic::body::Body>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the metadata say is the same for everybody.
pub const PATHS: Paths = Paths { open: &[metadata::PATH], grpc: envoy::SERVICE };

/// All that a decision listener serves.
pub struct Service {
    pdp: Pdp,
    api: Api,
    envoy: AuthorizationServer<ExtAuthz>,
    limits: Limits,
    /// Where callers reach it, if the operator says so, and where it listens.
    public: Option<String>,
    listener: Address,
    document: Bytes,
}

impl Service {
    pub fn new(pdp: Pdp, limits: Limits, public: Option<String>, listener: Address) -> Self {
        let (api, envoy) =
            (Api::new(pdp.clone(), limits), envoy::service(pdp.clone(), limits.body, limits.depth));
        let document = format!("{:#}\n", openapi::document()).into();
        Self { pdp, api, envoy, limits, public, listener, document }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            path if path.starts_with(envoy::SERVICE) => {
                let Ok(response): Result<_, Infallible> = self.envoy.clone().call(request).await;
                response.map(Either::Right)
            }
            path if gateway::is_asked_at(path) => self.gateway(request).await.map(Either::Left),
            openapi::PATH => read_only(&request, || self.document.clone()).map(Either::Left),
            metadata::PATH => read_only(&request, || self.metadata(&request)).map(Either::Left),
            _ => self.api.answer(request).await.map(Either::Left),
        }
    }

    fn metadata<B>(&self, request: &Request<B>) -> Bytes {
        let metadata = Metadata::of(self.public.as_deref(), &self.listener, request);
        // Texts can be written.
        serde_json::to_vec(&metadata).unwrap_or_default().into()
    }

    async fn gateway(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let asked = Instant::now();
        let (head, body) = request.into_parts();
        let mut response = match collect(body, self.limits.body, self.limits.body_time).await {
            Ok(arrived) => gateway::answer(&self.pdp, &head, &arrived, self.limits.depth),
            Err(Lost::Broken | Lost::Late) => {
                let mut response = Response::new(Bytes::from_static(b"the body did not arrive"));
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        };
        // Nobody waits for it any more; whoever still hears it must not take it for timely.
        if gateway::patience(&head.headers).is_some_and(|patience| asked.elapsed() > patience) {
            response = Response::new(Bytes::from_static(b"the decision came too late"));
            *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        }
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response.map(Full::new)
    }
}

/// A document that can be had, and not changed.
fn read_only<B>(request: &Request<B>, document: impl FnOnce() -> Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if [Method::GET, Method::HEAD].contains(request.method()) {
        *response.body_mut() = Full::new(document());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else {
        *response.body_mut() = Full::new(Bytes::from_static(b"use GET"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if let Some(id) = request.headers().get(&REQUEST_ID) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
    response
}
