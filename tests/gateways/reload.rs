//! Policies and entities change while requests come: no answer is wrong, and no request fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::gateway::{CADDY, ENVOY, ENVOY_HTTP, Gateway, Kind, NGINX, Who};
use crate::support::until;

/// Edits while requests come; each changes the revision.
const EDITS: usize = 20;

fn under_load(kind: &'static Kind) {
    let Some(gateway) = Gateway::start(kind) else { return };
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let policies = gateway.content.read("policies/registration.cedar");
    let first = gateway.sidecar.revision();
    std::thread::scope(|scope| {
        let asking = [(Who::Fabrikam, "contoso", 202), (Who::Tailspin, "northwind", 403)].map(
            |(who, customer, expected)| {
                let (gateway, done, sent) = (&gateway, &done, &sent);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        ask(gateway, who, customer, expected);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                })
            },
        );
        let _end = End(&done);
        for edit in 0..EDITS {
            let before = gateway.sidecar.revision();
            gateway.content.place("policies/registration.cedar", &format!("{policies}// edit {edit}\n"));
            until("the edit is in use", || gateway.sidecar.revision() != before);
            assert!(asking.iter().all(|thread| !thread.is_finished()), "an answer was wrong");
        }
    });
    assert_ne!(gateway.sidecar.revision(), first);
    assert!(sent.load(Ordering::Relaxed) > EDITS as u64, "too few requests to tell");
}

/// Ends the load, also when a check fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask(gateway: &Gateway, who: Who, customer: &str, expected: u16) {
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
    under_load(&ENVOY);
}

#[test]
fn envoy_http() {
    under_load(&ENVOY_HTTP);
}

#[test]
fn nginx() {
    under_load(&NGINX);
}

#[test]
fn caddy() {
    under_load(&CADDY);
}
