//! From the click that accepts a request to the first permit.

use std::io;
use std::time::Instant;

use serde_json::{Value, json};

use super::store::start;
use crate::dataset::{FEW_CUSTOMERS, customer_id};
use crate::load;
use crate::numbers::float;
use crate::prepared::{PreparedRequest, evaluation_requests, expected_decision};
use crate::results::{Bound, Results};
use crate::setup::Setup;

/// How many requests are accepted.
const ACCEPTED: u64 = 500;

/// How long it takes to accept a request by its link and to be permitted then, both over HTTP.
///
/// # Errors
/// The server does not start, or a step is refused.
pub fn acceptance(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let administrators: String = (0..ACCEPTED.min(FEW_CUSTOMERS)).map(administrator).collect();
    let target = start(setup, "accepting", &evaluation_requests(FEW_CUSTOMERS), &administrators)?;
    let (port, mut times) = (target.server.port, Vec::new());
    for n in 0..ACCEPTED {
        let customer = customer_id(n % FEW_CUSTOMERS);
        let oem = json!({ "type": "Oem", "id": format!("oem-{}", n % 20) });
        let resource = json!({ "type": "Customer", "id": customer });
        let context = json!({ "delegatedAdministration": false });
        let asked =
            post(port, "/links/v1", &json!({ "subject": oem, "resource": resource, "context": context }))?;
        let link = asked.pointer("/request/link").and_then(Value::as_str).unwrap_or_default().to_owned();
        let administrator = json!({ "type": "TenantUser", "id": format!("ga-{customer}") });
        let began = Instant::now();
        let accepted = post(port, &format!("/links/v1/{link}/accept"), &json!({ "subject": administrator }))?;
        let question = json!({
            "subject": oem, "action": { "name": "registerDevice" }, "resource": resource,
            "context": { "channel": "oem-api" },
        });
        let decided = post(port, "/access/v1/evaluation", &question)?;
        times.push(began.elapsed());
        let approved = accepted.pointer("/request/status") == Some(&Value::from("approved"));
        if !approved || decided.get("decision") != Some(&Value::Bool(true)) {
            return Err(io::Error::other(format!("not accepted: {asked} {accepted} {decided}")));
        }
    }
    times.sort_unstable();
    let at = |share: f64| {
        // Some hundred times are no more than an index can count.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let index = (float(ACCEPTED - 1) * share) as usize;
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let note = "accept by link, then evaluate, a connection each; one after the other";
    results.require("from click to permit, median", at(0.5), " ms", Bound::AtMost(20.0), note);
    results.require("from click to permit, p99", at(0.99), " ms", Bound::AtMost(20.0), note);
    Ok(())
}

/// The Global Administrator of a customer, as a line of an entity file.
fn administrator(customer: u64) -> String {
    let id = customer_id(customer);
    let entity = json!({
        "uid": { "type": "Autopilot::TenantUser", "id": format!("ga-{id}") },
        "attrs": {
            "customer": { "type": "Autopilot::Customer", "id": id },
            "roles": [{ "type": "Autopilot::Role", "id": "global-administrator" }],
        },
        "parents": [],
    });
    format!("{entity}\n")
}

fn post(port: u16, path: &str, body: &Value) -> io::Result<Value> {
    let request = PreparedRequest::post(path, &body.to_string(), expected_decision(true));
    Ok(serde_json::from_slice(&load::ask_once(port, &request.bytes)?)?)
}
