//! Requests that are reviewed by link: each side's steps over HTTP, and what happens to a link in the wrong hands.

use serde_json::{Value, json};

use super::{Served, question};
use crate::support::{Content, Reply};

fn subject((entity_type, id): (&str, &str)) -> Value {
    json!({ "type": entity_type, "id": id })
}

const FABRIKAM: (&str, &str) = ("DirectBillPartner", "fabrikam");
const TREY: (&str, &str) = ("Oem", "trey");
const RELECLOUD: (&str, &str) = ("TenantUser", "admin@relecloud");
const CONTOSO: (&str, &str) = ("TenantUser", "admin@contoso");
const NORTHWIND: (&str, &str) = ("TenantUser", "admin@northwind");

impl Served {
    fn portal(&self, path: &str, body: &Value) -> Reply {
        self.send_as("portal", "POST", path, body, &[])
    }

    /// Makes a request, and gives the secret of its link. `more` are further members.
    #[track_caller]
    fn ask(&self, requester: (&str, &str), resource: Option<&str>, more: &Value) -> String {
        let reply = self.try_to_ask(requester, resource, more);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["request"]["link"].as_str().unwrap().to_owned()
    }

    fn try_to_ask(&self, requester: (&str, &str), resource: Option<&str>, more: &Value) -> Reply {
        let mut body =
            json!({ "subject": subject(requester), "context": { "delegatedAdministration": false } });
        let members = body.as_object_mut().unwrap();
        members.extend(resource.map(|id| ("resource".to_owned(), subject(("Customer", id)))));
        members.extend(more.as_object().unwrap().clone());
        self.portal("/links/v1", &body)
    }

    fn review(&self, link: &str, verb: &str, by: (&str, &str)) -> Reply {
        self.portal(&format!("/links/v1/{link}/{verb}"), &json!({ "subject": subject(by) }))
    }

    /// The status of a request, as everybody sees it who has its link.
    #[track_caller]
    fn status(&self, link: &str) -> String {
        let reply = self.send_as("portal", "GET", &format!("/links/v1/{link}"), &Value::Null, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["request"]["status"].as_str().unwrap().to_owned()
    }

    fn may_register(&self, partner: (&str, &str), channel: &str, customer: &str) -> bool {
        let context = json!({ "channel": channel });
        self.permits(&question(partner, "registerDevice", ("Customer", customer), &context))
    }
}

#[track_caller]
fn refused(reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    let problem = reply.json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{detail}");
}

#[test]
fn a_named_customer_accepts_and_it_counts_at_once() {
    let mut served = Served::of_pack();
    let link = served.ask(FABRIKAM, Some("relecloud"), &json!({ "language": "de", "valid_for": "7d" }));
    assert!(link.len() >= 50, "{link}");
    assert_eq!(served.status(&link), "pending");
    assert!(!served.may_register(FABRIKAM, "partner-center-api", "relecloud"));
    refused(&served.review(&link, "accept", CONTOSO), 403, "Only a Global Administrator of the customer");
    let accepted = served.review(&link, "accept", RELECLOUD);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(
        accepted.json()["request"]["ended_by"],
        json!({ "type": "Autopilot::TenantUser", "id": "admin@relecloud" })
    );
    assert!(served.may_register(FABRIKAM, "partner-center-api", "relecloud"));
    refused(&served.review(&link, "accept", RELECLOUD), 409, "approved already");
    refused(&served.review(&link, "withdraw", FABRIKAM), 409, "approved already");
    served.start();
    assert_eq!(served.status(&link), "approved");
    assert!(served.entities("verify", &[]).contains("verified: "));
}

#[test]
fn declined_and_withdrawn_requests_leave_nothing_to_accept() {
    let served = Served::of_pack();
    let declined = served.ask(FABRIKAM, Some("relecloud"), &json!({}));
    refused(&served.review(&declined, "decline", CONTOSO), 403, "Only a Global Administrator");
    assert_eq!(served.review(&declined, "decline", RELECLOUD).status, 200);
    assert_eq!(served.status(&declined), "denied");
    refused(&served.review(&declined, "accept", RELECLOUD), 409, "denied already");
    let withdrawn = served.ask(FABRIKAM, Some("relecloud"), &json!({}));
    refused(&served.review(&withdrawn, "withdraw", TREY), 403, "can take back its own request");
    assert_eq!(served.review(&withdrawn, "withdraw", FABRIKAM).status, 200);
    assert_eq!(served.status(&withdrawn), "cancelled");
    refused(&served.review(&withdrawn, "accept", RELECLOUD), 409, "cancelled already");
    assert!(!served.may_register(FABRIKAM, "partner-center-api", "relecloud"));
}

#[test]
fn an_open_link_is_for_the_first_who_accepts() {
    let served = Served::of_pack();
    let link = served.ask(FABRIKAM, None, &json!({}));
    refused(&served.review(&link, "decline", NORTHWIND), 400, "asks nobody in particular");
    refused(&served.review(&link, "accept", ("TenantUser", "intune@northwind")), 403, "Global Administrator");
    assert!(!served.may_register(FABRIKAM, "partner-center-api", "northwind"));
    let accepted = served.review(&link, "accept", NORTHWIND).json();
    assert_eq!(accepted["request"]["resource"], json!({ "type": "Autopilot::Customer", "id": "northwind" }));
    assert!(served.may_register(FABRIKAM, "partner-center-api", "northwind"));
    refused(&served.review(&link, "accept", RELECLOUD), 409, "approved already");
    let unused = served.ask(FABRIKAM, None, &json!({}));
    assert_eq!(served.review(&unused, "withdraw", FABRIKAM).status, 200);
    refused(&served.review(&unused, "accept", RELECLOUD), 409, "cancelled already");
}

#[test]
fn the_standing_link_of_an_oem_is_one_and_stays() {
    let served = Served::of_pack();
    let link = served.ask(TREY, None, &json!({}));
    assert_eq!(served.ask(TREY, None, &json!({})), link);
    let context = json!({ "context": { "delegatedAdministration": true } });
    refused(&served.try_to_ask(TREY, None, &context), 403, "An OEM never gets delegated administration");
    for (administrator, customer) in [(NORTHWIND, "northwind"), (RELECLOUD, "relecloud")] {
        assert_eq!(served.review(&link, "accept", administrator).status, 200);
        assert!(served.may_register(TREY, "oem-api", customer));
        refused(&served.review(&link, "accept", administrator), 409, "accepted already");
    }
    // Contoso had accepted before there was a link.
    refused(&served.review(&link, "accept", CONTOSO), 409, "accepted already");
    assert_eq!(served.status(&link), "pending");
}

#[test]
fn a_partner_that_was_suspended_meanwhile_gets_nothing() {
    let served = Served::of_pack();
    let named = served.ask(FABRIKAM, Some("relecloud"), &json!({}));
    let open = served.ask(FABRIKAM, None, &json!({}));
    let path = "/entities/v1/DirectBillPartner/fabrikam";
    let uid = json!({ "type": "Autopilot::DirectBillPartner", "id": "fabrikam" });
    let set = |active: bool| {
        let entity = json!({ "uid": uid, "attrs": { "active": active }, "parents": [] });
        assert_eq!(served.send_as("crm", "PUT", path, &entity, &[]).status, 200);
    };
    set(false);
    for link in [&named, &open] {
        refused(&served.review(link, "accept", RELECLOUD), 403, "may not ask for this any more");
        assert_eq!(served.status(link), "pending");
    }
    refused(&served.try_to_ask(FABRIKAM, None, &json!({})), 403, "enrolment is suspended");
    // The consent itself cannot be accepted, either.
    let shown = served.send_as("portal", "GET", &format!("/links/v1/{named}"), &Value::Null, &[]).json();
    let consent = shown["request"]["created"]["id"].as_str().unwrap().to_owned();
    let accept = question(RELECLOUD, "acceptConsent", ("CspConsent", &consent), &json!({}));
    refused(&served.change(&accept), 403, "may not ask for this any more");
    set(true);
    let accepted = served.change(&accept);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(served.status(&named), "approved");
}

#[test]
fn links_expire() {
    let served = Served::of_pack();
    let link = served.ask(FABRIKAM, Some("relecloud"), &json!({ "valid_for": "1s" }));
    crate::support::until("the link has expired", || served.status(&link) == "expired");
    refused(&served.review(&link, "accept", RELECLOUD), 410, "has expired");
    refused(&served.review(&link, "decline", RELECLOUD), 410, "has expired");
    for (valid_for, words) in
        [("91d", "at most 90 days"), ("soon", "a time such as"), ("0d", "a time such as")]
    {
        let reply = served.try_to_ask(FABRIKAM, Some("relecloud"), &json!({ "valid_for": valid_for }));
        refused(&reply, 400, words);
    }
}

#[test]
fn the_requests_of_a_partner_that_wait_are_limited() {
    let content = Content::of_pack();
    let rules = std::fs::read_to_string(content.path("policies/consent.changes.toml")).unwrap();
    content.write("policies/consent.changes.toml", &rules.replace("open_at_most = 1000", "open_at_most = 3"));
    let served = Served::of(content);
    served.ask(FABRIKAM, Some("relecloud"), &json!({ "valid_for": "1s" }));
    let withdrawn = served.ask(FABRIKAM, Some("northwind"), &json!({}));
    served.ask(FABRIKAM, None, &json!({}));
    refused(&served.try_to_ask(FABRIKAM, Some("relecloud"), &json!({})), 429, "3 requests are waiting");
    let change = json!({ "delegatedAdministration": false });
    let change = question(FABRIKAM, "requestConsent", ("Customer", "relecloud"), &change);
    refused(&served.change(&change), 429, "3 requests are waiting");
    assert_eq!(served.review(&withdrawn, "withdraw", FABRIKAM).status, 200);
    served.ask(FABRIKAM, None, &json!({}));
    // Those of others do not count, and one that has expired does not, either.
    served.ask(TREY, None, &json!({}));
    crate::support::until("one has expired", || {
        served.try_to_ask(FABRIKAM, Some("relecloud"), &json!({})).status == 200
    });
}

#[test]
fn requests_are_listed_and_repeated_safely() {
    let served = Served::of_pack();
    let body = json!({
        "subject": subject(FABRIKAM), "resource": subject(("Customer", "relecloud")),
        "context": { "delegatedAdministration": true },
    });
    let keyed =
        |body: &Value| served.send_as("portal", "POST", "/links/v1", body, &[("idempotency-key", "k")]);
    let (first, second) = (keyed(&body), keyed(&body));
    assert_eq!(first.json()["request"], second.json()["request"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    refused(&keyed(&json!({ "subject": subject(FABRIKAM) })), 422, "another request");
    let list = |caller: &str, query: &str| {
        served.send_as(caller, "GET", &format!("/links/v1{query}"), &Value::Null, &[])
    };
    let listed = list("portal", "?requester=DirectBillPartner%3A%3Afabrikam").json();
    assert_eq!(listed["requests"], json!([first.json()["request"]]));
    assert_eq!(list("portal", "?requester=Oem::trey").json()["requests"], json!([]));
    refused(&list("portal", ""), 400, "requester: missing");
    refused(&list("portal", "?requester=Nobody::x"), 400, "no entity type");
    refused(&list("gateway", "?requester=Oem::trey"), 403, "--change-callers");
}

#[test]
fn wrong_requests_are_told_what_to_correct() {
    let served = Served::of_pack();
    let link = served.ask(FABRIKAM, Some("relecloud"), &json!({}));
    refused(&served.review("guessed", "accept", RELECLOUD), 404, "no request has this link");
    refused(&served.review(&link, "approve", RELECLOUD), 404, "no such path");
    refused(&served.review(&link, "accept", ("Customer", "relecloud")), 400, "does not apply");
    refused(&served.review(&link, "accept", ("TenantUser", "nobody@relecloud")), 403, "not known");
    refused(
        &served.portal("/links/v1", &json!({ "subject": subject(FABRIKAM), "x": 1 })),
        400,
        "unknown field",
    );
    let other = served.try_to_ask(("TenantUser", "admin@contoso"), Some("relecloud"), &json!({}));
    refused(&other, 400, "no rule of requests is for Autopilot::TenantUser::admin@contoso");
    let no_partnership = served.try_to_ask(("IndirectProvider", "wingtip"), Some("relecloud"), &json!({}));
    refused(&no_partnership, 400, "context.partnership: missing");
    let foreign =
        json!({ "context": { "delegatedAdministration": false, "partnership": "proseware--tailspin" } });
    let foreign = served.try_to_ask(("IndirectProvider", "wingtip"), Some("relecloud"), &foreign);
    refused(&foreign, 403, "not part of that partnership");
    let unknown = json!({ "context": { "delegatedAdministration": false, "colour": "red" } });
    let asked = served.try_to_ask(FABRIKAM, Some("relecloud"), &unknown).json();
    assert_eq!(asked["request"]["context"], json!({ "delegatedAdministration": false }));
}
