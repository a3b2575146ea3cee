//! The structure of the code, where Cargo does not hold it already: which crates an embedding program
//! takes along, what the lower crates must not touch, and that files stay small and say what they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::pack;

/// Crates, and what must not stand in their code although Cargo would let it.
const NEVER: &[(&str, &[&str])] = &[
    ("crates/mandate-core", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-query", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-routes", &["std::fs", "std::env", "std::net", "std::time"]),
    ("crates/mandate-analysis", &["std::fs", "std::env", "std::net"]),
    ("crates/mandate-sources", &["std::env", "std::net"]),
    ("crates/mandate-pdp", &["std::fs", "std::env", "std::net"]),
    ("crates/mandate-server", &["Snapshot", "std::env"]),
];

/// Words that stand in one file only.
const ONLY_IN: &[(&str, &str)] = &[
    ("std::env::var", "src/config/environment.rs"),
    (" Evaluator::new(", "crates/mandate-core/src/decide.rs"),
];

/// What a program that embeds the decision point does not take along.
const NOT_EMBEDDED: &[&str] = &["axum", "cedar-policy-symcc", "clap", "hyper", "rustls", "tokio", "tonic"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// All code that ships.
fn shipped() -> Vec<PathBuf> {
    ["src", "crates"].iter().flat_map(|folder| sources(&pack(folder))).collect()
}

/// A file's code, without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn inside(path: &Path) -> String {
    path.strip_prefix(pack("")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn lower_crates_do_no_input_or_output() {
    let mut wrong = Vec::new();
    for (folder, words) in NEVER {
        for path in sources(&pack(folder)) {
            let code = code(&path);
            let found = words.iter().filter(|word| code.contains(*word));
            wrong.extend(found.map(|word| format!("{}: {word}", inside(&path))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_place_for_each() {
    for (word, place) in ONLY_IN {
        let found: Vec<String> =
            shipped().iter().filter(|path| code(path).contains(word)).map(|path| inside(path)).collect();
        assert_eq!(found, [*place], "{word}");
    }
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    for path in shipped() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not say what it is", inside(&path));
        assert!(text.lines().count() <= 420, "{} is too long", inside(&path));
    }
}

/// Walks `Cargo.lock`, which lists more than is built: optional dependencies as well.
#[test]
fn embedding_takes_no_transport_and_no_solver() {
    let lock: toml::Value = toml::from_str(&fs::read_to_string(pack("Cargo.lock")).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let dependencies = |name: &str| -> Vec<String> {
        let of_name = packages.iter().filter(|package| package["name"].as_str() == Some(name));
        let quoted_list = of_name.filter_map(|package| package.get("dependencies")?.as_array()).flatten();
        quoted_list.map(|it| it.as_str().unwrap().split(' ').next().unwrap().to_owned()).collect()
    };
    let mut reached = BTreeSet::new();
    let mut open = vec!["mandate-pdp".to_owned()];
    while let Some(name) = open.pop() {
        if reached.insert(name.clone()) {
            open.extend(dependencies(&name));
        }
    }
    assert!(reached.contains("mandate-core") && reached.contains("cedar-policy"), "{reached:?}");
    let wrong: Vec<_> = NOT_EMBEDDED.iter().filter(|name| reached.contains(**name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
