//! What is wrong in a suite file, in words for the person who writes it. The YAML library finds the mistakes and
//! their places.

use std::sync::Arc;

use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource, Location, MessageFormatter as _, UserMessageFormatter};

use mandate_core::diagnostics::{Diagnostic, SourceSpan, SourceText};
use mandate_core::suggestion::closest;

/// The error with its place.
pub(crate) fn diagnostic(error: &Error, source: &Arc<SourceText>) -> Diagnostic {
    let span = error.location().map(|location| span(location, source));
    let error = original(error);
    let diagnostic = parser_error(error).map_or_else(|| content_error(error), syntax_error);
    diagnostic.at(span.map(|span| exact_place(error, &span).unwrap_or(span)))
}

/// The place in the text, up to the end of its line.
pub(crate) fn span(location: Location, source: &Arc<SourceText>) -> SourceSpan {
    let number = |number: u64| usize::try_from(number).unwrap_or_default();
    let (line, column) = (number(location.line()), number(location.column()));
    let before: usize = source.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let text = source.text.get(before..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim_end();
    let bytes = |characters: usize| text.chars().take(characters).map(char::len_utf8).sum::<usize>();
    let start = bytes(column.saturating_sub(1));
    let end = match number(location.span().len()) {
        0 => text.len(),
        length => bytes(column.saturating_sub(1) + length),
    };
    SourceSpan::new(source, before + start, end - start)
}

/// The place of the mistake itself, where the library reports what stands beside it: the text around a tab, or
/// the key of a value.
fn exact_place(error: &Error, reported: &SourceSpan) -> Option<SourceSpan> {
    let text = &reported.source.text;
    if parser_error(error).is_some_and(is_about_tab) {
        let line = text.get(..reported.offset)?.rfind('\n').map_or(0, |end| end + 1);
        return Some(SourceSpan::new(&reported.source, line + text.get(line..)?.find('\t')?, 1));
    }
    let is_about_value = match error {
        Error::SerdeUnknownVariant { variant, .. } => text.get(reported.byte_range())? != variant,
        Error::SerdeInvalidType { .. } | Error::SerdeInvalidValue { .. } => true,
        _ => false,
    };
    let rest = text.get(reported.byte_range().end..)?.lines().next()?;
    let value = rest.strip_prefix(':').filter(|_| is_about_value)?.trim_start();
    let length = value.find([',', '}', ']', '#']).unwrap_or(value.len());
    let length = value.get(..length)?.trim_end().len();
    Some(SourceSpan::new(&reported.source, reported.byte_range().end + rest.len() - value.len(), length))
}

/// The error itself, without the alias that leads to it.
fn original(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => original(error),
        error => error,
    }
}

fn parser_error(error: &Error) -> Option<&ErrorKind> {
    match error {
        Error::UnknownAnchor { .. } => Some(&ErrorKind::UnknownAnchor),
        Error::ExternalMessage { source, .. } => match &**source {
            ExternalMessageSource::Parser(error) => Some(error.kind()),
            _ => None,
        },
        _ => None,
    }
}

fn is_about_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    )
}

/// YAML that does not hold what a suite holds.
fn content_error(error: &Error) -> Diagnostic {
    Diagnostic::error(match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            return with_proposal(format!("unknown key `{field}`"), field, expected);
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            return with_proposal(format!("`{variant}` cannot stand here"), variant, expected);
        }
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is there twice"),
        Error::SerdeInvalidType { expected, .. } if expected == "enum" => "expected a key".to_owned(),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {unexpected}")
        }
        Error::SerdeInvalidLength { len, expected, .. } => {
            format!("expected {expected}, found a length of {len}")
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            "expected keys with values, as in `key: value`".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => "expected a list, as in `[a, b]`".to_owned(),
        Error::Unexpected { expected: "string scalar", .. } => "expected a text".to_owned(),
        Error::NullIntoString { .. } => "expected a text, found nothing".to_owned(),
        Error::ExpectedMappingEndAfterEnumVariantValue { .. }
        | Error::Unexpected { expected: "mapping end", .. } => "expected one key, found a second".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a suite is one YAML document, and a second begins here".to_owned()
        }
        Error::Budget { .. } => "the file is too large, or nested too deeply".to_owned(),
        // The library may get more kinds of errors.
        other => UserMessageFormatter.format_message(other).into_owned(),
    })
}

/// Proposes the word that was most likely meant, or lists all that are possible.
fn with_proposal(message: String, word: &str, expected: &[&'static str]) -> Diagnostic {
    let proposal = closest(word, expected).map(|meant| format!("did you mean `{meant}`?"));
    let all = || format!("expected one of `{}`", expected.join("`, `"));
    Diagnostic::error(message).help(proposal.unwrap_or_else(all))
}

/// A text that is not YAML.
fn syntax_error(kind: &ErrorKind) -> Diagnostic {
    let error = |message: &str| Diagnostic::error(message);
    match kind {
        kind if is_about_tab(kind) => {
            error("there is a tab where only spaces can be").help("indent with spaces")
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidFlowScalarIndent => error("the indentation of this line fits no line above")
            .help("the keys of one entry begin in the same column, and so do the `-` of one list"),
        ErrorKind::MappingValueNotAllowed => error("there cannot be a `:` here")
            .help("check the indentation; a text with `: ` in it needs quotes"),
        ErrorKind::SimpleKeyExpected => error("a `:` is missing after this key"),
        ErrorKind::UnexpectedCharacter { character } => {
            error(&format!("a text cannot begin with `{character}`")).help("put it in quotes")
        }
        ErrorKind::UnknownAnchor => error("there is no anchor of this name above")
            .help("name a value with `&` first; a text that begins with `*` needs quotes"),
        ErrorKind::UnclosedQuotedScalar => error("this quote is not closed"),
        ErrorKind::InvalidQuotedScalarIndent => {
            error("a quoted text goes on in this line, with too little indentation")
                .help("close the quote, or indent the line")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            error("something follows the closing quote").help("is another quote above not closed?")
        }
        ErrorKind::UnknownQuotedScalarEscape => error("there is no such escape in double quotes")
            .help("write `\\\\` for a backslash, or use single quotes"),
        ErrorKind::UnclosedFlowCollection { open } => error(&format!("this `{open}` is not closed")),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            error(&format!("`{close}` cannot close `{open}`"))
        }
        ErrorKind::MisplacedFlowCollectionEnd => error("this bracket closes nothing"),
        ErrorKind::ExpectedFlowMappingSeparator => {
            error("expected `,` or `}`").help("is a `{` above not closed?")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            error("expected `,` or `]`").help("is a `[` above not closed?")
        }
        ErrorKind::RecursionLimitExceeded => error("nested too deeply"),
        // The library may get more kinds of errors.
        other => error(&format!("this is not valid YAML: {other}")),
    }
}
