//! Formats policy files with Cedar's own formatter, and checks that policies and comments stay the same.
//! Files are read and written in `src/cli/fmt.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::PolicySet;
use cedar_policy_formatter::{Config, policies_str_to_pretty};

use mandate_core::cedar_diagnostics;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::text_limits;

/// Cedar's own default, so that editors and Cedar's tools format the same way.
const CEDAR_DEFAULTS: Config = Config { line_width: 80, indent_width: 2 };

/// The formatted text. A text without policies stays as it is.
///
/// # Errors
/// The text does not parse, or formatting would change a policy or lose a comment.
pub fn format_policies(source: &Arc<SourceText>) -> Result<String, Diagnostics> {
    text_limits::check_policies(source).into_result()?;
    let before: PolicySet =
        source.text.parse().map_err(|errors| cedar_diagnostics::errors(&errors, source))?;
    if before.is_empty() {
        return Ok(source.text.clone());
    }
    let (header, policies) = split_header(&source.text);
    let mut text = header.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
    text += if header.is_empty() { "" } else { "\n" };
    text += &policies_str_to_pretty(policies, &CEDAR_DEFAULTS)
        .map_err(|error| formatter_error(source, &format!("{error:#}")))?;
    if !same_policies(&before, &text) {
        return Err(formatter_error(source, "the formatted policies would not mean the same"));
    }
    let lost = lost_comments(source, &text);
    if lost.is_empty() { Ok(text) } else { Err(lost) }
}

/// A defect of the formatter, so there is no span to show.
fn formatter_error(source: &SourceText, why: &str) -> Diagnostics {
    let diagnostic = Diagnostic::error(format!("cannot format `{}`: {why}", source.path));
    diagnostic.help("the file is not changed").into()
}

/// Splits off the comments at the top that an empty line separates from the first policy. The formatter would
/// join them with the policy's own comments.
fn split_header(text: &str) -> (&str, &str) {
    let (mut at, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        match line.trim() {
            "" => end = at,
            comment if comment.starts_with("//") => {}
            _ => break,
        }
        at += line.len();
    }
    let (header, policies) = text.split_at_checked(end).unwrap_or(("", text));
    (header.trim(), policies)
}

/// Whether the text has the same policies, compared in Cedar's JSON format, which has no layout.
fn same_policies(before: &PolicySet, text: &str) -> bool {
    let after = text.parse::<PolicySet>().ok().and_then(|after| after.to_json().ok());
    after.is_some() && after == before.clone().to_json().ok()
}

/// The comments that are missing in the formatted text, such as one after a comma that the formatter drops.
fn lost_comments(source: &Arc<SourceText>, text: &str) -> Diagnostics {
    let mut kept: HashMap<&str, usize> = HashMap::new();
    for (_, comment) in text_limits::comments(text) {
        *kept.entry(comment.trim_end()).or_default() += 1;
    }
    let mut diagnostics = Diagnostics::default();
    for (offset, comment) in text_limits::comments(&source.text) {
        match kept.get_mut(comment.trim_end()) {
            Some(left @ 1..) => *left -= 1,
            _ => diagnostics.push(
                Diagnostic::error("this comment would be lost, so the file is not formatted")
                    .help("move the comment to a line of its own, above the code that it explains")
                    .at(SourceSpan::new(source, offset, comment.len())),
            ),
        }
    }
    diagnostics
}
