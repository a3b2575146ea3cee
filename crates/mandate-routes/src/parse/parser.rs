//! The parser of a route file, and what every part of it reads: names of headers and JSON pointers. Routes are read in `route_file`, their values in `extractors`.

use mandate_toml::{TomlReader, Value};

use crate::identity_sources::IdentitySources;
use crate::json_pointer::JsonPointer;
use mandate_core::diagnostics::Diagnostic;
use mandate_core::json::quoted;
use mandate_core::schema::Schema;

pub(super) struct RouteParser<'r> {
    pub toml: TomlReader<'r>,
    pub schema: &'r Schema,
    /// `None`: a principal may come from anywhere.
    pub identity_sources: Option<&'r IdentitySources>,
}

impl RouteParser<'_> {
    /// Reports what several routes have in common, such as their principal, only for the first of them.
    pub fn report_once(&mut self, diagnostic: Diagnostic) {
        let at = |it: &Diagnostic| it.span.as_ref().map(|span| (span.source.path.clone(), span.offset));
        let is_known = |it: &Diagnostic| it.message == diagnostic.message && at(it) == at(&diagnostic);
        if !self.toml.diagnostics.iter().any(is_known) {
            self.toml.diagnostics.push(diagnostic);
        }
    }

    /// The name of a header, in lower case.
    pub fn header(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.toml.string(value)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            self.toml.report(value.span(), format!("{} is not a valid header name", quoted(text)));
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    pub fn pointer(&mut self, value: &Value<'_>) -> Option<JsonPointer> {
        let text = self.toml.string(value)?;
        JsonPointer::parse(text).map_err(|error| self.toml.report(value.span(), error)).ok()
    }
}
