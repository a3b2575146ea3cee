//! An HTTP request as a gateway describes it, whichever way it asks.

use mandate_core::json::{Json, Object};

/// An HTTP request as a gateway describes it.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    pub method: &'a str,
    /// Path and query, as they came.
    pub target: &'a str,
    /// Names are in lower case. What the gateway does not set itself is the client's word.
    pub headers: Vec<(&'a str, &'a [u8])>,
    pub body: RequestBody<'a>,
    /// Levels of arrays and objects that the body may have, if it is read.
    pub depth: usize,
    /// What the gateway's configuration adds for its route (Envoy: context extensions).
    pub extensions: Vec<(&'a str, &'a str)>,
    /// What the gateway's filters found out, by their names (Envoy: dynamic metadata).
    pub metadata: Object<'a>,
    /// The name that the gateway made of its client's certificate, if the client gave one.
    pub peer: Option<&'a str>,
    /// The client's certificate, PEM in percent-encoding.
    pub certificate: Option<&'a str>,
}

impl Default for HttpRequest<'_> {
    fn default() -> Self {
        Self {
            method: "",
            target: "",
            headers: Vec::new(),
            body: RequestBody::None,
            depth: Json::MAX_DEPTH,
            extensions: Vec::new(),
            metadata: Object::default(),
            peer: None,
            certificate: None,
        }
    }
}

/// What of a request's body arrived.
#[derive(Debug, Default, Clone, Copy)]
pub enum RequestBody<'a> {
    /// The gateway passes no body on, or there was none.
    #[default]
    None,
    Complete(&'a [u8]),
    /// The gateway cut it off.
    Partial,
}
