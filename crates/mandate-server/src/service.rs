//! The service of a decision listener: dispatches each request by its path to Envoy's gRPC service or to a
//! handler of the table in `endpoints`. Admission, timeouts and connections are in `listen`.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tonic::codegen::Service as _;

use crate::access_requests::api::AccessRequestApi;
use crate::access_requests::operation::JWKS_PATH;
use crate::authzen::api::{Api, ApiLimits};
use crate::authzen::metadata::Metadata;
use crate::body::{BodyError, read_body};
use crate::changes::api::{ChangeApi, ChangeSettings};
use crate::context::REQUEST_ID;
use crate::endpoints::{self, Endpoint, Handler, METADATA_PATH};
use crate::gateway::envoy::{self, ExtAuthz};
use crate::gateway::http::{self as gateway, GatewayProtocol};
use crate::listen::address::Address;
use crate::listen::admission::SpecialPaths;
use crate::openapi;
use crate::position::{self, PositionError};
use mandate_pdp::{LogPosition, Pdp};

/// The body of an answer.
pub type ResponseBody = Either<Full<Bytes>, tonic::body::Body>;

/// The metadata and the keys are public: clients read them before they have a token.
pub const SPECIAL_PATHS: SpecialPaths =
    SpecialPaths { unauthenticated: &[METADATA_PATH, JWKS_PATH], grpc_prefix: envoy::SERVICE_PATH_PREFIX };

/// Everything that a decision listener serves.
pub struct DecisionService {
    pdp: Pdp,
    api: Api,
    changes: ChangeApi,
    access_requests: AccessRequestApi,
    envoy: AuthorizationServer<ExtAuthz>,
    limits: ApiLimits,
    /// The URL at which callers reach the listener, if the operator set it.
    public_url: Option<String>,
    listen_address: Address,
    openapi_document: Bytes,
}

impl DecisionService {
    pub fn new(
        pdp: Pdp,
        limits: ApiLimits,
        public_url: Option<String>,
        listen_address: Address,
        changes: ChangeSettings,
    ) -> Self {
        let issuer = changes.issuer(&listen_address, public_url.as_deref());
        let (api, envoy) = (Api::new(pdp.clone(), limits), envoy::ext_authz_server(pdp.clone(), &limits));
        let api = api.with_access_requests(issuer.clone());
        let access_requests = AccessRequestApi::new(pdp.clone(), limits, issuer.zip(changes.commits.clone()));
        let changes = ChangeApi::new(pdp.clone(), limits, changes, listen_address.clone());
        let openapi_document = format!("{:#}\n", openapi::document()).into();
        Self {
            pdp,
            api,
            changes,
            access_requests,
            envoy,
            limits,
            public_url,
            listen_address,
            openapi_document,
        }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let path = request.uri().path();
        if path.starts_with(envoy::SERVICE_PATH_PREFIX) {
            let Ok(response): Result<_, Infallible> = self.envoy.clone().call(request).await;
            return response.map(Either::Right);
        }
        let endpoint = endpoints::find(path);
        let response = match endpoint.map(|endpoint| (endpoint, endpoint.handler)) {
            None | Some((_, Handler::AuthZen(_))) => self.api.handle(request, endpoint).await,
            Some((endpoint, Handler::Change(operation))) => {
                self.changes.handle(request, endpoint, operation).await
            }
            Some((endpoint, Handler::AccessRequest(operation))) => {
                self.access_requests.handle(request, endpoint, operation).await
            }
            Some((_, Handler::Keys)) => self.access_requests.keys(request.method()),
            Some((_, Handler::Gateway(protocol))) => self.answer_gateway(request, protocol).await,
            Some((endpoint, Handler::Metadata)) => {
                serve_document(endpoint, &request, || self.metadata(&request))
            }
            Some((endpoint, Handler::OpenApi)) => {
                serve_document(endpoint, &request, || self.openapi_document.clone())
            }
        };
        response.map(Either::Left)
    }

    fn metadata<B>(&self, request: &Request<B>) -> Bytes {
        let metadata = Metadata::of(
            self.public_url.as_deref(),
            &self.listen_address,
            request,
            self.access_requests.is_served(),
        );
        // A map of strings always serializes.
        serde_json::to_vec(&metadata).unwrap_or_default().into()
    }

    async fn answer_gateway(
        &self,
        request: Request<Incoming>,
        protocol: GatewayProtocol,
    ) -> Response<Full<Bytes>> {
        let received = Instant::now();
        let (head, body) = request.into_parts();
        let mut response = match read_body(body, self.limits.max_body_bytes, self.limits.body_timeout).await {
            Ok(body) => match position::reach(&self.pdp, &head.headers, self.limits.max_wait).await {
                Ok(()) => gateway::respond(&self.pdp, protocol, &head, &body, self.limits.max_json_depth),
                Err(error) => not_at_position(error, self.pdp.view().position()),
            },
            Err(BodyError::Incomplete | BodyError::TimedOut) => {
                let mut response = Response::new(Bytes::from_static(b"the request body did not arrive"));
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        };
        // The caller's own timeout has passed, so it has already acted without this answer. An error makes
        // sure that a late permit is never used.
        if gateway::caller_timeout(&head.headers)
            .is_some_and(|caller_timeout| received.elapsed() > caller_timeout)
        {
            response = Response::new(Bytes::from_static(b"the caller's deadline has passed"));
            *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        }
        if let Some(id) = head.headers.get(&REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        response.map(Full::new)
    }
}

/// The answer to a request whose position cannot be reached. It is no permit.
fn not_at_position(error: PositionError, at: Option<LogPosition>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(error.to_string()));
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    position::insert(headers, at);
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Answers a request for a JSON document.
fn serve_document<B>(
    endpoint: &Endpoint,
    request: &Request<B>,
    document: impl FnOnce() -> Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if endpoint.methods.allow(request.method()) {
        *response.body_mut() = Full::new(document());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else {
        *response.body_mut() = Full::new(Bytes::from_static(b"use GET"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static(endpoint.methods.allow_header());
        response.headers_mut().insert(ALLOW, allowed);
    }
    if let Some(id) = request.headers().get(&REQUEST_ID) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
    response
}
