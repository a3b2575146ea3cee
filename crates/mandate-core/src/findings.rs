//! Turns what Cedar reports about a text into faults with their place in it.

use std::sync::Arc;

use miette::Diagnostic;

use super::fault::{Fault, Faults, Place, SourceText};

/// Every error in a diagnostic: itself, or its related ones where it only gathers them.
pub fn errors(diagnostic: &dyn Diagnostic, source: &Arc<SourceText>) -> Faults {
    let mut faults = Faults::default();
    faults.push(fault(diagnostic, source));
    for related in diagnostic.related().into_iter().flatten() {
        faults.extend(errors(related, source));
    }
    faults
}

/// A diagnostic as a warning.
pub fn warning(diagnostic: &dyn Diagnostic, source: &Arc<SourceText>) -> Fault {
    Fault { severity: super::fault::Severity::Warning, ..fault(diagnostic, source) }
}

/// A diagnostic as one error: its message with its causes, its first label as the place.
pub fn fault(diagnostic: &dyn Diagnostic, source: &Arc<SourceText>) -> Fault {
    let label = diagnostic.labels().and_then(|mut labels| labels.next());
    let mut message = diagnostic.to_string();
    let mut cause = std::error::Error::source(diagnostic);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    // A label often says what was expected; that belongs to the one sentence.
    if let Some(label) = label.as_ref().and_then(|label| label.label()) {
        message = format!("{message}, {label}");
    }
    let place = label.map(|label| Place::new(source, label.offset(), label.len()));
    let fault = Fault::error(message).at(place);
    match diagnostic.help() {
        Some(help) => fault.help(help.to_string()),
        None => fault,
    }
}
