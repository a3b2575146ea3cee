//! The search endpoints, over HTTP.

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
fn a_search_with_an_unknown_name_is_empty() {
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
    refused(
        &search(&sidecar, "resource", &page(json!({ "token": token[1..] }))),
        "is not a valid token of this search",
    );
    refused(
        &search(&sidecar, "resource", &page(json!({ "token": "" }))),
        "is not a valid token of this search",
    );
    refused(&search(&sidecar, "resource", &page(json!({ "limit": 0 }))), "page.limit");
    let mut other = page(json!({ "token": token }));
    other["subject"]["id"] = json!("u");
    refused(&search(&sidecar, "resource", &other), "another search");
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

const ACTIONS: &str = "entity User; entity Doc = { secret: Bool };
action read, write appliesTo { principal: User, resource: Doc, context: { a?: Long, b?: Long } };";

fn users(count: usize, policy: &str) -> Content {
    let named = |kind: &str, id: String, attrs: Value| json!({ "uid": { "type": kind, "id": id }, "attrs": attrs, "parents": [] });
    let all = (0..count).map(|n| named("User", format!("u{n}"), json!({})));
    let all = all.chain([named("Doc", "d".to_owned(), json!({ "secret": true }))]).collect();
    Content::of(&[
        ("policies/schema.cedarschema", ACTIONS),
        ("policies/p.cedar", policy),
        ("entities/e.json", &Value::Array(all).to_string()),
    ])
}

/// Two requests that differ only in the order of keys are the same search.
#[test]
fn the_order_of_keys_makes_no_other_question() {
    let content = users(1, "permit (principal, action, resource);");
    let sidecar = content.serve();
    let ask = |text: &str, page: &str| {
        let body = format!(
            r#"{{"subject":{{"type":"User","id":"u0"}},"resource":{{"type":"Doc","id":"d"}},"context":{text},"page":{page}}}"#
        );
        sidecar.post("/access/v1/search/action", body)
    };
    let first = ask(r#"{"a":1,"b":2}"#, r#"{"limit":1}"#).json();
    assert_eq!(first["results"].as_array().map(Vec::len), Some(1), "{first}");
    let page = json!({ "token": first["page"]["next_token"] }).to_string();
    let second = ask(r#"{"b":2,"a":1}"#, &page).json();
    assert_eq!(second["page"]["next_token"], "", "{second}");
    refused(&ask(r#"{"a":1,"b":3}"#, &page), "belongs to another search");
}

/// If the policies do not say where to look, all entities are visited; but not if the resource does not exist.
#[test]
fn nobody_is_permitted_on_a_resource_that_does_not_exist() {
    let content = users(50, "permit (principal, action, resource) when { resource.secret };");
    let sidecar = content.serve();
    let ask = |id: &str| {
        let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": id } });
        search(&sidecar, "subject", &body).json()
    };
    assert_eq!(ask("d")["results"].as_array().map(Vec::len), Some(50));
    assert_eq!(ask("ghost"), json!({ "page": { "next_token": "" }, "results": [] }));
    assert!((sidecar.metric("mandate_search_candidates_total") - 50.0).abs() < 0.5);
}

/// The next page starts after the last result, so the token names no other entity.
#[test]
fn tokens_name_only_results() {
    let content = users(
        40,
        r#"permit (principal, action, resource) when { principal == User::"u7" || principal == User::"u9" || principal == User::"u11" || (resource.secret && principal in User::"u3") };"#,
    );
    let sidecar = content.serve();
    let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": "d" }, "page": { "limit": 1 } });
    let found = search(&sidecar, "subject", &body).json();
    let token = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        found["page"]["next_token"].as_str().unwrap(),
    );
    let token = String::from_utf8(token.unwrap()).unwrap();
    let id = found["results"][0]["id"].as_str().unwrap();
    assert!(token.contains(&format!("\"{id}\"")), "{token} {found}");
}

/// A policy that fails during a search is counted and logged, as during a decision.
#[test]
fn policies_that_fail_in_a_search_are_reported() {
    let content = users(
        3,
        "permit (principal, action, resource);\nforbid (principal, action, resource) when { context has a && context.a + 9223372036854775807 > 5 };",
    );
    let sidecar = content.serve();
    let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": "d" }, "context": { "a": 1 } });
    assert_eq!(search(&sidecar, "subject", &body).json()["results"], json!([]));
    assert!((sidecar.metric("mandate_policy_errors_total{effect=\"forbid\"}") - 3.0).abs() < 0.5);
    assert!(sidecar.log().contains("a policy could not be evaluated"), "{}", sidecar.log());
}

/// Searches are limited: those above the limit get a 503, and decisions do not wait for them.
#[test]
fn many_searches_at_once_are_answered_or_rejected() {
    let content = users(400, "permit (principal, action, resource) when { resource.secret };");
    let sidecar = content.serve();
    let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": "d" } });
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..150).map(|_| scope.spawn(|| search(&sidecar, "subject", &body).status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    let told = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(sidecar.metric("mandate_rejected_total{reason=\"overload\"}") as usize, told);
}
