//! Several items in one access request.

use serde_json::{Value, json};

use super::{Served, refused, registration, text, with_approval};
use crate::support::register;

/// A submission of these questions of one subject, each with its own denial.
#[track_caller]
fn bundle(served: &Served, questions: &[Value]) -> Value {
    let item = |question: &Value| {
        json!({
            "resource": question["resource"],
            "action": question["action"],
            "denial": super::denial(&served.evaluate(question)),
        })
    };
    let items: Vec<Value> = questions.iter().map(item).collect();
    json!({ "subject": questions[0]["subject"], "context": questions[0]["context"], "items": items })
}

fn of_northwind() -> Value {
    register(("DirectBillPartner", "fabrikam"), "northwind", "partner-center-api")
}

/// The links to the reviews of a task, in the order of its items.
fn reviews(task: &Value) -> Vec<String> {
    let links = &task["links"];
    [&links["review"], &links["urn:mandate:review:2"]]
        .into_iter()
        .filter_map(Value::as_str)
        .map(|review| review.rsplit('/').next().unwrap().to_owned())
        .collect()
}

fn review(served: &Served, link: &str, verb: &str, customer: &str) {
    let subject = json!({ "subject": { "type": "TenantUser", "id": format!("admin@{customer}") } });
    let reply = served.send("portal", "POST", &format!("/links/v1/{link}/{verb}"), &subject, &[]);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn items_end_one_by_one() {
    let served = Served::new();
    let task = super::task_of(&served.submit(&bundle(&served, &[registration(), of_northwind()])));
    let items = task["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        (&items[1]["resource"], &items[1]["action"]),
        (&of_northwind()["resource"], &of_northwind()["action"])
    );
    let links = reviews(&task);
    assert_eq!(links.len(), 2, "{task}");

    review(&served, &links[0], "accept", "relecloud");
    let answer = served.poll(&task);
    assert_eq!(answer["task"]["status"], "pending");
    assert_eq!(answer["task"]["items"][0]["status"], "approved");
    assert_eq!(answer["task"]["items"][1]["status"], "pending");
    assert!(answer["result"].is_null() && answer["task"]["items"][1]["result"].is_null(), "{answer}");

    review(&served, &links[1], "accept", "northwind");
    let answer = served.poll(&task);
    assert_eq!(answer["task"]["status"], "approved");
    let approvals: Vec<Value> =
        (0..2).map(|i| answer["task"]["items"][i]["result"]["approval"].clone()).collect();
    assert_ne!(approvals[0]["id"], approvals[1]["id"]);
    // Each is about its own item.
    for (question, approval) in [registration(), of_northwind()].iter().zip(&approvals) {
        let answer = served.evaluate(&with_approval(question, approval));
        assert_eq!(answer["context"]["approval"]["id"], approval["id"], "{answer}");
    }
    let crossed = served.evaluate(&with_approval(&registration(), &approvals[1]));
    assert!(crossed["decision"] == true && crossed["context"]["approval"].is_null(), "{crossed}");
}

#[test]
fn items_that_end_differently_are_partial() {
    let served = Served::new();
    let task = super::task_of(&served.submit(&bundle(&served, &[registration(), of_northwind()])));
    let links = reviews(&task);
    review(&served, &links[0], "accept", "relecloud");
    review(&served, &links[1], "decline", "northwind");
    let answer = served.poll(&task);
    assert_eq!(answer["task"]["status"], "partial");
    assert_eq!(answer["task"]["items"][1]["status"], "denied");
    assert!(answer["task"]["items"][0]["result"].is_object() && answer["result"].is_null(), "{answer}");
}

#[test]
fn cancelling_ends_the_items_that_wait() {
    let served = Served::new();
    let questions = [registration(), of_northwind()];
    let task = super::task_of(&served.submit(&bundle(&served, &questions)));
    let cancel = text(&task["links"]["cancel"]);
    let all = served.send("gateway", "POST", cancel, &Value::Null, &[]);
    assert_eq!((all.status, &all.json()["task"]["status"]), (200, &json!("cancelled")));

    let task = super::task_of(&served.submit(&bundle(&served, &questions)));
    review(&served, &reviews(&task)[0], "accept", "relecloud");
    let cancel = text(&task["links"]["cancel"]);
    let rest = served.send("gateway", "POST", cancel, &Value::Null, &[]);
    assert_eq!((rest.status, &rest.json()["task"]["status"]), (200, &json!("partial")));
    assert_eq!(rest.json()["task"]["items"][0]["status"], "approved");
    refused(&served.send("gateway", "POST", cancel, &Value::Null, &[]), 409, "invalid_task_state");
}

#[test]
fn items_that_need_the_same_share_it() {
    let served = Served::new();
    let mut viewing = registration();
    viewing["action"]["name"] = json!("viewCustomer");
    viewing["context"] = json!({});
    // Both with the context of the registration: the token of each says which members count.
    let mut submission = bundle(&served, &[registration(), viewing]);
    submission["context"] = registration()["context"].clone();
    let task = super::task_of(&served.submit(&submission));
    assert_eq!(reviews(&task).len(), 1, "{task}");
    review(&served, &reviews(&task)[0], "accept", "relecloud");
    assert_eq!(served.status(&task), "approved");
}

#[test]
fn every_item_needs_a_denial() {
    let served = Served::new();
    let submission = bundle(&served, &[registration(), of_northwind()]);
    let top_level = submission["items"][0]["denial"].clone();
    let mut without = submission.clone();
    without["items"][1].as_object_mut().unwrap().remove("denial");
    refused(&served.submit(&without), 400, "invalid_denial_binding");
    // A denial of one question does not cover two.
    without["denial"] = top_level.clone();
    let reply = served.submit(&without);
    refused(&reply, 400, "invalid_denial_binding");
    assert_eq!(reply.json()["index"], 1);
    // The denials of two items cannot be swapped, nor used twice.
    let mut swapped = submission.clone();
    swapped["items"][0]["denial"] = submission["items"][1]["denial"].clone();
    refused(&served.submit(&swapped), 400, "invalid_denial_binding");
    let mut twice = submission.clone();
    twice["items"][1] = submission["items"][0].clone();
    refused(&served.submit(&twice), 400, "invalid_denial_binding");
    let mut one = submission.clone();
    one["items"] = json!([{ "resource": submission["items"][0]["resource"], "action": submission["items"][0]["action"] }]);
    one["denial"] = top_level;
    assert_eq!(served.submit(&one).status, 202);
}

#[test]
fn a_bundle_is_made_as_a_whole_or_not_at_all() {
    let served = Served::new();
    let submission = bundle(&served, &[registration(), of_northwind()]);
    // The second is permitted by the time that both are submitted.
    let task = served.ask(&of_northwind());
    assert_eq!(served.review(&task, "accept", "northwind").status, 200);
    let reply = served.submit(&submission);
    refused(&reply, 400, "not_requestable");
    assert_eq!(reply.json()["index"], 1);
    let requests =
        served.send("portal", "GET", "/links/v1?requester=DirectBillPartner::fabrikam", &Value::Null, &[]);
    assert_eq!(requests.json()["requests"].as_array().unwrap().len(), 1, "{requests:?}");
}

#[test]
fn a_bundle_has_items_and_nothing_beside_them() {
    let served = Served::new();
    let submission = bundle(&served, &[registration()]);
    let mut wrong = submission.clone();
    wrong["resource"] = registration()["resource"].clone();
    refused(&served.submit(&wrong), 400, "");
    for count in [0, 21] {
        let mut wrong = submission.clone();
        wrong["items"] = vec![submission["items"][0].clone(); count].into();
        refused(&served.submit(&wrong), 400, "");
    }
    // What an item says of the access counts more than what all say.
    let mut asked = submission.clone();
    asked["requested_access"] = json!({ "requested_until": "2020-01-01T00:00:00Z" });
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_hours(24);
    let tomorrow = humantime::format_rfc3339_seconds(tomorrow).to_string();
    asked["items"][0]["requested_access"] = json!({ "requested_until": tomorrow });
    let task = super::task_of(&served.submit(&asked));
    review(&served, &reviews(&task)[0], "accept", "relecloud");
    let approval = served.poll(&task)["task"]["items"][0]["result"]["approval"].clone();
    assert_eq!(approval["approved_until"], json!(tomorrow));
}
