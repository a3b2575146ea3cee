//! Converts Cedar's reports about a text to diagnostics with spans. It finds no errors itself; see
//! `diagnostics.rs`.

use std::sync::Arc;

use miette::Diagnostic as MietteDiagnostic;

use super::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

/// All errors in a report from Cedar: the report itself and its related errors.
pub fn errors(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(error(reported, source));
    for related in reported.related().into_iter().flatten() {
        diagnostics.extend(errors(related, source));
    }
    diagnostics
}

/// Converts a report from Cedar to a warning.
pub fn warning(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostic {
    Diagnostic { severity: super::diagnostics::Severity::Warning, ..error(reported, source) }
}

/// Converts a report from Cedar to one error: message and causes become the message, the first label becomes
/// the span.
pub fn error(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostic {
    let label = reported.labels().and_then(|mut labels| labels.next());
    let mut message = reported.to_string();
    let mut cause = std::error::Error::source(reported);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    // A label often says what was expected, so it joins the message.
    if let Some(label) = label.as_ref().and_then(|label| label.label()) {
        message = format!("{message}, {label}");
    }
    let span = label.map(|label| SourceSpan::new(source, label.offset(), label.len()));
    let diagnostic = Diagnostic::error(message).at(span);
    match reported.help() {
        Some(help) => diagnostic.help(help.to_string()),
        None => diagnostic,
    }
}
