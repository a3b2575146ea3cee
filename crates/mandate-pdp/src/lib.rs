//! A policy decision point on live Cedar policies and entities.
//!
//! A [`Pdp`] answers questions by the [`Generation`] in use; its one [`Publisher`] replaces that. A sidecar
//! gives the publisher to a [`reload::Reloader`], which follows folders. A program that embeds the decision
//! point calls [`Publisher::publish`] itself, and needs nothing but this crate: [`embed`] has the engine's
//! types that it meets.
//!
//! Start reading at [`decision_point`] for how a question is answered, and at [`reload`] for how content
//! comes into use.

pub mod access_request;
mod all_entities;
mod asked;
mod cache;
#[cfg(test)]
mod cache_model;
mod canonical;
mod change;
mod change_result;
mod commit_group;
mod committer;
#[cfg(test)]
mod committer_model;
#[cfg(test)]
mod committer_races;
pub mod decision_point;
mod deny_all;
mod display_name;
mod duration_histogram;
mod entity_log;
mod entity_track;
mod generation;
mod group_requests;
mod group_tasks;
mod metrics;
mod policy_track;
mod poll_loop;
pub mod proof_worker;
pub mod proposal;
mod publisher;
pub mod record;
pub mod reload;
mod report;
pub mod request_book;
mod request_changes;
pub mod requestable;
mod review;
pub mod review_operation;
mod review_rules;
pub mod staleness;
mod status;
mod status_board;
pub mod task;
pub mod task_book;
mod track;
mod trigger;
pub mod wall_clock;

pub use all_entities::AllEntities;
pub use asked::Asked;
pub use canonical::canonical_json;
pub use change::{ChangeDecision, PerformError, author_of};
pub use committer::{CommitQueue, commit_alone};
pub use decision_point::{Pdp, PdpConfig, PdpError, TimedDecision, View};
pub use display_name::display_name;
pub use generation::{Generation, Revision};
pub use mandate_store::LogPosition;
pub use metrics::register_initial_metrics;
pub use publisher::Publisher;
pub use record::{DecisionContext, DecisionId, DecisionRecord, DecisionSink, Transport};
pub use report::{InitialLoadReport, Restored};
pub use status::{ReloadStatus, Report, Status};
pub use status_board::RestoredContent;

/// What a program needs of the engine to embed the decision point.
pub mod embed {
    pub use mandate_core::Snapshot;
    pub use mandate_core::decision::{Decision, Outcome};
    pub use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
    pub use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
    pub use mandate_core::policies::Policies;
    pub use mandate_core::request::{Question, QuestionEntity};
    pub use mandate_core::schema::Schema;
    pub use mandate_core::snapshot::RequestConfig;
}
