//! A running sidecar, asked over its admin address: HTTP/1.1 over TCP or a unix socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::CliError;
use mandate_server::listen::address::Address;

/// A sidecar that serves a store.
pub struct Sidecar {
    address: Address,
    token: Option<String>,
}

impl Sidecar {
    /// A sidecar at an admin address, with the token of a file if it needs one.
    ///
    /// # Errors
    /// The file cannot be read, or the address has TLS.
    pub fn new(address: Address, token_file: Option<&PathBuf>) -> Result<Self, CliError> {
        if address.is_https() {
            return Err(CliError::message(
                "a sidecar is asked over a unix socket, or over http on this machine: https is not supported here",
            ));
        }
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, error))?;
            Ok::<_, CliError>(text.trim().to_owned())
        };
        Ok(Self { address, token: token_file.map(read).transpose()? })
    }

    /// Gets a JSON document; `None` if there is none.
    ///
    /// # Errors
    /// The sidecar cannot be reached, or refuses.
    pub fn get(&self, path: &str) -> Result<Option<String>, CliError> {
        let mut text = String::new();
        let found = self.run(Method::GET, path, Vec::new(), &mut |part| {
            text.push_str(&String::from_utf8_lossy(part));
            Ok(())
        })?;
        Ok(found.then_some(text))
    }

    /// Gets lines, which are given to `line` as they arrive.
    ///
    /// # Errors
    /// The sidecar cannot be reached, or refuses, or `line` fails.
    pub fn lines(
        &self,
        path: &str,
        line: &mut dyn FnMut(&str) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut rest = Vec::new();
        self.run(Method::GET, path, Vec::new(), &mut |part| {
            rest.extend_from_slice(part);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = rest.drain(..=end).collect();
                let text = String::from_utf8_lossy(&whole);
                if !text.trim().is_empty() {
                    line(text.trim_end())?;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The sequence of the last transaction.
    ///
    /// # Errors
    /// As for [`Self::get`], or the sidecar serves no store.
    pub fn position(&self) -> Result<u64, CliError> {
        let status: Value = serde_json::from_str(&self.get("/status")?.unwrap_or_default())?;
        let position = status.pointer("/store/position").and_then(Value::as_str);
        let position = position.and_then(|position| position.parse::<mandate_store::LogPosition>().ok());
        let none = || CliError::message(format!("the sidecar at {} serves no store", self.address));
        position.map(|position| position.sequence).ok_or_else(none)
    }

    /// Posts a JSON document and reads the answer.
    ///
    /// # Errors
    /// The sidecar cannot be reached, or refuses.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let mut answer = Vec::new();
        self.run(Method::POST, path, serde_json::to_vec(body)?, &mut |part| {
            answer.extend_from_slice(part);
            Ok(())
        })?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Sends a request, and gives the parts of the answer as they arrive. Returns whether there is an answer: 404
    /// means that there is not.
    fn run(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        part: &mut dyn FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<bool, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::system("cannot start the runtime"))?;
        runtime.block_on(async {
            let is_get = method == Method::GET;
            let mut response = self.send(method, path, body).await?;
            if is_get && response.status() == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            if !response.status().is_success() {
                return Err(refused(response).await);
            }
            while let Some(frame) = response.body_mut().frame().await {
                if let Some(bytes) = frame.map_err(|error| self.unreachable(error))?.data_ref() {
                    part(bytes)?;
                }
            }
            Ok(true)
        })
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, CliError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(CliError::message)?;
        match &self.address {
            Address::Http(address) | Address::Https(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(error))?;
                self.exchange(stream, request).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?;
                self.exchange(stream, request).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, CliError> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: impl std::fmt::Display) -> CliError {
        CliError::message(format!("the sidecar at {} does not answer: {error}", self.address))
    }
}

/// What the sidecar says about a request that it refuses.
async fn refused(response: Response<Incoming>) -> CliError {
    let status = response.status();
    let body =
        response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Value>(&body) else {
        let text = String::from_utf8_lossy(&body);
        return CliError::message(format!("the sidecar answers {status}: {}", text.trim()));
    };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    if problem.get("decision") == Some(&Value::Bool(false)) {
        return CliError::denial(text(&problem, "detail").unwrap_or_default());
    }
    let errors = problem.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
    if errors.is_empty() {
        return CliError::message(text(&problem, "detail").unwrap_or_else(|| status.to_string()));
    }
    let lines: Vec<String> = errors
        .iter()
        .map(|error| {
            let number = |key: &str| error.get(key).and_then(Value::as_u64);
            let place = text(error, "file")
                .zip(number("line").zip(number("column")))
                .map(|(file, (line, column))| format!("{file}:{line}:{column}: "));
            format!("{}{}", place.unwrap_or_default(), text(error, "message").unwrap_or_default())
        })
        .collect();
    CliError::all(&lines)
}

/// A value as a part of a query.
pub fn query_value(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The files of a folder of entities, as they are sent to a sidecar.
///
/// # Errors
/// A file cannot be read.
pub fn entity_files(folder: &Path) -> Result<Vec<mandate_server::admin_store::EntityFile>, CliError> {
    let texts = mandate_sources::loader::entity_texts(folder).map_err(CliError::Diagnostics)?;
    let file = |text: std::sync::Arc<mandate_core::diagnostics::SourceText>| {
        let (name, text) = (text.path.clone(), text.text.clone());
        mandate_server::admin_store::EntityFile { name, text }
    };
    Ok(texts.into_iter().map(file).collect())
}
