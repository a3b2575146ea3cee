//! Turns what Cedar reports about a text into diagnostics with their place in it.

use std::sync::Arc;

use miette::Diagnostic as MietteDiagnostic;

use super::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

/// Every error in a reported: itself, or its related ones where it only gathers them.
pub fn errors(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(error(reported, source));
    for related in reported.related().into_iter().flatten() {
        diagnostics.extend(errors(related, source));
    }
    diagnostics
}

/// A reported as a warning.
pub fn warning(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostic {
    Diagnostic { severity: super::diagnostics::Severity::Warning, ..error(reported, source) }
}

/// A reported as one error: its message with its causes, its first label as the place.
pub fn error(reported: &dyn MietteDiagnostic, source: &Arc<SourceText>) -> Diagnostic {
    let label = reported.labels().and_then(|mut labels| labels.next());
    let mut message = reported.to_string();
    let mut cause = std::error::Error::source(reported);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    // A label often says what was expected; that belongs to the one sentence.
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
