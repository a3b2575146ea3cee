//! Changes: which action makes which edits of entities, once the policies permit it. They are content like
//! policies: parsed from files, checked against the schema, part of a generation. Whether an action is permitted
//! is not decided here, and nothing is written: [`Change::edits`] only computes. Start reading at `change`;
//! `parse` reads the files, `check` holds them to the schema.

mod change;
mod change_difference;
mod change_error;
mod changes;
mod check;
mod edit;
mod expression;
mod memberships;
mod parse;
mod request_rule;
mod texts;
mod value_source;
mod working_entities;

pub use change::Change;
pub use change_error::ChangeError;
pub use changes::Changes;
pub use memberships::{Membership, Memberships};
pub use request_rule::{RequestRule, Seconds};
pub use texts::{Placeholders, Texts, fill};
pub use working_entities::Edits;

/// A time such as `30d`, `12h`, `15m` or `20s`, of at most about 10 years; `None` for other texts.
pub fn parse_duration(text: &str) -> Option<Seconds> {
    parse::parse_duration(text)
}
