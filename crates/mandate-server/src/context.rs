//! Builds the context of the decisions on one request, from its headers and its caller, for every transport.
//! Records are made from it in `mandate_pdp::record`.

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::Extensions;

use crate::listen::authentication::Caller;
use mandate_pdp::{DecisionContext, Transport};
use mandate_routes::HttpRequest;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The context that the head of a request gives. Admission has put the caller into the extensions.
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

/// The context of a decision on a request that a gateway describes. The request's own id and trace are better
/// known than those of the gateway's call, so they replace them.
pub fn about<'r>(context: DecisionContext<'r>, request: &HttpRequest<'r>) -> DecisionContext<'r> {
    let text = |name: &HeaderName| {
        let mut values = request.headers.iter().filter(|(it, _)| *it == name.as_str());
        values.next().and_then(|(_, value)| str::from_utf8(value).ok())
    };
    DecisionContext {
        request_id: text(&REQUEST_ID).or(context.request_id),
        trace_context: text(&TRACE_PARENT).or(context.trace_context),
        ..context
    }
}
