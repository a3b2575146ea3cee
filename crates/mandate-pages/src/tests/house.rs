//! The pages on the content of the repository, and a browser to ask them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::entities::{Origin, parse_entity_text};
use mandate_core::snapshot::RequestConfig;
use mandate_pdp::access_request::{AccessRequest, NewRequest};
use mandate_pdp::proof_worker::ProofConfig;
use mandate_pdp::proposal::{
    CommitResult, EntityEdit, EntityEditKind, Precondition, Proposal, ProposedEdits,
};
use mandate_pdp::reload::{ReloadConfig, Reloader};
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::{CommitQueue, Generation, InitialLoadReport, Pdp, PdpConfig, Restored};
use mandate_sources::loader::{ContentPaths, LoadedContent, Loader};
use mandate_sources::policy_limits::PolicyLimits;
use mandate_store::{Author, EntityName, Store, StoreSource, take_in};
use serde_json::{Map, Value};
use tower::ServiceExt;

use crate::{PagesConfig, SignIn, router};

pub const URL: &str = "http://localhost:8080";

/// The pages, and what they work on.
pub struct House {
    pub pages: Router,
    pub pdp: Pdp,
    pub commits: CommitQueue,
    _reloader: Reloader,
    _folder: tempfile::TempDir,
}

/// The content of the repository, which takes a while to load.
static CONTENT: OnceLock<LoadedContent> = OnceLock::new();

fn load() -> LoadedContent {
    let (paths, folder) = (content_paths(), tempfile::tempdir().unwrap());
    let content = Loader::new(&paths).load().unwrap();
    let store = Arc::new(Store::open_or_create(&folder.path().join("store.redb")).unwrap());
    take_in(&store, &content.snapshot, Author::default()).unwrap();
    // As in a sidecar: from then on, the store is where the entities come from.
    Loader::with_source(&paths, None, Box::new(StoreSource::new(store))).load().unwrap()
}

fn content_paths() -> ContentPaths {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    ContentPaths {
        policies: root.join("policies"),
        entities: root.join("entities"),
        terms: RequestConfig::default(),
        identity_sources: None,
        policy_limits: PolicyLimits::default(),
    }
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// A browser with its cookies.
#[derive(Default)]
pub struct Browser {
    pub cookies: Vec<(String, String)>,
    /// Headers of every request.
    pub headers: Vec<(&'static str, String)>,
}

impl House {
    pub fn demo() -> Self {
        Self::with(SignIn::Demo, URL)
    }

    pub fn with(sign_in: SignIn, url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open_or_create(&folder.path().join("store.redb")).unwrap());
        let content = CONTENT.get_or_init(load);
        let head = take_in(&store, &content.snapshot, Author::default()).unwrap();
        let (routes, changes) = (Arc::clone(&content.routes), Arc::clone(&content.changes));
        let generation = Generation::new(content.snapshot.clone(), routes, changes);
        let generation = generation.with_position(Some(head.position()));
        let content_paths = content_paths();
        let source = Box::new(StoreSource::new(Arc::clone(&store)));
        let loader = Loader::with_source(&content_paths, None, source);
        let (pdp, publisher) = Pdp::new(generation, PdpConfig::cached(1_000));
        let config = ReloadConfig {
            content_paths,
            poll_interval: Duration::ZERO,
            proofs: ProofConfig::disabled(),
            staleness: None,
            ready_when_restored: true,
            deny_all: false,
            log: Some(store),
            kept_denial: None,
        };
        let first = InitialLoadReport {
            warnings: Diagnostics::default(),
            took: Duration::ZERO,
            proof: None,
            restored: Restored { policies: None, entities: None },
        };
        let reloader = Reloader::start(publisher, loader, config, &first).unwrap();
        let commits = reloader.commits().unwrap();
        let pages = router(PagesConfig {
            pdp: pdp.clone(),
            commits: commits.clone(),
            url: url.to_owned(),
            sign_in,
            wait: Duration::from_secs(20),
        });
        Self { pages, pdp, commits, _reloader: reloader, _folder: folder }
    }

    pub fn commit(&self, edits: ProposedEdits) -> CommitResult {
        let (reply, result) = std::sync::mpsc::channel();
        let proposal = Proposal {
            caller: "test".into(),
            request_id: None,
            key: None,
            until: std::time::Instant::now() + Duration::from_secs(20),
            schema: *self.pdp.view().snapshot().schema().digest(),
            edits,
        };
        self.commits.submit(proposal, move |result| drop(reply.send(result)));
        result.recv().unwrap()
    }

    pub fn review(&self, operation: ReviewOperation) -> CommitResult {
        self.commit(ProposedEdits::Review(operation))
    }

    /// A partner asks; gives the request.
    pub fn ask(&self, requester: &str, customer: Option<&str>, administration: bool) -> AccessRequest {
        self.ask_for(requester, customer, administration, None)
    }

    /// A partner asks, and its request is valid for so many seconds.
    pub fn ask_for(
        &self,
        requester: &str,
        customer: Option<&str>,
        administration: bool,
        valid_for: Option<u64>,
    ) -> AccessRequest {
        let context = [("delegatedAdministration".to_owned(), Value::Bool(administration))];
        let new = NewRequest {
            rule: None,
            requester: name(requester),
            resource: customer.map(|id| name(&format!("Customer::{id}"))),
            context: Map::from_iter(context),
            valid_for,
            language: None,
        };
        self.review(ReviewOperation::Ask(new)).unwrap().requests.pop().unwrap()
    }

    /// Writes an entity, in Cedar's JSON format.
    pub fn write(&self, entity: &str) {
        self.write_all(&[entity.to_owned()]);
    }

    /// Writes entities together.
    pub fn write_all(&self, entities: &[String]) {
        let edit = |entity: &String| {
            let source = SourceText::new("entity.json", entity.as_str());
            let view = self.pdp.view();
            let upsert = parse_entity_text(&source.text, &source, Origin::STORE, view.snapshot().schema());
            let kind = EntityEditKind::Put(Box::new(upsert.unwrap()));
            EntityEdit { kind, precondition: Precondition::Anything }
        };
        let edits = entities.iter().map(edit).collect();
        self.commit(ProposedEdits::Entities { action: "write".into(), edits }).unwrap();
    }

    /// The request of a link, as it is now.
    pub fn request(&self, link: &str) -> AccessRequest {
        self.commits.requests().by_link(link).unwrap().unwrap()
    }

    /// Whether a partner may register devices of a customer now.
    pub fn may_register(&self, partner: &str, customer: &str) -> bool {
        let mut asked =
            mandate_pdp::Asked::new(name(partner), "registerDevice", name(&format!("Customer::{customer}")));
        let channel = if partner.starts_with("Oem") { "oem-api" } else { "partner-center-api" };
        asked.context.insert("channel".into(), channel.into());
        let context = mandate_pdp::DecisionContext::new(mandate_pdp::Transport::InProcess);
        let view = self.pdp.view();
        asked.with_question(|question| view.decide(question, &context)).unwrap().decision.is_permit()
    }

    pub fn position(&self) -> u64 {
        self.pdp.view().position().unwrap().sequence
    }
}

/// A name with its namespace.
pub fn name(short: &str) -> EntityName {
    let (entity_type, id) = short.split_once("::").unwrap();
    EntityName { entity_type: format!("Autopilot::{entity_type}"), id: id.into() }
}

impl Browser {
    /// A browser of somebody who has signed in for the demo.
    pub async fn of(house: &House, principal: &str) -> Self {
        let mut browser = Self::default();
        let answer = browser.post(house, "/sign-in", &[("as", principal)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        browser
    }

    /// A browser that sends these headers with every request.
    pub fn with(headers: Vec<(&'static str, String)>) -> Self {
        Self { headers, ..Self::default() }
    }

    pub async fn get(&mut self, house: &House, path: &str) -> Answer {
        self.send(house, Method::GET, path, String::new()).await
    }

    pub async fn post(&mut self, house: &House, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| crate::text::encode(text);
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.send(house, Method::POST, path, fields.join("&")).await
    }

    /// Sends a form of a page, with its hidden fields.
    pub async fn submit(
        &mut self,
        house: &House,
        page: &Answer,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let hidden = page.hidden_of(path);
        let mut all: Vec<(&str, &str)> =
            hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.retain(|(name, _)| fields.iter().all(|(own, _)| own != name));
        all.extend(fields);
        self.post(house, path, &all).await
    }

    pub async fn send(&mut self, house: &House, method: Method, path: &str, body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if self.headers.iter().all(|(name, _)| *name != "host") {
            request = request.header(HOST, "localhost:8080");
        }
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = house.pages.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        for line in head.headers.get_all(SET_COOKIE) {
            self.keep(line.to_str().unwrap());
        }
        Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    fn keep(&mut self, line: &str) {
        let (name, rest) = line.split_once('=').unwrap();
        let value = rest.split(';').next().unwrap();
        self.cookies.retain(|(known, _)| known != name);
        if !line.contains("Max-Age=0") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |location| location.to_str().unwrap())
    }

    /// The hidden fields of the first form that is sent to this path.
    pub fn hidden_of(&self, path: &str) -> Vec<(String, String)> {
        let Some((_, form)) = self.body.split_once(&format!("action=\"{path}\"")) else { return Vec::new() };
        let form = form.split("</form>").next().unwrap();
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        let field = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        };
        inputs.map(field).collect()
    }

    /// Its text, without tags.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in self.body.split('<').skip(1) {
            text.push_str(part.split_once('>').map_or("", |(_, text)| text));
        }
        text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
    }

    #[track_caller]
    pub fn expect(&self, status: u16, texts: &[&str]) -> &Self {
        let text = self.text();
        assert_eq!(self.status.as_u16(), status, "{text}");
        for expected in texts {
            assert!(text.contains(expected), "no `{expected}` in:\n{text}");
        }
        self
    }
}
