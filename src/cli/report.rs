//! Shows faults: to people with the text they are in, to machines as data.

use std::fmt::{self, Write as _};
use std::io::{self, Write, stderr};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

use crate::config::colour;
use crate::error::CliError;
use mandate_core::fault::{Fault, Faults, Place, Severity, SourceText};

/// A line longer than this is not shown as an excerpt: it is data, not a text that people read.
const MAX_EXCERPT_LINE: usize = 400;

/// Shows why a verb failed, on standard error.
pub fn print_error(failure: &CliError) {
    let text = match failure {
        CliError::Faults(faults) => render_text(faults, colour(&stderr())),
        CliError::Message(message) => format!("error: {message}\n"),
    };
    // There is nowhere left to complain.
    let _ = stderr().write_all(text.as_bytes());
}

/// Faults with excerpts of the texts they are in, and a closing line that counts them.
pub fn render_text(faults: &Faults, colour: bool) -> String {
    let handler = handler(colour);
    let mut text = String::new();
    for fault in faults.iter() {
        if handler.render_report(&mut text, &MietteReport::new(fault)).is_err() {
            let _ = writeln!(text, "{fault}");
        }
        if let Some(place) = fault.place.as_ref().filter(|place| !has_short_line(place)) {
            let (line, column) = place.line_column();
            let _ = writeln!(text, "   at {}:{line}:{column}\n", place.source.path);
        }
    }
    if faults.omitted() > 0 {
        let _ = writeln!(text, "… and {} more", faults.omitted());
    }
    let (errors, warnings) = (faults.error_count(), faults.len() - faults.error_count());
    let _ = writeln!(text, "{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    text
}

/// Renders excerpts of texts.
pub fn handler(colour: bool) -> GraphicalReportHandler {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    GraphicalReportHandler::new_themed(theme).with_links(false).with_context_lines(1)
}

/// Faults as GitHub's annotations, a line each.
pub fn render_github(faults: &Faults) -> String {
    let mut text = String::new();
    for fault in faults.iter() {
        let level = match fault.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = fault.place.as_ref().map_or_else(String::new, |place| {
            let (line, column) = place.line_column();
            format!(" file={},line={line},col={column}", escape_property(&place.source.path))
        });
        let help = fault.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        let _ = writeln!(text, "::{level}{place}::{}", escape_data(&format!("{}{help}", fault.message)));
    }
    text
}

/// Escapes what would end an annotation's message.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes what would end an annotation's property.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

pub fn counted(n: usize, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    };
    if n == 1 { format!("1 {what}") } else { format!("{n} {plural}") }
}

/// Writes to standard output. A reader that went away is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| CliError::with_cause("cannot write to standard output", &error)),
    }
}

/// A fault in the form that the graphical renderer takes.
struct MietteReport<'a> {
    fault: &'a Fault,
    /// The text to show an excerpt of, if it is one that people read.
    text: Option<NamedText<'a>>,
}

impl<'a> MietteReport<'a> {
    fn new(fault: &'a Fault) -> Self {
        let place = fault.place.as_ref().filter(|place| has_short_line(place));
        Self { fault, text: place.map(|place| NamedText(&place.source)) }
    }
}

impl fmt::Debug for MietteReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.fault, f)
    }
}

impl fmt::Display for MietteReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.message)
    }
}

impl std::error::Error for MietteReport<'_> {}

impl Diagnostic for MietteReport<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.fault.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.fault.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.fault.place.as_ref().filter(|_| self.text.is_some())?;
        let (offset, length) = first_line(place);
        Some(Box::new(std::iter::once(LabeledSpan::new(None, offset, length))))
    }
}

/// Offset and length of a place's first line: a span over many would show them all, and it says where.
pub fn first_line(place: &Place) -> (usize, usize) {
    let text = place.source.text.get(place.span()).unwrap_or_default();
    (place.offset, text.lines().next().map_or(0, str::len))
}

fn has_short_line(place: &Place) -> bool {
    let text = &place.source.text;
    let start = text.get(..place.offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text
        .get(place.offset..)
        .and_then(|after| after.find('\n'))
        .map_or(text.len(), |at| place.offset + at);
    end - start <= MAX_EXCERPT_LINE
}

/// A source text under its path, without a copy.
pub struct NamedText<'a>(pub &'a SourceText);

impl SourceCode for NamedText<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.0.text.read_span(span, before, after)?;
        let (line, column, lines) = (read.line(), read.column(), read.line_count());
        let named = MietteSpanContents::new_named(
            self.0.path.clone(),
            read.data(),
            *read.span(),
            line,
            column,
            lines,
        );
        Ok(Box::new(named))
    }
}
