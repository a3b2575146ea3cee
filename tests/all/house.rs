//! The structure of the code, held: imports go down only, and what a floor must not touch it does not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::pack;

/// A floor or a file, and what must not stand in its code.
const NEVER: &[(&str, &[&str])] = &[
    (
        "authz",
        &[
            "tokio",
            "axum",
            "tracing::",
            "std::fs",
            "std::env",
            "std::net",
            "std::time",
            "crate::source",
            "crate::pdp",
            "crate::assurance",
            "crate::transport",
            "crate::cli",
        ],
    ),
    (
        "source",
        &["tokio", "axum", "std::env", "crate::pdp", "crate::assurance", "crate::transport", "crate::cli"],
    ),
    ("pdp", &["axum", "std::env", "cedar_policy", "crate::assurance", "crate::transport", "crate::cli"]),
    (
        "assurance",
        &["axum", "tokio", "std::env", "crate::source", "crate::pdp", "crate::transport", "crate::cli"],
    ),
    (
        "transport",
        &["cedar_policy", "Snapshot", "std::env", "crate::source", "crate::assurance", "crate::cli"],
    ),
];

/// Files that may have a word that their floor must not.
const EXCEPT: &[(&str, &str)] = &[("assurance/solver.rs", "tokio")];

/// Words that stand in one place only.
const ONLY_IN: &[(&str, &str)] = &[
    ("std::env::var", "cli/config.rs"),
    (" Evaluator::new(", "authz/decide.rs"),
    (".snapshot.store(", "pdp/reload.rs"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// A file's code, without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn inside(path: &Path) -> String {
    path.strip_prefix(pack("src")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn floors_import_downward_only() {
    let mut wrong = Vec::new();
    for path in sources(&pack("src")) {
        let (name, code) = (inside(&path), code(&path));
        for (floor, words) in NEVER {
            if name.starts_with(&format!("{floor}/")) || name == format!("{floor}.rs") {
                let found = words.iter().filter(|word| code.contains(*word));
                let found = found.filter(|word| !EXCEPT.contains(&(name.as_str(), **word)));
                wrong.extend(found.map(|word| format!("{name}: {word}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_place_for_each() {
    for (word, place) in ONLY_IN {
        let found: Vec<String> = sources(&pack("src"))
            .iter()
            .filter(|path| code(path).contains(word))
            .map(|path| inside(path))
            .collect();
        assert_eq!(found, [*place], "{word}");
    }
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    for path in sources(&pack("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not say what it is", inside(&path));
        assert!(text.lines().count() <= 420, "{} is too long", inside(&path));
    }
}
