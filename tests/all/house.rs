//! The structure of the code, as far as Cargo does not enforce it: which dependencies an embedding program
//! gets, which parts of the standard library a crate must not use, and that each file is small and begins
//! with its documentation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository_path;

/// Crates, and words that their code must not contain.
const FORBIDDEN_WORDS: &[(&str, &[&str])] = &[
    ("crates/mandate-core", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-query", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-routes", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-toml", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-changes", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-analysis", &["std::fs", "std::env", "std::net"]),
    ("crates/mandate-sources", &["std::env", "std::net"]),
    ("crates/mandate-pdp", &["std::fs", "std::env", "std::net"]),
    ("crates/mandate-server", &["Snapshot", "std::env"]),
];

/// Words that only one file may contain.
const SINGLE_PLACES: &[(&str, &str)] = &[
    ("std::env::var", "src/config/environment.rs"),
    (" Evaluator::new(", "crates/mandate-core/src/decide.rs"),
];

/// Crates that a program must not get when it embeds the decision point.
const NOT_EMBEDDED: &[&str] = &["axum", "cedar-policy-symcc", "clap", "hyper", "rustls", "tokio", "tonic"];

/// All Rust files in a folder and its subfolders.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// All Rust files that become part of the program.
fn program_files() -> Vec<PathBuf> {
    ["src", "crates"].iter().flat_map(|folder| rust_files(&repository_path(folder))).collect()
}

/// The code of a file, without comments and unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The path from the root of the repository.
fn relative(path: &Path) -> String {
    path.strip_prefix(repository_path("")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn crates_do_not_contain_their_forbidden_words() {
    let mut wrong = Vec::new();
    for (folder, words) in FORBIDDEN_WORDS {
        for path in rust_files(&repository_path(folder)) {
            let code = code(&path);
            let found = words.iter().filter(|word| code.contains(*word));
            wrong.extend(found.map(|word| format!("{}: {word}", relative(&path))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn environment_variables_and_the_evaluator_have_one_place_each() {
    for (word, file) in SINGLE_PLACES {
        let found: Vec<String> = program_files()
            .iter()
            .filter(|path| code(path).contains(word))
            .map(|path| relative(path))
            .collect();
        assert_eq!(found, [*file], "{word}");
    }
}

#[test]
fn files_begin_with_their_documentation_and_are_small() {
    for path in program_files() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", relative(&path));
        assert!(text.lines().count() <= 420, "{} has more than 420 lines", relative(&path));
    }
}

/// Follows `Cargo.lock`, which also lists optional dependencies.
#[test]
fn an_embedding_program_gets_no_transport_and_no_solver() {
    let lock: toml::Value =
        toml::from_str(&fs::read_to_string(repository_path("Cargo.lock")).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let dependencies = |name: &str| -> Vec<String> {
        let of_name = packages.iter().filter(|package| package["name"].as_str() == Some(name));
        let listed = of_name.filter_map(|package| package.get("dependencies")?.as_array()).flatten();
        // An item is a name, or a name and a version.
        listed.map(|item| item.as_str().unwrap().split(' ').next().unwrap().to_owned()).collect()
    };
    let mut reached = BTreeSet::new();
    let mut to_visit = vec!["mandate-pdp".to_owned()];
    while let Some(name) = to_visit.pop() {
        if reached.insert(name.clone()) {
            to_visit.extend(dependencies(&name));
        }
    }
    assert!(reached.contains("mandate-core") && reached.contains("cedar-policy"), "{reached:?}");
    let wrong: Vec<_> = NOT_EMBEDDED.iter().filter(|name| reached.contains(**name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
