//! Routes from TOML files. Everything that is wrong is reported with its place. A route with an error is left
//! out, and its diagnostics keep the whole content from being used. Start reading at `route_file`; conflicts
//! between routes are reported in `check`.

mod extractors;
mod parser;
mod route_file;

pub(crate) use route_file::parse_file;
