//! Has a change committed, waits for it, and records the decisions on it.

use std::time::Instant;

use mandate_core::digest::Digest;
use mandate_core::request::Request;
use mandate_pdp::proposal::{CommitResult, DecidedAction, Proposal, ProposedEdits, Refusal};
use mandate_pdp::review_operation::ReviewOperation;
use mandate_pdp::{Asked, DecisionContext, Revision, Transport, View};
use mandate_store::KeyedRequest;
use tokio::sync::oneshot;

use crate::pages::Pages;

/// Who sends changes, for the log. On whose behalf, the decision on each tells.
const CALLER: &str = "pages";

/// A change to commit.
pub struct Change {
    edits: ProposedEdits,
    /// The schema that it was read by.
    schema: Digest,
    /// Set so that it is not made twice.
    key: Option<KeyedRequest>,
    /// The question of a single action.
    asked: Option<Asked>,
}

impl Change {
    pub fn review(view: &View<'_>, operation: ReviewOperation) -> Self {
        Self::of_edits(view, ProposedEdits::Review(operation))
    }

    pub fn action(view: &View<'_>, asked: Asked, request: Request) -> Self {
        Self { asked: Some(asked), ..Self::of_edits(view, ProposedEdits::Actions(vec![request])) }
    }

    pub fn of_edits(view: &View<'_>, edits: ProposedEdits) -> Self {
        Self { edits, schema: *view.snapshot().schema().digest(), key: None, asked: None }
    }

    /// This change, made once however often it is sent.
    #[must_use]
    pub fn once(self, key: &str, asked: &[&[u8]]) -> Self {
        Self { key: Some(Proposal::key(key, asked)), ..self }
    }

    /// Commits it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn commit(self, pages: &Pages) -> CommitResult {
        let Self { edits, schema, key, asked } = self;
        let until = Instant::now() + pages.wait;
        let proposal = Proposal { caller: CALLER.to_owned(), request_id: None, key, until, schema, edits };
        let (reply, result) = oneshot::channel();
        // Whoever asked may have gone.
        pages.commits.submit(proposal, |result| drop(reply.send(result)));
        let result = match tokio::time::timeout(pages.wait, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Refusal::Unknown),
        };
        record(&pages.pdp.view(), &result, asked.as_ref());
        result
    }
}

fn record(view: &View<'_>, result: &CommitResult, asked: Option<&Asked>) {
    let (decisions, revision) = match result {
        Ok(committed) => (committed.decisions.as_slice(), &committed.revision),
        Err(Refusal::Denied { denied, revision, .. }) => (std::slice::from_ref(denied), revision),
        Err(Refusal::RequesterDenied { denied }) => (std::slice::from_ref(denied), view.revision()),
        Err(_) => return,
    };
    for decided in decisions {
        record_one(view, decided, revision, asked);
    }
}

fn record_one(view: &View<'_>, decided: &DecidedAction, revision: &Revision, asked: Option<&Asked>) {
    let context = DecisionContext::new(Transport::Changes);
    if let Some(asked) = decided.asked.as_deref().or(asked) {
        asked.with_question(|question| view.record_change((question, decided), revision, &context));
    }
}
