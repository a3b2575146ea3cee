//! The context of the decisions on one request, made here for every transport.

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::Extensions;

use crate::listen::authentication::Caller;
use mandate_pdp::{DecisionContext, Transport};
use mandate_routes::HttpRequest;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the head of a request tells about its decisions. The caller is in the extensions: admission put it
/// there.
pub fn of_request<'r>(
    transport: Transport,
    headers: &'r HeaderMap,
    extensions: &'r Extensions,
) -> DecisionContext<'r> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    DecisionContext {
        caller: extensions.get().map(|Caller(name)| &**name),
        request_id: text(&REQUEST_ID),
        trace_context: text(&TRACE_PARENT),
        ..DecisionContext::new(transport)
    }
}

/// The context of a decision about a request that a gateway describes: its own request id and trace are
/// known to more people than those of the gateway's call.
pub fn about<'r>(context: DecisionContext<'r>, request: &HttpRequest<'r>) -> DecisionContext<'r> {
    let text = |name: &HeaderName| {
        let mut named = request.headers.iter().filter(|(it, _)| *it == name.as_str());
        named.next().and_then(|(_, value)| str::from_utf8(value).ok())
    };
    DecisionContext {
        request_id: text(&REQUEST_ID).or(context.request_id),
        trace_context: text(&TRACE_PARENT).or(context.trace_context),
        ..context
    }
}
