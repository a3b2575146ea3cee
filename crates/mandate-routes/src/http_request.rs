//! An HTTP request as a gateway describes it. It is the same for every gateway protocol; the protocols are in
//! the server crate, and routes read it in `request_values`.

use mandate_core::json::{Json, Object};

/// An HTTP request as a gateway describes it.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    pub method: &'a str,
    /// Path and query, as received.
    pub target: &'a str,
    /// With names in lower case. A header that the gateway does not set comes from the client.
    pub headers: Vec<(&'a str, &'a [u8])>,
    pub body: RequestBody<'a>,
    /// The most levels of arrays and objects in the body, if it is read.
    pub depth: usize,
    /// Values from the gateway's own route configuration (Envoy: context extensions).
    pub extensions: Vec<(&'a str, &'a str)>,
    /// Values from the gateway's filters, by filter name (Envoy: dynamic metadata).
    pub metadata: Object<'a>,
    /// The name that the gateway took from the client's certificate, if there is one.
    pub peer: Option<&'a str>,
    /// The client's certificate, as percent-encoded PEM.
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

/// The part of the body that the gateway forwarded.
#[derive(Debug, Default, Clone, Copy)]
pub enum RequestBody<'a> {
    /// The gateway forwards no body, or the request has none.
    #[default]
    None,
    Complete(&'a [u8]),
    /// The gateway truncated it.
    Partial,
}
