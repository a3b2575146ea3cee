//! Policies change while clients send requests: no answer is wrong, and no request fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::gateway::{CADDY, ENVOY, ENVOY_HTTP, Gateway, Kind, NGINX, Who};
use crate::support::until;

/// The number of edits; each changes the revision.
const EDITS: usize = 20;

fn check_edits_under_load(kind: &'static Kind) {
    let Some(gateway) = Gateway::start(kind) else { return };
    let (done, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let policies = gateway.content.read("policies/registration.cedar");
    let first = gateway.sidecar.revision();
    std::thread::scope(|scope| {
        let clients = [(Who::Fabrikam, "contoso", 202), (Who::Tailspin, "northwind", 403)].map(
            |(who, customer, expected)| {
                let (gateway, done, rounds) = (&gateway, &done, &rounds);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        send_requests(gateway, who, customer, expected);
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
            },
        );
        let _stop = StopOnDrop(&done);
        for edit in 0..EDITS {
            let before = gateway.sidecar.revision();
            gateway
                .content
                .replace_file("policies/registration.cedar", &format!("{policies}// edit {edit}\n"));
            until("the edit is in use", || gateway.sidecar.revision() != before);
            assert!(clients.iter().all(|thread| !thread.is_finished()), "an answer was wrong");
        }
    });
    assert_ne!(gateway.sidecar.revision(), first);
    assert!(rounds.load(Ordering::Relaxed) > EDITS as u64, "too few requests during the edits");
}

/// Stops the clients at the end, and also when a check fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends some requests on one connection and checks their status.
fn send_requests(gateway: &Gateway, who: Who, customer: &str, expected: u16) {
    let credentials = gateway.credentials(who);
    let headers: Vec<(&str, &str)> =
        credentials.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let target = format!("/v1/customers/{customer}/deviceBatches");
    let mut client = gateway.client();
    for _ in 0..20 {
        let reply = client.send("POST", &target, &headers, b"{}").unwrap();
        assert_eq!(reply.status, expected, "{reply:?}");
    }
}

#[test]
fn envoy() {
    check_edits_under_load(&ENVOY);
}

#[test]
fn envoy_http() {
    check_edits_under_load(&ENVOY_HTTP);
}

#[test]
fn nginx() {
    check_edits_under_load(&NGINX);
}

#[test]
fn caddy() {
    check_edits_under_load(&CADDY);
}
