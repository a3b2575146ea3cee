//! Output of the commands: errors and diagnostics with excerpts for people, or as GitHub annotations. What is
//! wrong is found elsewhere.

use std::fmt::{self, Write as _};
use std::io::{self, Write, stderr};

use miette::{
    Diagnostic as MietteDiagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan as MietteSpan, SpanContents,
};
use serde::Serialize;

use crate::config::colour;
use crate::error::CliError;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, Severity, SourceSpan, SourceText};

/// Lines longer than this are not shown as excerpts: they are data.
const MAX_EXCERPT_LINE: usize = 400;

/// Prints why a command failed to standard error.
pub fn print_error(failure: &CliError) {
    let text = match failure {
        CliError::Diagnostics(diagnostics) => render_text(diagnostics, colour(&stderr())),
        CliError::File { .. }
        | CliError::System { .. }
        | CliError::SolverNotFound(_)
        | CliError::Solver(_)
        | CliError::Json(_)
        | CliError::Message(_) => format!("error: {failure}\n"),
        CliError::Denied(_) => format!("{failure}\n"),
    };
    // If standard error is closed, the error cannot be reported.
    let _ = stderr().write_all(text.as_bytes());
}

/// Diagnostics with excerpts of their source texts, and a last line that counts them.
pub fn render_text(diagnostics: &Diagnostics, colour: bool) -> String {
    let handler = handler(colour);
    let mut text = String::new();
    for diagnostic in diagnostics.iter() {
        if handler.render_report(&mut text, &MietteReport::new(diagnostic)).is_err() {
            let _ = writeln!(text, "{diagnostic}");
        }
        if let Some(span) = diagnostic.span.as_ref().filter(|span| !has_short_line(span)) {
            let (line, column) = span.line_column();
            let _ = writeln!(text, "   at {}:{line}:{column}\n", span.source.path);
        }
    }
    if diagnostics.omitted() > 0 {
        let _ = writeln!(text, "… and {} more", diagnostics.omitted());
    }
    let (errors, warnings) = (diagnostics.error_count(), diagnostics.len() - diagnostics.error_count());
    let _ = writeln!(text, "{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    text
}

/// The renderer of excerpts.
pub fn handler(colour: bool) -> GraphicalReportHandler {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    GraphicalReportHandler::new_themed(theme).with_links(false).with_context_lines(1)
}

/// Diagnostics as GitHub annotations, one per line.
pub fn render_github(diagnostics: &Diagnostics) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics.iter() {
        let level = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let span = diagnostic.span.as_ref().map_or_else(String::new, |span| {
            let (line, column) = span.line_column();
            format!(" file={},line={line},col={column}", escape_property(&span.source.path))
        });
        let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        let _ = writeln!(text, "::{level}{span}::{}", escape_data(&format!("{}{help}", diagnostic.message)));
    }
    text
}

/// Escapes the characters that would end the message of an annotation.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the characters that would end a property of an annotation.
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

/// Escapes text so that Markdown shows it literally.
pub fn escape_markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '\n' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Writes to standard output. A closed pipe is not an error.
pub fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::system("cannot write to standard output")),
    }
}

/// Writes a JSON document to standard output.
pub fn print_json(json: &impl Serialize) -> Result<(), CliError> {
    print(&(serde_json::to_string_pretty(json)? + "\n"))
}

/// A diagnostic, as miette's renderer takes it.
struct MietteReport<'a> {
    diagnostic: &'a Diagnostic,
    /// The text of the excerpt; `None` if the line is too long to show.
    text: Option<NamedText<'a>>,
}

impl<'a> MietteReport<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        let span = diagnostic.span.as_ref().filter(|span| has_short_line(span));
        Self { diagnostic, text: span.map(|span| NamedText(&span.source)) }
    }
}

impl fmt::Debug for MietteReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for MietteReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for MietteReport<'_> {}

impl MietteDiagnostic for MietteReport<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.diagnostic.span.as_ref().filter(|_| self.text.is_some())?;
        let (offset, length) = first_line(span);
        Some(Box::new(std::iter::once(LabeledSpan::new(None, offset, length))))
    }
}

/// Offset and length of a span's first line: miette would print every line of a longer span.
pub fn first_line(span: &SourceSpan) -> (usize, usize) {
    let text = span.source.text.get(span.byte_range()).unwrap_or_default();
    (span.offset, text.lines().next().map_or(0, str::len))
}

fn has_short_line(span: &SourceSpan) -> bool {
    let text = &span.source.text;
    let start = text.get(..span.offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end =
        text.get(span.offset..).and_then(|after| after.find('\n')).map_or(text.len(), |at| span.offset + at);
    end - start <= MAX_EXCERPT_LINE
}

/// A source text with its path, borrowed.
pub struct NamedText<'a>(pub &'a SourceText);

impl SourceCode for NamedText<'_> {
    fn read_span<'a>(
        &'a self,
        span: &MietteSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.0.text.read_span(span, before, after)?;
        // miette counts bytes; columns count characters.
        let before_span = span.offset().checked_sub(read.column()).map(|start| start..span.offset());
        let before_span = before_span.and_then(|range| self.0.text.get(range));
        let column = before_span.map_or(read.column(), |text| text.chars().count());
        let (line, lines) = (read.line(), read.line_count());
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
