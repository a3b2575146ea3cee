//! Lint: finds policies, entity types and actions that have no effect, and annotations that are missing. An
//! author accepts a finding with the annotation `@allow` on the policy. A finding never keeps policies from
//! being served. This file only names the parts: the rules are in `rule`; start at `run`.

mod annotations;
mod finding;
mod rule;
mod run;
mod solver_rules;
mod unused;

pub use finding::Finding;
pub use rule::{AnnotationRule, Rule, SchemaRule, SolverRule};
pub use run::lint;
