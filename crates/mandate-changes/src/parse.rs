//! Changes from TOML files. Everything that is wrong is reported with its place. Start reading at `change_file`;
//! whether a rule fits the schema is found in `check`.

mod change_file;
mod edits;
mod parser;
mod requests;

pub(crate) use change_file::parse_file;
pub(crate) use requests::parse_duration;
