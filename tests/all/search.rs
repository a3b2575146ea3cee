//! The AuthZEN search endpoints over HTTP: results, pages, limits and metrics.

use serde_json::{Value, json};

use crate::support::{Content, Reply, Sidecar};

fn search(sidecar: &Sidecar, target: &str, body: &Value) -> Reply {
    sidecar.post(&format!("/access/v1/search/{target}"), body.to_string())
}

/// A search for the customers for which a partner may register devices.
fn customers(partner: &str) -> Value {
    json!({
        "subject": { "type": "DirectBillPartner", "id": partner },
        "action": { "name": "registerDevice" },
        "resource": { "type": "Customer", "id": "ignored" },
        "context": { "channel": "partner-center-api" },
    })
}

#[track_caller]
fn check_refused(reply: &Reply, message: &str) {
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.body.contains(message), "{reply:?}");
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

/// An entity file with a team and documents in it.
fn docs(count: usize) -> String {
    let doc = |n: usize| json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "attrs": {}, "parents": [{ "type": "Team", "id": "t" }] });
    let team = json!({ "uid": { "type": "Team", "id": "t" }, "attrs": {}, "parents": [] });
    Value::Array((0..count).map(doc).chain([team]).collect()).to_string()
}

fn content_with_docs(count: usize) -> Content {
    Content::of(&[
        ("policies/schema.cedarschema", SCHEMA),
        (
            "policies/p.cedar",
            "@id(\"p\") permit (principal, action, resource) when { resource in principal };",
        ),
        ("entities/docs.json", &docs(count)),
    ])
}

/// A search for the documents that the team may read.
fn search_docs(sidecar: &Sidecar, team: &str, page: Value) -> Reply {
    let body = json!({
        "subject": { "type": "Team", "id": team },
        "action": { "name": "read" },
        "resource": { "type": "Doc" },
        "page": page,
    });
    search(sidecar, "resource", &body)
}

/// The token needs no state on the server, so another sidecar with the same content takes it.
#[test]
fn pages_together_have_every_result_once() {
    let content = content_with_docs(7);
    let (sidecar, other_sidecar) = (content.serve(), content.serve());
    let first = search_docs(&sidecar, "t", json!({ "limit": 3 })).json();
    let token = &first["page"]["next_token"];
    let second = search_docs(&other_sidecar, "t", json!({ "token": token })).json();
    let token = &second["page"]["next_token"];
    let third = search_docs(&sidecar, "t", json!({ "token": token, "limit": 3 })).json();
    assert_eq!(third["page"]["next_token"], "");
    let ids = |page: &Value| {
        page["results"].as_array().unwrap().iter().map(|result| result["id"].to_string()).collect::<Vec<_>>()
    };
    let mut all = [ids(&first), ids(&second), ids(&third)].concat();
    assert_eq!([ids(&first).len(), ids(&second).len(), ids(&third).len()], [3, 3, 1]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 7);
}

#[test]
fn pages_with_an_invalid_token_or_limit_are_refused() {
    let content = content_with_docs(7);
    let sidecar = content.serve();
    let first = search_docs(&sidecar, "t", json!({ "limit": 3 })).json();
    let token = first["page"]["next_token"].as_str().unwrap();
    let check = |page: Value, message: &str| check_refused(&search_docs(&sidecar, "t", page), message);
    check(json!({ "token": token, "limit": 2 }), "page.limit");
    check(json!({ "token": token[1..] }), "is not a valid token of this search");
    check(json!({ "token": "" }), "is not a valid token of this search");
    check(json!({ "limit": 0 }), "page.limit");
    check_refused(&search_docs(&sidecar, "u", json!({ "token": token })), "another search");
    let before = sidecar.revision();
    content.replace_file("entities/docs.json", &docs(8));
    crate::support::until("the changed entities are in use", || sidecar.revision() != before);
    check(json!({ "token": token }), "the content has changed");
}

#[test]
fn the_metadata_has_the_urls_of_the_endpoints() {
    let sidecar = Sidecar::of_pack(&["--public-url", "https://pdp.example.com/"]);
    let metadata = sidecar.send("GET", "/.well-known/authzen-configuration", "", &[]).json();
    assert_eq!(metadata["policy_decision_point"], "https://pdp.example.com");
    assert_eq!(metadata["search_action_endpoint"], "https://pdp.example.com/access/v1/search/action");
}

const ACTIONS: &str = "entity User; entity Doc = { secret: Bool };
action read, write appliesTo { principal: User, resource: Doc, context: { a?: Long, b?: Long } };";

/// One policy, some users, and a secret document.
fn content_with_users(count: usize, policy: &str) -> Content {
    let entity = |entity_type: &str, id: String, attrs: Value| json!({ "uid": { "type": entity_type, "id": id }, "attrs": attrs, "parents": [] });
    let all = (0..count).map(|n| entity("User", format!("u{n}"), json!({})));
    let all = all.chain([entity("Doc", "d".to_owned(), json!({ "secret": true }))]).collect();
    Content::of(&[
        ("policies/schema.cedarschema", ACTIONS),
        ("policies/p.cedar", policy),
        ("entities/e.json", &Value::Array(all).to_string()),
    ])
}

#[test]
fn requests_that_differ_in_the_order_of_keys_are_the_same_search() {
    let content = content_with_users(1, "permit (principal, action, resource);");
    let sidecar = content.serve();
    let search_actions = |context: &str, page: &str| {
        let body = format!(
            r#"{{"subject":{{"type":"User","id":"u0"}},"resource":{{"type":"Doc","id":"d"}},"context":{context},"page":{page}}}"#
        );
        sidecar.post("/access/v1/search/action", body)
    };
    let first = search_actions(r#"{"a":1,"b":2}"#, r#"{"limit":1}"#).json();
    assert_eq!(first["results"].as_array().map(Vec::len), Some(1), "{first}");
    let page = json!({ "token": first["page"]["next_token"] }).to_string();
    let second = search_actions(r#"{"b":2,"a":1}"#, &page).json();
    assert_eq!(second["page"]["next_token"], "", "{second}");
    check_refused(&search_actions(r#"{"a":1,"b":3}"#, &page), "belongs to another search");
}

/// If the policies give no start point, all entities of the type are visited. If the resource does not exist, none are.
#[test]
fn nobody_is_permitted_on_a_resource_that_does_not_exist() {
    let content = content_with_users(50, "permit (principal, action, resource) when { resource.secret };");
    let sidecar = content.serve();
    let search_readers = |id: &str| {
        let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": id } });
        search(&sidecar, "subject", &body).json()
    };
    assert_eq!(search_readers("d")["results"].as_array().map(Vec::len), Some(50));
    assert_eq!(search_readers("ghost"), json!({ "page": { "next_token": "" }, "results": [] }));
    assert!((sidecar.metric("mandate_search_candidates_total") - 50.0).abs() < 0.5);
}

/// The next page starts after the last result, so the token names no other entity.
#[test]
fn tokens_contain_only_the_id_of_a_result() {
    let content = content_with_users(
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
    let content = content_with_users(
        3,
        "permit (principal, action, resource);\nforbid (principal, action, resource) when { context has a && context.a + 9223372036854775807 > 5 };",
    );
    let sidecar = content.serve();
    let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": "d" }, "context": { "a": 1 } });
    assert_eq!(search(&sidecar, "subject", &body).json()["results"], json!([]));
    assert!((sidecar.metric("mandate_policy_errors_total{effect=\"forbid\"}") - 3.0).abs() < 0.5);
    assert!(sidecar.log().contains("a policy could not be evaluated"), "{}", sidecar.log());
}

/// The number of searches at the same time is limited; searches above the limit get a 503.
#[test]
fn searches_above_the_limit_are_rejected_and_counted() {
    let content = content_with_users(400, "permit (principal, action, resource) when { resource.secret };");
    let sidecar = content.serve();
    let body = json!({ "subject": { "type": "User" }, "action": { "name": "read" }, "resource": { "type": "Doc", "id": "d" } });
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..150).map(|_| scope.spawn(|| search(&sidecar, "subject", &body).status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    let rejected = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(sidecar.metric("mandate_rejected_total{reason=\"overload\"}") as usize, rejected);
}
