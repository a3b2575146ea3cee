//! Search, as its callers meet it.

use serde_json::{Value, json};

use crate::support::{Content, Reply, Sidecar};

fn search(sidecar: &Sidecar, side: &str, body: &Value) -> Reply {
    sidecar.post(&format!("/access/v1/search/{side}"), body.to_string())
}

fn customers(partner: &str) -> Value {
    json!({
        "subject": { "type": "DirectBillPartner", "id": partner },
        "action": { "name": "registerDevice" },
        "resource": { "type": "Customer", "id": "ignored" },
        "context": { "channel": "partner-center-api" },
    })
}

#[track_caller]
fn refused(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.body.contains(why), "{reply:?}");
}

#[test]
fn customers_of_a_partner_come_from_the_index() {
    let sidecar = Sidecar::of_pack(&[]);
    let found = search(&sidecar, "resource", &customers("fabrikam")).json();
    assert_eq!(found["page"]["next_token"], "");
    let contoso = json!({ "type": "Customer", "id": "contoso" });
    assert!(found["results"].as_array().unwrap().contains(&contoso), "{found}");
    assert!(
        (sidecar.metric("mandate_searches_total{sought=\"resource\",candidates=\"index\"}") - 1.0).abs()
            < 0.1
    );
}

#[test]
fn unknown_things_are_found_nowhere() {
    let sidecar = Sidecar::of_pack(&[]);
    for (part, key, value) in
        [("subject", "id", "x"), ("subject", "type", "X"), ("resource", "type", "X"), ("action", "name", "x")]
    {
        let mut body = customers("fabrikam");
        body[part][key] = json!(value);
        let found = search(&sidecar, "resource", &body).json();
        assert_eq!(found, json!({ "page": { "next_token": "" }, "results": [] }), "{part}.{key}");
    }
}

const SCHEMA: &str =
    "entity Team; entity Doc in [Team]; action read appliesTo { principal: Team, resource: Doc };";

fn docs(count: usize) -> String {
    let doc = |n: usize| json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "attrs": {}, "parents": [{ "type": "Team", "id": "t" }] });
    let team = json!({ "uid": { "type": "Team", "id": "t" }, "attrs": {}, "parents": [] });
    Value::Array((0..count).map(doc).chain([team]).collect()).to_string()
}

#[test]
fn pages() {
    let content = Content::of(&[
        ("policies/schema.cedarschema", SCHEMA),
        (
            "policies/p.cedar",
            "@id(\"p\") permit (principal, action, resource) when { resource in principal };",
        ),
        ("entities/docs.json", &docs(7)),
    ]);
    let (sidecar, twin) = (content.serve(), content.serve());
    let question = json!({ "subject": { "type": "Team", "id": "t" }, "action": { "name": "read" }, "resource": { "type": "Doc" } });
    let page = |page: Value| {
        let mut body = question.clone();
        body["page"] = page;
        body
    };
    let first = search(&sidecar, "resource", &page(json!({ "limit": 3 }))).json();
    let token = first["page"]["next_token"].as_str().unwrap().to_owned();
    let second = search(&twin, "resource", &page(json!({ "token": token }))).json();
    let third =
        search(&sidecar, "resource", &page(json!({ "token": second["page"]["next_token"], "limit": 3 })))
            .json();
    assert_eq!(third["page"]["next_token"], "");
    let ids = |page: &Value| {
        page["results"].as_array().unwrap().iter().map(|it| it["id"].to_string()).collect::<Vec<_>>()
    };
    let mut all = [ids(&first), ids(&second), ids(&third)].concat();
    assert_eq!([ids(&first).len(), ids(&second).len(), ids(&third).len()], [3, 3, 1]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 7);

    refused(&search(&sidecar, "resource", &page(json!({ "token": token, "limit": 2 }))), "page.limit");
    refused(&search(&sidecar, "resource", &page(json!({ "token": token[1..] }))), "no token of this search");
    refused(&search(&sidecar, "resource", &page(json!({ "token": "" }))), "no token of this search");
    refused(&search(&sidecar, "resource", &page(json!({ "limit": 0 }))), "page.limit");
    let mut other = page(json!({ "token": token }));
    other["subject"]["id"] = json!("u");
    refused(&search(&sidecar, "resource", &other), "another question");
    let before = sidecar.revision();
    content.place("entities/docs.json", &docs(8));
    crate::support::until("the change is seen", || sidecar.revision() != before);
    refused(&search(&sidecar, "resource", &page(json!({ "token": token }))), "the content has changed");
}

#[test]
fn metadata_name_the_endpoints() {
    let sidecar = Sidecar::of_pack(&["--public-url", "https://pdp.example.com/"]);
    let metadata = sidecar.send("GET", "/.well-known/authzen-configuration", "", &[]).json();
    assert_eq!(metadata["policy_decision_point"], "https://pdp.example.com");
    assert_eq!(metadata["search_action_endpoint"], "https://pdp.example.com/access/v1/search/action");
}
