//! Positions of answers, and requests that need one.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Served, header, request_consent};
use crate::support::{Content, Reply};

fn at_least(served: &Served, position: &str) -> Reply {
    let headers = [("mandate-at-least", position)];
    served.send_as("gateway", "POST", "/access/v1/evaluation", &request_consent(), &headers)
}

#[test]
fn every_answer_says_its_position() {
    let served = Served::of_pack();
    let position = header(&served.change(&request_consent()), "mandate-at").to_owned();
    let forward = [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/nothing")];
    let search = serde_json::json!({ "subject": { "type": "Oem" }, "action": { "name": "viewCustomer" },
        "resource": { "type": "Customer", "id": "contoso" } });
    let batch = serde_json::json!({ "evaluations": [request_consent()] });
    for (status, reply) in [
        (200, served.send_as("gateway", "POST", "/access/v1/evaluation", &request_consent(), &[])),
        (200, served.send_as("gateway", "POST", "/access/v1/evaluations", &batch, &[])),
        (200, served.send_as("gateway", "POST", "/access/v1/search/subject", &search, &[])),
        (400, served.send_as("gateway", "POST", "/access/v1/evaluation", &Value::Bool(true), &[])),
        (403, served.send_as("gateway", "GET", "/forward-auth", &Value::Null, &forward)),
        (403, served.send_as("gateway", "GET", "/ext-authz/nothing", &Value::Null, &[])),
    ] {
        assert_eq!((reply.status, header(&reply, "mandate-at")), (status, &*position), "{reply:?}");
    }
}

#[test]
fn a_request_is_answered_at_the_position_that_it_needs() {
    let mut served = Served::of_pack();
    let position = header(&served.change(&request_consent()), "mandate-at").to_owned();
    assert_eq!(at_least(&served, &position).status, 200);
    let (epoch, _) = position.split_once(':').unwrap();
    let started = Instant::now();
    let future = at_least(&served, &format!("{epoch}:3"));
    assert_eq!((future.status, header(&future, "retry-after")), (503, "1"), "{future:?}");
    assert!(future.body.contains("is still at") && header(&future, "mandate-at") == position, "{future:?}");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());

    let other = at_least(&served, "0123456789abcdef:1");
    assert!(other.status == 412 && other.body.contains("another store"), "{other:?}");
    assert_eq!(at_least(&served, "soon").status, 400);
    let twice = [("mandate-at-least", &*position), ("mandate-at-least", &*position)];
    let path = "/access/v1/evaluation";
    assert_eq!(served.send_as("gateway", "POST", path, &request_consent(), &twice).status, 400);

    // It waits for a change that comes in time, also on the way of gateways.
    served.start_with(&["--max-wait", "10s"]);
    let next = format!("{epoch}:3");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| at_least(&served, &next));
        let forward = scope.spawn(|| {
            let headers = [
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/nothing"),
                ("mandate-at-least", next.as_str()),
            ];
            served.send_as("gateway", "GET", "/forward-auth", &Value::Null, &headers)
        });
        assert_eq!(served.change(&request_consent()).status, 200);
        assert_eq!(header(&waiting.join().unwrap(), "mandate-at"), next);
        assert_eq!(header(&forward.join().unwrap(), "mandate-at"), next);
    });
}

#[test]
fn entities_of_files_have_no_positions() {
    let sidecar = Content::of_pack().serve();
    let headers = [("content-type", "application/json"), ("mandate-at-least", "0123456789abcdef:1")];
    let reply = sidecar.post_with_headers("/access/v1/evaluation", request_consent().to_string(), &headers);
    assert!(reply.status == 400 && reply.body.contains("which have no positions"), "{reply:?}");
}
