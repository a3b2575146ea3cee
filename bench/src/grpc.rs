//! The same over gRPC, as Envoy asks (`ext_authz`), and the limit: a bare tonic server that parses a check
//! and answers a constant. Who asks is in headers, as a gateway sets them once it knows its caller; the
//! customer is in the path.

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

/// A check as bytes, and whether it has to be OK; `None` if any answer will do.
#[derive(Debug, Clone)]
pub struct Check {
    bytes: Bytes,
    expected: Option<bool>,
}

impl Check {
    pub fn of(request: &GatewayRequest) -> Self {
        let headers = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let (method, path) = (request.method.to_owned(), request.path.clone());
        let http =
            attribute_context::HttpRequest { method, path, headers: headers.collect(), ..Default::default() };
        let described = attribute_context::Request { http: Some(http), time: None };
        let attributes = envoy_types::pb::envoy::service::auth::v3::AttributeContext {
            request: Some(described),
            ..Default::default()
        };
        let message = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
        // gRPC's frame: not compressed, then the length.
        let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
        let bytes = [&[0][..], &length, &message].concat().into();
        Self { bytes, expected: Some(request.permitted) }
    }

    #[must_use]
    pub fn any_answer(&self) -> Self {
        Self { expected: None, ..self.clone() }
    }
}

/// Parses, and answers a constant of the form that the sidecar's answers have.
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
        let text = |n: usize| {
            (
                format!("field-{n}"),
                Value { kind: Some(Kind::StringValue("direct-bill-registers".to_owned())) },
            )
        };
        let headers = (0..7).map(header).collect();
        Self(CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: Some(Struct { fields: (0..7).map(text).collect() }),
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

/// Serves the limit until the process is ended.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: &str) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut server = tonic::transport::Server::builder().tcp_nodelay(true);
    let router = server.add_service(AuthorizationServer::new(Limit::new()));
    router.serve(address).await.map_err(io::Error::other)
}

/// HTTP/2 connections that the streams share.
const CONNECTIONS: usize = 4;

/// Loads a server for a while, with so many checks in flight, from the calling thread.
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
                tokio::task::spawn_local(worker(sender, Rc::clone(checks), first, start + length))
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

async fn worker(sender: SendRequest<Bytes>, checks: Rc<[Check]>, first: usize, end: Instant) -> Round {
    let mut round = Round::empty();
    for check in checks.iter().cycle().skip(first) {
        let sent = Instant::now();
        let Ok(permitted) = ask(&sender, check.bytes.clone()).await else {
            round.failed += 1;
            break;
        };
        let now = Instant::now();
        round.answered(now - sent, check.expected.is_none_or(|expected| expected == permitted));
        if now >= end {
            break;
        }
    }
    round
}

/// Whether the check was OK.
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
    let message = CheckResponse::decode(answer.get(5..).unwrap_or_default())?;
    Ok(message.status.is_some_and(|status| status.code == 0))
}
