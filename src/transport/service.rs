//! One listener's service: what a request is for shows in its path, and each transport has its own.

use std::convert::Infallible;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tonic::codegen::Service as _;

use super::envoy::{self, ExtAuthz};
use super::http::authzen::{Api, Limits};
use super::http::body::{Lost, collect};
use super::http::{gateway, openapi};
use super::listen::door::Paths;
use crate::pdp::Pdp;

/// The body of an answer.
pub type Body = Either<Full<Bytes>, tonic::body::Body>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the metadata say is the same for everybody.
pub const PATHS: Paths = Paths { open: &["/.well-known/authzen-configuration"], grpc: envoy::SERVICE };

/// All that a decision listener serves. Clones share everything.
#[derive(Clone)]
pub struct Service {
    pdp: Pdp,
    api: Api,
    envoy: AuthorizationServer<ExtAuthz>,
    limits: Limits,
    document: Bytes,
}

impl Service {
    pub fn new(pdp: Pdp, limits: Limits) -> Self {
        let (api, envoy) = (Api::new(pdp.clone(), limits), envoy::service(pdp.clone(), limits.body));
        let document = format!("{:#}\n", openapi::document()).into();
        Self { pdp, api, envoy, limits, document }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with(envoy::SERVICE) {
            let Ok(response): Result<_, Infallible> = self.envoy.clone().call(request).await;
            response.map(Either::Right)
        } else if gateway::is_asked_at(path) {
            self.gateway(request).await.map(Either::Left)
        } else if path == openapi::PATH {
            self.described(request.method()).map(Either::Left)
        } else {
            self.api.answer(request).await.map(Either::Left)
        }
    }

    /// The document that describes the API.
    fn described(&self, method: &Method) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.document.clone()));
        let headers = response.headers_mut();
        if [Method::GET, Method::HEAD].contains(method) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return response;
        }
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.body_mut() = Full::new(Bytes::from_static(b"use GET"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
    }

    async fn gateway(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut response = match collect(body, self.limits.body, self.limits.body_time).await {
            Ok(arrived) => gateway::answer(&self.pdp, &head, &arrived),
            Err(Lost::Broken | Lost::Late) => {
                let mut response = Response::new(Bytes::from_static(b"the body did not arrive"));
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        };
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response.map(Full::new)
    }
}
