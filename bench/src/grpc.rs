//! Envoy's `ext_authz` over gRPC: a load generator, and the limit, which is a bare tonic server that parses a
//! check and answers a constant.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, HeaderAppendAction, HeaderValue,
    HeaderValueOption, HttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use h2::client::SendRequest;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::gateway::GatewayRequest;
use crate::round::Round;

/// A `CheckRequest` as bytes, and the correct answer to it.
#[derive(Debug, Clone)]
pub struct Check {
    bytes: Bytes,
    /// Whether the check has to be permitted. `None` if any answer is correct.
    expected: Option<bool>,
}

impl Check {
    pub fn new(request: &GatewayRequest) -> Self {
        let headers = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let (method, path) = (request.method.to_owned(), request.path.clone());
        let http =
            attribute_context::HttpRequest { method, path, headers: headers.collect(), ..Default::default() };
        let request_attributes = attribute_context::Request { http: Some(http), time: None };
        let attributes = envoy_types::pb::envoy::service::auth::v3::AttributeContext {
            request: Some(request_attributes),
            ..Default::default()
        };
        let message = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
        // The frame of a gRPC message: a zero for "not compressed", then the length.
        let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
        let bytes = [&[0][..], &length, &message].concat().into();
        Self { bytes, expected: Some(request.permitted) }
    }

    #[must_use]
    pub fn with_any_answer(&self) -> Self {
        Self { expected: None, ..self.clone() }
    }
}

/// The limit. Its constant answer has as many headers and as much metadata as the answers of the sidecar.
struct Limit(CheckResponse);

impl Limit {
    fn new() -> Self {
        let header = |n: usize| HeaderValueOption {
            header: Some(HeaderValue {
                key: format!("x-mandate-header-{n}"),
                value: "direct-bill-registers".to_owned(),
                ..HeaderValue::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..HeaderValueOption::default()
        };
        let metadata_field = |n: usize| {
            (
                format!("field-{n}"),
                Value { kind: Some(Kind::StringValue("direct-bill-registers".to_owned())) },
            )
        };
        let headers = (0..7).map(header).collect();
        Self(CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: Some(Struct { fields: (0..7).map(metadata_field).collect() }),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers,
                ..OkHttpResponse::default()
            })),
        })
    }
}

#[tonic::async_trait]
impl Authorization for Limit {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        std::hint::black_box(request);
        Ok(Response::new(self.0.clone()))
    }
}

/// Serves the limit until the process ends.
///
/// # Errors
/// The server cannot listen on the address.
pub async fn serve(address: &str) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut server = tonic::transport::Server::builder().tcp_nodelay(true);
    let router = server.add_service(AuthorizationServer::new(Limit::new()));
    router.serve(address).await.map_err(io::Error::other)
}

/// The number of HTTP/2 connections. All checks in flight share them.
const CONNECTIONS: usize = 4;

/// Loads a server from the calling thread for `length`, with a number of checks in flight. Every answer is
/// checked.
///
/// # Errors
/// The server cannot be connected to.
pub fn load(port: u16, checks: &Rc<[Check]>, in_flight: usize, length: Duration) -> io::Result<Round> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
            tokio::task::spawn_local(connection);
            connections.push(sender);
        }
        let start = Instant::now();
        let senders = connections.iter().cycle().take(in_flight).cloned().enumerate();
        let workers: Vec<_> = senders
            .map(|(n, sender)| {
                let first = n * checks.len() / in_flight;
                tokio::task::spawn_local(send_checks(sender, Rc::clone(checks), first, start + length))
            })
            .collect();
        let mut round = Round::empty();
        for worker in workers {
            round.add(&worker.await.map_err(io::Error::other)?)?;
        }
        round.elapsed = start.elapsed();
        Ok(round)
    })
}

/// Sends the checks one after the other, beginning with number `first`, until `end`.
async fn send_checks(sender: SendRequest<Bytes>, checks: Rc<[Check]>, first: usize, end: Instant) -> Round {
    let mut round = Round::empty();
    for check in checks.iter().cycle().skip(first) {
        let sent = Instant::now();
        let Ok(permitted) = ask(&sender, check.bytes.clone()).await else {
            round.failed += 1;
            break;
        };
        let now = Instant::now();
        round.count_answer(now - sent, check.expected.is_none_or(|expected| expected == permitted));
        if now >= end {
            break;
        }
    }
    round
}

/// Sends a check. Returns whether the answer is a permit.
async fn ask(sender: &SendRequest<Bytes>, check: Bytes) -> Result<bool, Box<dyn std::error::Error>> {
    let head = axum::http::Request::post("http://127.0.0.1/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut ready = sender.clone().ready().await?;
    let (response, mut stream) = ready.send_request(head, false)?;
    stream.send_data(check, true)?;
    let mut body = response.await?.into_body();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        answer.extend_from_slice(&part);
    }
    body.trailers().await?;
    // The message begins after the five bytes of its frame.
    let message = CheckResponse::decode(answer.get(5..).unwrap_or_default())?;
    Ok(message.status.is_some_and(|status| status.code == 0))
}
