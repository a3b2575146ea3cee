//! What the pack has, counted in its files: tests that say these numbers hold after every edit of the pack. `Content` has
//! copies of the pack.

use std::fs;
use std::path::PathBuf;

use mandate_core::diagnostics::SourceText;
use mandate_core::schema::Schema;

use super::repository_path;

/// The policies, without the guardrails.
pub fn policies() -> usize {
    lines_that_start_with("@id(", "policies", "cedar")
}

/// The rules of changes.
pub fn changes() -> usize {
    lines_that_start_with("[[change]]", "policies", "toml")
}

/// The claims of the guardrails, without the one that all their cases pass.
pub fn claims() -> usize {
    lines_that_start_with("@claim(", "policies/guardrails", "cedar")
}

/// The request environments: the pairs of principal and resource types of all actions.
pub fn environments() -> usize {
    let text = fs::read_to_string(repository_path("policies/schema.cedarschema")).unwrap();
    let schema = Schema::parse(&SourceText::new("schema.cedarschema", &text)).unwrap().0;
    schema.actions().map(|(_, action)| action.principal_types.len() * action.resource_types.len()).sum()
}

/// The lines in the files of a folder, without its subfolders, that start with a text.
fn lines_that_start_with(start: &str, folder: &str, extension: &str) -> usize {
    let files = fs::read_dir(repository_path(folder)).unwrap().map(|entry| entry.unwrap().path());
    let has_lines = |file: &PathBuf| file.extension().is_some_and(|it| it == extension);
    let lines_of = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().filter(|line| line.starts_with(start)).count()
    };
    files.filter(has_lines).map(lines_of).sum()
}
