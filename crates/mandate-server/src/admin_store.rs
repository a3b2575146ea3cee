//! The store, for operators: all entities, the log as it grows, edits, and checks. `mandate entities --admin` asks here.
//! What it shows is sensitive, and what it takes is not decided by policies, so it needs a unix socket or a caller that
//! authenticates.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{oneshot, watch};

use crate::changes::problem::Problem;
use crate::listen::authentication::Caller;
use crate::position;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::display;
use mandate_core::entities::{LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;
use mandate_pdp::proposal::{EntityEdit, EntityEditKind, Precondition, Proposal, ProposedEdits, Refusal};
use mandate_pdp::{AllEntities, CommitQueue, LogPosition, Pdp};
use mandate_store::{Edit, Store, StoreError, Transaction};

/// The longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// Parts of a long answer are sent when they have about so many bytes.
const PART_BYTES: usize = 64 * 1024;

/// How often a line is sent to somebody who follows the log, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The store that a sidecar serves, as its operators reach it.
#[derive(Clone)]
pub struct StoreAdmin {
    pub store: Arc<Store>,
    pub commits: CommitQueue,
    pub pdp: Pdp,
    /// Whether everybody who can reach the address is an operator: it is a unix socket.
    pub trusts_everybody: bool,
    /// How long edits wait at most to be committed.
    pub wait: Duration,
    /// Becomes true when the program ends.
    pub stopping: watch::Receiver<bool>,
}

/// Files of entities to put.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutRequest {
    /// What the log calls it, such as `import`.
    pub action: String,
    pub files: Vec<EntityFile>,
}

/// A file of entities. Its name ends in `.ndjson` if it has one entity a line.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntityFile {
    pub name: String,
    pub text: String,
}

/// Entities to delete.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Such as `Customer::contoso`.
    pub entities: Vec<String>,
}

/// A transaction of the log, with its edits.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogEntry {
    #[serde(flatten)]
    pub transaction: Transaction,
    pub changes: Vec<Edit>,
}

/// Where something was committed.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenAt {
    pub position: String,
    /// Whether anything was to be changed.
    pub changed: bool,
}

/// The paths of the store.
pub fn router(store: StoreAdmin) -> Router {
    Router::new()
        .route("/store/v1/entities", get(export))
        .route("/store/v1/entity", get(entity))
        .route("/store/v1/put", post(put))
        .route("/store/v1/delete", post(delete))
        .route("/store/v1/log", get(log))
        .route("/store/v1/verify", post(verify))
        .route("/store/v1/compact", post(compact))
        .with_state(store)
}

impl StoreAdmin {
    /// The name of an operator.
    fn operator(&self, caller: Option<&Caller>) -> Result<String, Problem> {
        match caller {
            Some(Caller(name)) => Ok(name.to_string()),
            None if self.trusts_everybody => Ok("admin socket".to_owned()),
            None => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this address does not authenticate callers, so it does not give access to the store: use a unix socket as `--admin-listen`, or `tokens` in `[admin]`",
            )),
        }
    }

    async fn commit(
        &self,
        (caller, action): (String, &str),
        edits: Vec<EntityEdit>,
        schema: &Schema,
    ) -> Result<Response, Problem> {
        let before = self.pdp.view().position();
        let proposal = Proposal {
            caller,
            request_id: None,
            key: None,
            until: Instant::now() + self.wait,
            schema: *schema.digest(),
            edits: ProposedEdits::Entities { action: action.to_owned(), edits },
        };
        let (reply, result) = oneshot::channel();
        self.commits.submit(proposal, |result| drop(reply.send(result)));
        let committed = result.await.unwrap_or(Err(Refusal::Unknown));
        let committed = committed.map_err(|refusal| Problem::of_refusal(&refusal, false))?;
        let (position, changed) = (committed.position.to_string(), Some(committed.position) != before);
        Ok(json(&WrittenAt { position, changed }))
    }
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).unwrap_or_default() + "\n";
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

fn failed(error: &StoreError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.response().map(Body::new)
    }
}

async fn export(State(admin): State<StoreAdmin>, request: Request) -> Result<Response, Problem> {
    admin.operator(request.extensions().get())?;
    let (sender, body) = Channel::new(4);
    // All entities of one position; they change meanwhile, and this does not.
    let entities = admin.pdp.all_entities();
    let position = entities.position();
    tokio::spawn(send_entities(entities, Answering::new(sender)));
    let mut response = ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response();
    position::insert(response.headers_mut(), position);
    Ok(response)
}

async fn send_entities(entities: AllEntities, mut answer: Answering) {
    let mut part = String::new();
    for text in entities.texts() {
        part.push_str(&text);
        part.push('\n');
        if part.len() >= PART_BYTES && !answer.send(std::mem::take(&mut part)).await {
            return;
        }
    }
    if answer.send(part).await {
        answer.finish();
    }
}

/// A long answer. One that is dropped before its end is broken off, so that nobody takes it for a whole one.
struct Answering(Option<Sender<Bytes, io::Error>>);

impl Answering {
    fn new(sender: Sender<Bytes, io::Error>) -> Self {
        Self(Some(sender))
    }

    /// Sends a part. Returns whether anybody reads.
    async fn send(&mut self, part: String) -> bool {
        match &mut self.0 {
            Some(sender) => sender.send_data(Bytes::from(part)).await.is_ok(),
            None => false,
        }
    }

    /// Ends the answer.
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            sender.abort(io::Error::other("the answer was not finished"));
        }
    }
}

#[derive(Deserialize)]
struct EntityQuery {
    name: String,
}

async fn entity(
    State(admin): State<StoreAdmin>,
    Query(EntityQuery { name }): Query<EntityQuery>,
    request: Request,
) -> Result<Response, Problem> {
    admin.operator(request.extensions().get())?;
    let name = {
        let view = admin.pdp.view();
        let schema = view.snapshot().schema();
        let uid =
            display::parse_uid(&name, schema).map_err(|error| Problem::bad_request(error.to_string()))?;
        mandate_store::EntityName::new(uid.as_uid_ref(), schema)
    };
    let found = tokio::task::block_in_place(|| admin.store.entity(&name)).map_err(|error| failed(&error))?;
    let found = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the entity is not in the store"))?;
    Ok(([(CONTENT_TYPE, "application/json")], found.text + "\n").into_response())
}

async fn read_body<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        Problem::bad_request(format!(
            "the body is longer than {MAX_BODY_BYTES} bytes, or did not arrive: stop the sidecar, and work on the file"
        ))
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))
}

async fn put(State(admin): State<StoreAdmin>, request: Request) -> Result<Response, Problem> {
    let caller = admin.operator(request.extensions().get())?;
    let PutRequest { action, files } = read_body(request.into_body()).await?;
    let policies = Arc::clone(admin.pdp.view().snapshot().policies());
    let edits = tokio::task::block_in_place(|| read_files(files, policies.schema()));
    let edits = edits.map_err(|found| {
        Problem::of_diagnostics(StatusCode::BAD_REQUEST, "the entities do not fit the schema", &found)
    })?;
    admin.commit((caller, &action), edits, policies.schema()).await
}

fn read_files(files: Vec<EntityFile>, schema: &Schema) -> Result<Vec<EntityEdit>, Diagnostics> {
    let (mut edits, mut wrong) = (Vec::new(), Diagnostics::default());
    for EntityFile { name, text } in files {
        let source = SourceText::new(name, text);
        match parse_entity_file(&source, Origin::STORE, schema, &LoadProgress::default()) {
            Ok(upserts) => edits.extend(upserts.into_iter().map(|upsert| EntityEdit {
                kind: EntityEditKind::Put(Box::new(upsert)),
                precondition: Precondition::Anything,
            })),
            Err(found) => wrong.extend(found),
        }
    }
    wrong.into_result().map(|_| edits)
}

async fn delete(State(admin): State<StoreAdmin>, request: Request) -> Result<Response, Problem> {
    let caller = admin.operator(request.extensions().get())?;
    let DeleteRequest { entities } = read_body(request.into_body()).await?;
    let policies = Arc::clone(admin.pdp.view().snapshot().policies());
    let edits = entities.iter().map(|name| {
        let uid = display::parse_uid(name, policies.schema());
        let uid = uid.map_err(|error| Problem::bad_request(error.to_string()))?;
        Ok(EntityEdit { kind: EntityEditKind::Delete(uid), precondition: Precondition::Anything })
    });
    let edits = edits.collect::<Result<Vec<_>, Problem>>()?;
    admin.commit((caller, "delete"), edits, policies.schema()).await
}

#[derive(Deserialize)]
struct LogQuery {
    #[serde(default)]
    after: u64,
    limit: Option<u64>,
    /// Whether to go on with what is committed from now on.
    #[serde(default)]
    follow: bool,
}

async fn log(
    State(admin): State<StoreAdmin>,
    Query(query): Query<LogQuery>,
    request: Request,
) -> Result<Response, Problem> {
    admin.operator(request.extensions().get())?;
    let (sender, body) = Channel::new(4);
    tokio::spawn(send_log(admin, query, Answering::new(sender)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response())
}

/// Sends transactions, one a line, until nobody reads them, the program ends, or there are no more.
async fn send_log(mut admin: StoreAdmin, query: LogQuery, mut answer: Answering) {
    let (mut after, mut left) = (query.after, query.limit.unwrap_or(u64::MAX));
    while left > 0 {
        let found = tokio::task::block_in_place(|| entry_after(&admin.store, after));
        let line = match found {
            Ok(Some(entry)) => {
                (after, left) = (entry.transaction.sequence, left - 1);
                serde_json::to_string(&entry).unwrap_or_default() + "\n"
            }
            Ok(None) if query.follow => {
                let Some(at) = admin.pdp.view().position() else { break };
                let next = LogPosition { sequence: at.sequence.max(after).saturating_add(1), ..at };
                tokio::select! {
                    () = admin.pdp.reach(next) => continue,
                    () = tokio::time::sleep(HEARTBEAT) => "\n".to_owned(),
                    _ = admin.stopping.wait_for(|stopping| *stopping) => break,
                }
            }
            Ok(None) => break,
            Err(error) => return tracing::warn!(%error, "the log cannot be read"),
        };
        if !answer.send(line).await {
            return;
        }
    }
    answer.finish();
}

fn entry_after(store: &Store, sequence: u64) -> Result<Option<LogEntry>, StoreError> {
    let Some(transaction) = store.transaction_after(sequence)? else { return Ok(None) };
    let mut changes = Vec::new();
    store.each_edit(transaction.sequence, |edit| changes.push(edit))?;
    Ok(Some(LogEntry { transaction, changes }))
}

async fn verify(State(admin): State<StoreAdmin>, request: Request) -> Result<Response, Problem> {
    admin.operator(request.extensions().get())?;
    let verified =
        tokio::task::block_in_place(|| admin.store.verify_log()).map_err(|error| failed(&error))?;
    let (errors, verified) = match verified {
        Ok(verified) => (Vec::new(), Some(verified)),
        Err(errors) => (errors.iter().map(ToString::to_string).collect(), None),
    };
    Ok(json(&json!({
        "errors": errors,
        "transactions": verified.as_ref().map(|it| it.transactions),
        "entities": verified.as_ref().map(|it| it.entities),
        "head": verified.as_ref().map(|it| format!("{}={}", it.head.position(), it.head.hash)),
    })))
}

#[derive(Deserialize)]
struct CompactQuery {
    #[serde(default)]
    keep: u64,
}

async fn compact(
    State(admin): State<StoreAdmin>,
    Query(CompactQuery { keep }): Query<CompactQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = admin.operator(request.extensions().get())?;
    let compact = || {
        let head = admin.store.head()?;
        admin.store.forget_until(head.sequence.saturating_sub(keep))?;
        Ok((head.position(), head.sequence - admin.store.base()?.sequence))
    };
    let compacted = tokio::task::block_in_place(compact).map_err(|error: StoreError| failed(&error))?;
    let (position, kept) = compacted;
    tracing::info!(caller, %position, kept, "the oldest transactions were forgotten");
    Ok(json(&json!({ "position": position.to_string(), "kept": kept })))
}
