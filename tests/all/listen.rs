//! The listeners of a running sidecar: addresses, TLS, authentication and limits.

mod authentication;
mod half_sent;
mod http2;
mod limits;
mod sockets;
mod tls;

use serde_json::Value;

use crate::support::{Content, register};

/// A question that is permitted.
fn permitted_question() -> Value {
    register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api")
}

/// Checks that `mandate serve` ends with exit code 1 and prints all these messages.
#[track_caller]
fn check_refused_start(content: &Content, args: &[&str], messages: &[&str]) {
    let output = content.mandate("serve", args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for message in messages {
        assert!(error.contains(message), "`{message}` is not in: {error}");
    }
}
