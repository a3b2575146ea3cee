//! AuthZEN access requests (Access Request and Approval Profile, draft 1): a denial that somebody else could turn says
//! so, and its caller can ask for that. A request is one of `mandate_pdp::review`; what its caller holds is a task
//! (`mandate_pdp::task`). Start reading at `api`; what evaluations say of it is in `offer` and `approval`.

pub mod api;
mod approval;
mod binding;
pub mod callbacks;
pub mod deliver;
pub mod issuer;
pub mod keys;
pub mod offer;
pub mod operation;
mod problem;
pub mod schema;
mod structure;
mod submission;
mod submit;
mod task_json;
