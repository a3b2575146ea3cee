//! Where `mandate consent` works: on the file of a store, or through a sidecar that serves it. Both give the same JSON
//! documents, those of `/links/v1`.

#![allow(rustdoc::bare_urls, reason = "doc comments of options are help texts, shown as they stand")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::sidecar::{Sidecar, query_value};
use crate::cli::store_editor::StoreEditor;
use crate::config::PolicyArguments;
use crate::error::CliError;
use mandate_pdp::proposal::{CommitResult, Proposal, ProposedEdits, Refusal};
use mandate_pdp::request_book::RequestBook;
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::{Generation, Pdp, PdpConfig, Publisher, commit_alone, wall_clock};
use mandate_server::changes::link_body::{self, AskBody, ManageBody, ReviewBody};
use mandate_server::changes::link_json::{request_json, shown};
use mandate_server::listen::address::Address;
use mandate_store::{Store, TransactionLog};

#[derive(Args)]
pub struct TargetArgument {
    /// The file of the store, which no sidecar serves meanwhile
    #[arg(long, env = "MANDATE_STORE", value_name = "FILE", required_unless_present = "sidecar")]
    store: Option<PathBuf>,
    /// Ask the sidecar that serves the store, at its decision address: HOST:PORT or unix:PATH
    #[arg(long, env = "MANDATE_SIDECAR", value_name = "ADDR")]
    sidecar: Option<Address>,
    /// The file of the token of a caller that the sidecar has in --change-callers
    #[arg(long, env = "MANDATE_TOKEN", value_name = "FILE", requires = "sidecar")]
    token: Option<PathBuf>,
    /// The base URL of the pages, which links begin with, such as https://consent.example.com; a sidecar knows its own
    #[arg(long, env = "MANDATE_PAGES_URL", value_name = "URL")]
    pages_url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    policies: PolicyArguments,
}

/// A store, or the sidecar that serves it.
pub enum Target {
    Sidecar(Sidecar),
    File(Box<File>),
}

/// The file of a store, with a decision point on its entities.
pub struct File {
    store: Arc<Store>,
    generation: Generation,
    pdp: Pdp,
    /// It holds the generation in use.
    _publisher: Publisher,
    pages_url: Option<String>,
}

impl TargetArgument {
    /// # Errors
    /// The store or the token cannot be used.
    pub fn open(&self) -> Result<Target, CliError> {
        if let Some(address) = &self.sidecar {
            return Ok(Target::Sidecar(Sidecar::new(address.clone(), self.token.as_ref())?));
        }
        let Some(path) = &self.store else {
            return Err(CliError::message("name the store with `--store`, or a sidecar with `--sidecar`"));
        };
        let policies = self.policies.clone().load()?;
        let editor = StoreEditor::open_file(path, &policies)?;
        let position = editor.position();
        let generation = Generation::new(editor.snapshot.clone(), policies.routes, policies.changes);
        let generation = generation.with_position(Some(position));
        let (pdp, publisher) = Pdp::new(generation.clone(), PdpConfig::default());
        let pages_url = self.pages_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Target::File(Box::new(File {
            store: editor.store(),
            generation,
            pdp,
            _publisher: publisher,
            pages_url,
        })))
    }
}

impl Target {
    pub fn ask(&self, body: AskBody) -> Result<Value, CliError> {
        match self {
            Self::Sidecar(sidecar) => sidecar.post("/links/v1", &body),
            Self::File(file) => {
                let operation = body.operation(&file.pdp.view()).map_err(CliError::message)?;
                file.review(operation)
            }
        }
    }

    pub fn review(&self, link: &str, verb: &str, body: ReviewBody) -> Result<Value, CliError> {
        match self {
            Self::Sidecar(sidecar) => sidecar.post(&format!("/links/v1/{}/{verb}", query_value(link)), &body),
            Self::File(file) => {
                let operation = body.operation(&file.pdp.view(), link, verb).map_err(CliError::message)?;
                let unknown = || CliError::message(format!("a request cannot be reviewed by `{verb}`"));
                file.review(operation.ok_or_else(unknown)?)
            }
        }
    }

    pub fn show(&self, link: &str) -> Result<Value, CliError> {
        let unknown = || CliError::message("no request has this link");
        match self {
            Self::Sidecar(sidecar) => {
                let found = sidecar.get(&format!("/links/v1/{}", query_value(link)))?.ok_or_else(unknown)?;
                Ok(serde_json::from_str(&found)?)
            }
            Self::File(file) => {
                let found = file.requests().by_link(link).map_err(CliError::message)?.ok_or_else(unknown)?;
                Ok(shown((&file.pdp.view(), file.pages_url.as_deref()), &found, None))
            }
        }
    }

    pub fn list(&self, requester: &str) -> Result<Value, CliError> {
        match self {
            Self::Sidecar(sidecar) => {
                let path = format!("/links/v1?requester={}", query_value(requester));
                Ok(serde_json::from_str(&sidecar.get(&path)?.unwrap_or_default())?)
            }
            Self::File(file) => {
                let requester = link_body::named(&file.pdp.view(), requester).map_err(CliError::message)?;
                let found =
                    file.requests().of_requester(&requester, usize::MAX).map_err(CliError::message)?;
                let now = wall_clock::now();
                let found: Vec<Value> = found.iter().map(|it| request_json(it, now)).collect();
                Ok(json!({ "requests": found }))
            }
        }
    }

    pub fn manage(&self, body: ManageBody) -> Result<Value, CliError> {
        match self {
            Self::Sidecar(sidecar) => sidecar.post("/links/v1/manage", &body),
            Self::File(file) => {
                let action = {
                    let view = file.pdp.view();
                    let asked = body.asked(&view).map_err(CliError::message)?;
                    view.asked_request(&asked).map_err(CliError::message)?
                };
                let committed =
                    file.commit(ProposedEdits::Actions(vec![action])).map_err(|refusal| refused(&refusal))?;
                Ok(json!({ "context": { "position": committed.position.to_string() } }))
            }
        }
    }
}

impl File {
    fn requests(&self) -> RequestBook {
        RequestBook::new(Arc::clone(&self.store) as Arc<dyn TransactionLog>)
    }

    fn review(&self, operation: ReviewOperation) -> Result<Value, CliError> {
        let committed = self.commit(ProposedEdits::Review(operation)).map_err(|refusal| refused(&refusal))?;
        let nothing = || CliError::message("the request was made, and cannot be shown");
        let request = committed.requests.last().ok_or_else(nothing)?;
        Ok(shown((&self.pdp.view(), self.pages_url.as_deref()), request, Some(&committed)))
    }

    fn commit(&self, edits: ProposedEdits) -> CommitResult {
        let proposal = Proposal {
            caller: format!("uid {}", rustix::process::getuid().as_raw()),
            request_id: None,
            key: None,
            until: Instant::now() + Duration::from_mins(1),
            schema: *self.generation.snapshot().schema().digest(),
            edits,
        };
        commit_alone(&*self.store, &self.generation, &proposal)
    }
}

fn refused(refusal: &Refusal) -> CliError {
    match refusal {
        Refusal::Denied { denied, .. } => CliError::denial(denied.decision.reason()),
        Refusal::RequesterDenied { denied } => {
            CliError::denial(format!("{refusal}: {}", denied.decision.reason()))
        }
        refusal => CliError::message(refusal),
    }
}
