//! One listener's service: what a request is for shows in its path, and each transport has its own.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tonic::codegen::Service as _;

use super::listen::address::Address;
use super::listen::admission::SpecialPaths;
use crate::authzen::endpoints::{Api, ApiLimits};
use crate::authzen::metadata::{self, Metadata};
use crate::authzen::openapi;
use crate::body::{BodyError, read_body};
use crate::context::REQUEST_ID;
use crate::gateway::envoy::{self, ExtAuthz};
use crate::gateway::http as gateway;
use mandate_pdp::Pdp;

/// The body of an answer.
pub type ResponseBody = Either<Full<Bytes>, tonic::body::Body>;

/// What the metadata say is the same for everybody.
pub const SPECIAL_PATHS: SpecialPaths =
    SpecialPaths { unauthenticated: &[metadata::PATH], grpc_prefix: envoy::SERVICE_PATH_PREFIX };

/// All that a decision listener serves.
pub struct DecisionService {
    pdp: Pdp,
    api: Api,
    envoy: AuthorizationServer<ExtAuthz>,
    limits: ApiLimits,
    /// Where callers reach it, if the operator says so, and where it listens.
    public_url: Option<String>,
    listen_address: Address,
    document: Bytes,
}

impl DecisionService {
    pub fn new(pdp: Pdp, limits: ApiLimits, public_url: Option<String>, listen_address: Address) -> Self {
        let (api, envoy) = (
            Api::new(pdp.clone(), limits),
            envoy::ext_authz_server(pdp.clone(), limits.max_body_bytes, limits.max_json_depth),
        );
        let document = format!("{:#}\n", openapi::document()).into();
        Self { pdp, api, envoy, limits, public_url, listen_address, document }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        match request.uri().path() {
            path if path.starts_with(envoy::SERVICE_PATH_PREFIX) => {
                let Ok(response): Result<_, Infallible> = self.envoy.clone().call(request).await;
                response.map(Either::Right)
            }
            path if gateway::is_gateway_path(path) => self.gateway(request).await.map(Either::Left),
            openapi::PATH => serve_document(&request, || self.document.clone()).map(Either::Left),
            metadata::PATH => serve_document(&request, || self.metadata(&request)).map(Either::Left),
            _ => self.api.handle(request).await.map(Either::Left),
        }
    }

    fn metadata<B>(&self, request: &Request<B>) -> Bytes {
        let metadata = Metadata::of(self.public_url.as_deref(), &self.listen_address, request);
        // Texts can be written.
        serde_json::to_vec(&metadata).unwrap_or_default().into()
    }

    async fn gateway(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let received = Instant::now();
        let (head, body) = request.into_parts();
        let mut response = match read_body(body, self.limits.max_body_bytes, self.limits.body_timeout).await {
            Ok(body) => gateway::respond(&self.pdp, &head, &body, self.limits.max_json_depth),
            Err(BodyError::Incomplete | BodyError::TimedOut) => {
                let mut response = Response::new(Bytes::from_static(b"the body did not arrive"));
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        };
        // Nobody waits for it any more; whoever still hears it must not take it for timely.
        if gateway::caller_timeout(&head.headers)
            .is_some_and(|caller_timeout| received.elapsed() > caller_timeout)
        {
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
fn serve_document<B>(request: &Request<B>, document: impl FnOnce() -> Bytes) -> Response<Full<Bytes>> {
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
