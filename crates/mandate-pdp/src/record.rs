//! What is known about each decision, made in one place: the context in which a question was asked, the
//! record of how it was answered, and the sinks that take records.

use std::fmt;
use std::time::Duration;

use mandate_core::decide::DecideError;
use mandate_core::decision::Decision;
use mandate_core::request::{Question, RequestError};
use mandate_routes::RouteError;
use serde::{Serialize, Serializer};
use uuid::{NoContext, Timestamp, Uuid};

use crate::generation::Revision;

/// Names one decision: a UUID of version 7, so ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(Uuid);

impl DecisionId {
    /// A new id.
    pub fn generate() -> Self {
        // Without a counter that all threads share: 74 random bits tell apart ids of one millisecond.
        Self(Uuid::new_v7(Timestamp::now(NoContext)))
    }

    /// A new id of the same millisecond, for the next decision on the same request. It needs no clock.
    fn next(self) -> Self {
        self.0.get_timestamp().map_or_else(Self::generate, |time| Self(Uuid::new_v7(time)))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl Serialize for DecisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

/// How a question arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The AuthZEN API over HTTP.
    AuthZen,
    /// Envoy's `ext_authz` over gRPC.
    ExtAuthzGrpc,
    /// Envoy's `ext_authz` over HTTP.
    ExtAuthzHttp,
    /// Forward authentication of nginx, Caddy or Traefik.
    ForwardAuth,
    /// A request to perform an action, in the API of changes.
    Changes,
    /// A request that an access request makes.
    AccessRequests,
    /// A call from the program that embeds the decision point.
    InProcess,
}

impl Transport {
    /// The name in records, such as `ext_authz_grpc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthZen => "authzen",
            Self::ExtAuthzGrpc => "ext_authz_grpc",
            Self::ExtAuthzHttp => "ext_authz_http",
            Self::ForwardAuth => "forward_auth",
            Self::Changes => "changes",
            Self::AccessRequests => "access_requests",
            Self::InProcess => "in_process",
        }
    }
}

/// What is known about a question besides its words. A transport makes one for each request.
#[derive(Debug, Clone, Copy)]
pub struct DecisionContext<'a> {
    pub id: DecisionId,
    pub transport: Transport,
    /// The authenticated caller: the name of a token, the subject of a JWT or a name in a certificate.
    pub caller: Option<&'a str>,
    /// The request's `X-Request-ID`.
    pub request_id: Option<&'a str>,
    /// The request's `traceparent` (W3C Trace Context).
    pub trace_context: Option<&'a str>,
    /// The id of the route that matched, for the requests of gateways.
    pub route: Option<&'a str>,
}

impl<'a> DecisionContext<'a> {
    /// A context with a new id, of which nothing else is known.
    pub fn new(transport: Transport) -> Self {
        let id = DecisionId::generate();
        Self { id, transport, caller: None, request_id: None, trace_context: None, route: None }
    }

    /// The context of another decision on the same request, such as the next item of a batch.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { id: self.id.next(), ..*self }
    }

    /// This context once the request's route is known.
    #[must_use]
    pub fn with_route(self, route: &'a str) -> Self {
        Self { route: Some(route), ..self }
    }
}

/// How a question was answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// It was decided. `cached` tells whether from the cache; `None` where there is no cache. `took` is the time
    /// from the question to the decision.
    Decided { decision: &'a Decision, cached: Option<bool>, took: Duration },
    /// No route made a question of the HTTP request, so it was denied.
    NotRouted(&'a RouteError<'a>),
    /// The question does not fit the schema.
    Invalid(&'a RequestError),
    /// A defect of this program kept it from being decided.
    Failed(&'a DecideError),
}

/// One question and its answer. Logs, metrics and traces are made from records and from nothing else.
#[derive(Debug, Clone, Copy)]
pub struct DecisionRecord<'a> {
    pub context: &'a DecisionContext<'a>,
    /// The revision that answered.
    pub revision: &'a Revision,
    /// `None` where no route made a question of the HTTP request.
    pub question: Option<&'a Question<'a>>,
    pub answer: Answer<'a>,
}

/// Takes a record of every decision, on the thread that decided: it must neither block nor panic.
pub trait DecisionSink: Send + Sync {
    fn record(&self, record: &DecisionRecord<'_>);
}

#[cfg(test)]
mod tests {
    use super::{DecisionContext, DecisionId, Transport};

    #[test]
    fn ids_differ_and_are_uuids_of_version_7() {
        let context = DecisionContext::new(Transport::InProcess);
        let ids = [context.id, context.next().id, context.next().id, DecisionId::generate()];
        let texts: std::collections::BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), ids.len());
        for (text, id) in texts.iter().zip(ids) {
            assert_eq!((text.len(), text.get(14..15)), (36, Some("7")), "{text}");
            assert_eq!(id.0.get_version_num(), 7);
        }
        let millisecond = |id: DecisionId| id.to_string().get(..13).map(ToOwned::to_owned);
        assert_eq!(millisecond(context.next().id), millisecond(context.id));
    }
}
