//! Limits on policy and schema texts, checked before Cedar parses them. Cedar's parser and validator recurse:
//! a deeply nested text would overflow the stack and end the process. The limit on common types is in
//! `schema/expansion.rs`.

use std::sync::Arc;

use super::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

/// How deep brackets may nest.
const MAX_NESTING: usize = 48;
/// How many operators, clauses and brackets one policy may have: a chain nests as deep as it is long.
const MAX_OPERATORS: usize = 2_000;
/// How many attributes in a row: the validator's work for `has a.b.c` grows with their cube.
const MAX_ATTRIBUTE_CHAIN: usize = 16;
/// How many `if`s one policy may have: the validator's work doubles with each nested one.
const MAX_IFS: usize = 12;

/// Reports what is too deep or too long in a policy file.
pub fn check_policies(source: &Arc<SourceText>) -> Diagnostics {
    Scanner::new(source, "([{", ")]}").run()
}

/// Reports what is too deep in a schema, where angle brackets nest as well.
pub fn check_schema(source: &Arc<SourceText>) -> Diagnostics {
    Scanner::new(source, "([{<", ")]}>").run()
}

/// The comments of a Cedar text, from their slashes to the end of the line, with their offsets.
pub fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    marks(text).filter(|(_, mark)| mark.starts_with("//"))
}

/// How many policies a text has, which need not parse: each ends with a semicolon.
pub fn count_policies(text: &str) -> usize {
    marks(text).filter(|(_, mark)| *mark == ";").count()
}

/// The strings and comments of a Cedar text, and each slash and semicolon outside of them, with their offsets.
fn marks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text.get(at..)?.find(['"', '/', ';'])?;
        let (start, rest) = (at, text.get(at..)?);
        at += if rest.starts_with('"') { string_length(rest) } else { comment_length(rest).max(1) };
        text.get(start..at).map(|mark| (start, mark))
    })
}

struct Scanner<'a> {
    source: &'a Arc<SourceText>,
    open: &'static str,
    close: &'static str,
    depth: usize,
    steps: usize,
    ifs: usize,
    chain: usize,
    diagnostics: Diagnostics,
}

impl<'a> Scanner<'a> {
    fn new(source: &'a Arc<SourceText>, open: &'static str, close: &'static str) -> Self {
        Self {
            source,
            open,
            close,
            depth: 0,
            steps: 0,
            ifs: 0,
            chain: 0,
            diagnostics: Diagnostics::default(),
        }
    }

    fn run(mut self) -> Diagnostics {
        let text = &self.source.text;
        let (mut at, mut before) = (0, ' ');
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = text.get(at..).unwrap_or_default();
            let length = match c {
                '"' => string_length(rest),
                '/' if rest.starts_with("//") => comment_length(rest),
                c if c.is_alphabetic() || c == '_' => self.word(at, rest),
                c => self.punctuation(at, c, before),
            };
            at += length.max(c.len_utf8());
            before = c;
        }
        self.diagnostics
    }

    /// A name or a keyword.
    fn word(&mut self, at: usize, rest: &str) -> usize {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        match rest.get(..length).unwrap_or_default() {
            "if" => {
                self.ifs += 1;
                if self.ifs == MAX_IFS + 1 {
                    self.report(at, format!("too many `if`s: at most {MAX_IFS} in a policy"));
                }
                self.count_operator(at);
            }
            "has" | "in" | "is" | "like" | "when" | "unless" | "then" | "else" => self.count_operator(at),
            _ => {}
        }
        length
    }

    fn punctuation(&mut self, at: usize, c: char, before: char) -> usize {
        const OPERATORS: &str = "+-*&|!=<>";
        if self.open.contains(c) {
            self.depth += 1;
            if self.depth == MAX_NESTING + 1 {
                self.report(at, format!("nested more than {MAX_NESTING} deep"));
            }
            self.count_operator(at);
        } else if self.close.contains(c) {
            self.depth = self.depth.saturating_sub(1);
        } else if c == ';' {
            (self.steps, self.ifs, self.chain) = (0, 0, 0);
        } else if c == '.' {
            self.chain += 1;
            if self.chain == MAX_ATTRIBUTE_CHAIN + 1 {
                self.report(at, format!("more than {MAX_ATTRIBUTE_CHAIN} attributes in a row"));
            }
        } else if OPERATORS.contains(c) && !OPERATORS.contains(before) {
            self.count_operator(at);
        } else if c == ',' {
            self.chain = 0;
        }
        c.len_utf8()
    }

    /// Counts one more level in the tree that Cedar makes of the policy. In a schema, nothing ends the count,
    /// so it has no limit.
    fn count_operator(&mut self, at: usize) {
        self.chain = 0;
        self.steps += 1;
        if self.steps == MAX_OPERATORS + 1 && !self.open.contains('<') {
            self.report(
                at,
                format!("the policy is too large: at most {MAX_OPERATORS} operators, clauses and brackets"),
            );
        }
    }

    fn report(&mut self, at: usize, message: String) {
        let diagnostic = Diagnostic::error(message).help("split the policy, or write it with less nesting");
        self.diagnostics.push(diagnostic.at(SourceSpan::new(self.source, at, 1)));
    }
}

/// The length of the comment at the start of a text; 0 if there is none. For Cedar, `\n` and `\r` both end
/// it.
fn comment_length(rest: &str) -> usize {
    if rest.starts_with("//") { rest.find(['\n', '\r']).unwrap_or(rest.len()) } else { 0 }
}

/// The length of a string with its quotes, or of the rest of the text if the string does not close.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, fine: bool) {
        let diagnostics = check_policies(&SourceText::new("p.cedar", text));
        assert_eq!(diagnostics.is_empty(), fine, "{diagnostics}");
    }

    #[test]
    fn depth_counts_outside_strings_and_comments() {
        let nested = |n| {
            format!("permit (principal, action, resource) when {{ {}true{} }};", "(".repeat(n), ")".repeat(n))
        };
        check(&nested(MAX_NESTING - 1), true);
        check(&nested(MAX_NESTING), false);
        check(
            &format!(
                "@id(\"{}\\\"((\") // {}\npermit (principal, action, resource);",
                "(".repeat(99),
                "[".repeat(99)
            ),
            true,
        );
    }

    #[test]
    fn policies_are_counted_outside_strings_and_comments() {
        let one = "@id(\"a;\\\";\") // ; \"\npermit (principal, action, resource) when { 4 / 2 == 2 };";
        assert_eq!(count_policies(&one.repeat(3)), 3);
        assert_eq!(count_policies("// nothing; at all"), 0);
        assert_eq!(count_policies("forbid (;; \"; no end"), 2);
        assert_eq!(comments(one).map(|(_, comment)| comment).collect::<Vec<_>>(), ["// ; \""]);
    }

    #[test]
    fn chains_count_for_each_policy() {
        let chain =
            |n| format!("permit (principal, action, resource) when {{ {}1 == 1 }};\n", "1 + ".repeat(n));
        check(&chain(1_500).repeat(10), true);
        check(&chain(50_000), false);
        let policy =
            |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};\n");
        check(&policy(&format!("principal{} == 1", "[\"a\"]".repeat(5_000))), false);
        check(&policy("true").replace("};", &"} when { true ".repeat(5_000)), false);
        check(&policy(&format!("principal has a{}", ".a".repeat(MAX_ATTRIBUTE_CHAIN))), true);
        check(&policy(&format!("principal has a{}", ".a".repeat(MAX_ATTRIBUTE_CHAIN + 1))), false);
        check(&policy(&"principal.a.b == resource.c.d && ".repeat(100).replace("&& \n", "")), true);
        let ifs = |n| {
            format!("permit (principal, action, resource) when {{ {}true }};\n", "if true then ".repeat(n))
        };
        check(&ifs(MAX_IFS).repeat(10), true);
        check(&ifs(MAX_IFS + 1), false);
    }
}
