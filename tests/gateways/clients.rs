//! AuthZEN clients of other authors, as installed from their registries, against a real sidecar.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::Sidecar;

/// A program that asks questions with the Python package `decern` and prints the answers.
const DECERN: &str = r#"
import sys
from decern import Client

client = Client(sys.argv[1])

def ask(subject, customer):
    decision = client.evaluate(
        subject={"type": subject[0], "id": subject[1]},
        action="registerDevice",
        resource={"type": "Customer", "id": customer},
        context={"channel": "partner-center-api"},
    )
    print(customer, decision.allowed)

ask(("DirectBillPartner", "fabrikam"), "contoso")
ask(("IndirectReseller", "tailspin"), "northwind")
try:
    ask(("Company", "fabrikam"), "contoso")
except Exception as error:
    print(error)
"#;

#[test]
fn decern_gets_decisions_and_errors() {
    let python = std::env::var_os("PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let installed = Command::new(&python).args(["-c", "import decern"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        let note = format!(
            "\nNOT RUN: the client decern, because {} has no such package; install it, or name another Python with PYTHON\n",
            python.display()
        );
        std::io::stderr().write_all(note.as_bytes()).unwrap();
        return;
    }
    let sidecar = Sidecar::of_pack(&[]);
    let output = Command::new(&python).args(["-c", DECERN, &sidecar.decisions]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.get(..2), Some(&["contoso True", "northwind False"][..]), "{output:?}");
    assert!(lines[2].contains("400") && lines[2].contains("the schema has no entity type"), "{output:?}");
}
