//! The listeners of a running sidecar: where they are, who may connect and ask, and how much at a time.

mod authentication;
mod limits;
mod sockets;
mod tls;

use serde_json::Value;

use crate::support::{Content, register};

fn fabrikam() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// `mandate serve` ends with 1, and says all of this.
#[track_caller]
fn refuses_to_start(content: &Content, args: &[&str], says: &[&str]) {
    let output = content.mandate("serve", args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in says {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}
