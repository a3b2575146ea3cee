//! A case about an HTTP request: which route takes it, and which question it asks. The request stands as the
//! gateway passes it on, so a case also fails if a route reads another place than before. Its keys in a suite
//! are in `suite_file`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize as _;

use crate::error::CaseError;
use crate::suite_file::{Context, Entry, SuiteEntry};
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity, Request, RequestError};
use mandate_core::schema::Schema;
use mandate_routes::{HttpRequest, RequestBody, RouteError, Routes};

/// An HTTP request, and what of its question has to be so.
#[derive(Debug, Clone)]
pub(crate) struct RouteCase {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    metadata: serde_json::Value,
    extensions: BTreeMap<String, String>,
    peer: Option<String>,
    certificate: Option<String>,
    route: Option<String>,
    principal: Option<String>,
    action: Option<String>,
    resource: Option<String>,
    context: Option<Context>,
}

/// What the routes make of the request.
pub(crate) enum Routed {
    /// The question, as a request or with the reason why it does not fit the schema.
    Question(Box<Result<Request, RequestError>>),
    /// No route matches.
    NoRoute,
    /// The path is refused, or a value that the route reads is missing.
    Refused(String),
}

impl RouteCase {
    /// The case of entries, such as row, column and table; `None` if it is not about an HTTP request.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn of(entries: &[&Entry]) -> Result<Option<Self>, &'static str> {
        let Some(request) = first(entries, |entry| &entry.request) else { return Ok(None) };
        let parts: Vec<&str> = request.split_whitespace().collect();
        let [method, target] = parts.as_slice() else {
            return Err("has to have a method and a path in `request`, as in `GET /v1/customers/contoso`");
        };
        let body = first(entries, |entry| &entry.body).map(|body| text(&body));
        let mut headers: Vec<(String, String)> = first(entries, |entry| &entry.headers)
            .into_iter()
            .flatten()
            .flat_map(|(name, value)| values(&value).into_iter().map(move |it| (name.to_lowercase(), it)))
            .collect();
        if body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        Ok(Some(Self {
            method: (*method).to_owned(),
            target: (*target).to_owned(),
            headers,
            body,
            metadata: first(entries, |entry| &entry.metadata).unwrap_or_default(),
            extensions: first(entries, |entry| &entry.extensions).unwrap_or_default(),
            peer: first(entries, |entry| &entry.peer),
            certificate: first(entries, |entry| &entry.certificate),
            route: first(entries, |entry| &entry.route),
            principal: first(entries, |entry| &entry.principal),
            action: first(entries, |entry| &entry.action),
            resource: first(entries, |entry| &entry.resource),
            context: first(entries, |entry| &entry.context),
        }))
    }

    /// Whether anything of the question is expected.
    pub fn expects_question(&self) -> bool {
        let texts = [&self.route, &self.principal, &self.action, &self.resource];
        texts.into_iter().any(Option::is_some) || self.context.is_some()
    }

    /// What the routes make of the request, and in which lines that differs from what is expected.
    ///
    /// # Errors
    /// What is expected does not fit the schema.
    pub fn route(&self, snapshot: &Snapshot, routes: &Routes) -> Result<(Routed, String), CaseError> {
        let metadata = Json::deserialize(&self.metadata)?;
        let request = self.http_request(&metadata);
        let mut lines = String::new();
        let routed = match routes.route(&request) {
            Ok(routed) => routed,
            Err(error) => {
                if let RouteError::MissingValue { route, .. } = &error {
                    differ(&mut lines, "route", self.route.as_deref(), &route.id);
                }
                let routed = match &error {
                    RouteError::NoRoute => Routed::NoRoute,
                    RouteError::Path(_) | RouteError::MissingValue { .. } => {
                        Routed::Refused(error.to_string())
                    }
                };
                return Ok((routed, lines));
            }
        };
        differ(&mut lines, "route", self.route.as_deref(), &routed.route.id);
        // Nothing gives the time to a test, so it takes it from the context that is expected.
        let time = self.time(routed.question().action, snapshot.schema());
        let time = Json::deserialize(&time)?;
        let question = Question { action_properties: time.as_object(), ..routed.question() };
        let found = snapshot.request_from_question(&question, Clock::InQuestion);
        if let Ok(found) = &found {
            self.compare(&question, found, snapshot, &mut lines)?;
        }
        Ok((Routed::Question(Box::new(found)), lines))
    }

    /// What the expected context has of the action's clock attributes.
    fn time(&self, action: &str, schema: &Schema) -> serde_json::Value {
        let clocks = schema.resolve_action(action).map_or(&[][..], |action| &schema.action(action).clocks);
        let expected = clocks.iter().filter_map(|clock| {
            let value = self.context.as_ref()?.get(clock.name.as_str())?;
            Some((clock.name.to_string(), value.clone()))
        });
        serde_json::Value::Object(expected.collect())
    }

    /// Writes a line for each part of the question that is not as expected.
    fn compare(
        &self,
        question: &Question<'_>,
        found: &Request,
        snapshot: &Snapshot,
        lines: &mut String,
    ) -> Result<(), CaseError> {
        let context = serde_json::to_value(&self.context)?;
        let context = Json::deserialize(&context)?;
        let (principal, resource) =
            (parse_entity(self.principal.as_deref())?, parse_entity(self.resource.as_deref())?);
        let expected = Question {
            principal: principal.as_ref().map_or(question.principal, as_question),
            action: self.action.as_deref().unwrap_or(question.action),
            resource: resource.as_ref().map_or(question.resource, as_question),
            context: if self.context.is_some() { context.as_object() } else { question.context },
            ..*question
        };
        let expected = snapshot.request_from_question(&expected, Clock::InQuestion);
        let expected = expected.map_err(|error| CaseError::Expected(error.message))?;
        let (expected, found) = (parts(&expected, snapshot.schema()), parts(found, snapshot.schema()));
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            differ(lines, name, Some(expected), found);
        }
        Ok(())
    }

    fn http_request<'a>(&'a self, metadata: &'a Json<'a>) -> HttpRequest<'a> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let extensions = self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        HttpRequest {
            method: &self.method,
            target: &self.target,
            headers: headers.collect(),
            body: self.body.as_deref().map_or(RequestBody::None, |it| RequestBody::Complete(it.as_bytes())),
            extensions: extensions.collect(),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
            peer: self.peer.as_deref(),
            certificate: self.certificate.as_deref(),
            ..HttpRequest::default()
        }
    }

    /// The request line, for messages.
    pub fn title(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// The part of the first entry that has it.
pub(crate) fn first<T: Clone>(entries: &[&Entry], part: fn(&SuiteEntry) -> &Option<T>) -> Option<T> {
    entries.iter().find_map(|entry| part(&entry.value).clone())
}

/// A string as it is; any other value as JSON.
fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The values of a header: those of an array, or the only one.
fn values(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

fn parse_entity(text: Option<&str>) -> Result<Option<(&str, &str)>, CaseError> {
    text.map(display::parse_type_and_id).transpose().map_err(|error| CaseError::entity(&error))
}

fn as_question<'a>((entity_type, id): &(&'a str, &'a str)) -> QuestionEntity<'a> {
    QuestionEntity { entity_type, id, properties: None }
}

/// The parts of a request by their keys in a suite.
fn parts(request: &Request, schema: &Schema) -> [(&'static str, String); 4] {
    [
        ("principal", display::uid(request.principal.as_uid_ref(), schema)),
        ("action", display::action(request.action, schema)),
        ("resource", display::uid(request.resource.as_uid_ref(), schema)),
        ("context", display::record(&request.context, schema)),
    ]
}

/// Writes the expected and the actual value if they differ.
fn differ(lines: &mut String, name: &str, expected: Option<&str>, found: &str) {
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        // Writing to a string cannot fail.
        let _ = write!(lines, "\n- {name} {expected}\n+ {name} {found}");
    }
}
