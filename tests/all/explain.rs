//! Explanations: what a denial lacks and what a permit is based on. Examples from the pack and one for each
//! kind of condition; `brute_force` compares explanations of random content with a search over all edits.

mod brute_force;
mod generator;
mod random_content;
mod turns;

use serde_json::{Value, json};

use crate::support::{Content, Sidecar, question, register};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

fn uid(entity_type: &str, id: &str) -> Value {
    json!({ "type": format!("Autopilot::{entity_type}"), "id": id })
}

/// The modification that sets the channel in the context.
fn channel(id: &str) -> Value {
    json!({ "fact": "context", "path": "channel", "value": id })
}

/// The modification that makes an entity a member of an ancestor, through entities of these types.
fn member(entity: Value, ancestor: Value, through: &[&str]) -> Value {
    let through: Vec<String> = through.iter().map(|name| format!("Autopilot::{name}")).collect();
    json!({ "fact": "member", "entity": entity, "of": ancestor, "through": through })
}

fn explain(sidecar: &Sidecar, mut question: Value) -> Value {
    question["options"] = json!({ "explain": true });
    sidecar.evaluate(&question)["context"]["explanation"].clone()
}

/// Checks that the explanation of a denial has exactly these repairs and is complete.
#[track_caller]
fn check_repairs(sidecar: &Sidecar, question: Value, outcome: &str, repairs: Value) {
    check(sidecar, question, outcome, repairs, true);
}

/// As `check_repairs`, for a request for consent: it could name any partnership, in which the partner could be, so
/// the search says that there may be more.
#[track_caller]
fn check_repairs_of_request(sidecar: &Sidecar, question: Value, outcome: &str, repairs: Value) {
    check(sidecar, question, outcome, repairs, false);
}

#[track_caller]
fn check(sidecar: &Sidecar, question: Value, outcome: &str, repairs: Value, complete: bool) {
    let explanation = explain(sidecar, question);
    assert_eq!(explanation["outcome"], outcome, "{explanation}");
    assert_eq!(
        (&explanation["missing"], &explanation["complete"]),
        (&repairs, &json!(complete)),
        "{explanation}"
    );
}

const FABRIKAM: (&str, &str) = ("DirectBillPartner", "fabrikam");

#[test]
fn a_wrong_channel_is_explained() {
    let sidecar = Sidecar::of_pack(&[]);
    // A reseller may never use the API.
    check_repairs(
        &sidecar,
        register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api"),
        "forbidden",
        json!([[channel("partner-center-ui")]]),
    );
    check_repairs(
        &sidecar,
        register(FABRIKAM, "contoso", "oem-api"),
        "not_permitted",
        json!([[channel("partner-center-api")], [channel("partner-center-ui")]]),
    );
}

/// Relecloud has given no consent, and its reseller has no provider there.
#[test]
fn a_missing_consent_is_explained() {
    let sidecar = Sidecar::of_pack(&[]);
    let relecloud = || uid("Customer", "relecloud");
    let by_fabrikam = member(relecloud(), uid("DirectBillPartner", "fabrikam"), &["CspConsent"]);
    check_repairs(
        &sidecar,
        register(FABRIKAM, "relecloud", "partner-center-api"),
        "not_permitted",
        json!([[by_fabrikam]]),
    );
    let by_wingtip = member(relecloud(), uid("IndirectProvider", "wingtip"), &["CspConsent", "Partnership"]);
    check_repairs(
        &sidecar,
        register(("IndirectProvider", "wingtip"), "relecloud", "partner-center-ui"),
        "not_permitted",
        json!([[by_wingtip]]),
    );
}

#[test]
fn a_wrong_attribute_is_explained() {
    let sidecar = Sidecar::of_pack(&[]);
    let lucerne = ("DirectBillPartner", "lucerne");
    // Lucerne is suspended. The second question also has a wrong channel.
    let active = json!({ "fact": "attribute", "entity": uid("DirectBillPartner", "lucerne"), "path": "active", "value": true });
    check_repairs(
        &sidecar,
        register(lucerne, "margies-travel", "partner-center-api"),
        "not_permitted",
        json!([[active]]),
    );
    check_repairs(
        &sidecar,
        register(lucerne, "margies-travel", "intune"),
        "not_permitted",
        json!([[channel("partner-center-api"), active], [channel("partner-center-ui"), active]]),
    );
    check_repairs(
        &sidecar,
        register(("TenantUser", "user@contoso"), "contoso", "intune"),
        "not_permitted",
        json!([[{ "fact": "attribute", "entity": uid("TenantUser", "user@contoso"), "path": "roles", "includes": "intune-administrator" }]]),
    );
    // An attribute that has to be present, with any value.
    let requested = || uid("CspConsent", "margies-travel--fabrikam");
    check_repairs(
        &sidecar,
        question(FABRIKAM, "administer", ("CspConsent", "margies-travel--fabrikam"), json!({})),
        "not_permitted",
        json!([[
            member(uid("Customer", "margies-travel"), requested(), &[]),
            { "fact": "attribute", "entity": requested(), "path": "acceptedBy", "present": true },
        ]]),
    );
}

/// An OEM may ask for consent without delegated administration, and may never administer.
#[test]
fn a_denial_by_a_forbid_has_a_repair_only_if_its_condition_can_change() {
    let sidecar = Sidecar::of_pack(&[]);
    let trey = ("Oem", "trey");
    let delegated = json!({ "delegatedAdministration": true });
    check_repairs_of_request(
        &sidecar,
        question(trey, "requestConsent", ("Customer", "contoso"), delegated),
        "forbidden",
        json!([[{ "fact": "context", "path": "delegatedAdministration", "value": false }]]),
    );
    let consent = ("CspConsent", "contoso--fabrikam");
    check_repairs(&sidecar, question(trey, "administer", consent, json!({})), "forbidden", json!([]));
}

#[test]
fn unknown_principals_and_resources_have_no_repairs() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |question, outcome| check_repairs(&sidecar, question, outcome, json!([]));
    check(register(("Oem", "nobody"), "contoso", "oem-api"), "unknown_principal");
    check(register(("Oem", "trey"), "nobody", "oem-api"), "unknown_resource");
}

/// If the caller describes the principal, the repair changes the described value.
#[test]
fn repairs_can_change_described_entities() {
    let sidecar = Sidecar::of_pack(&["--described-by-callers", "DirectBillPartner"]);
    for id in ["fabrikam", "nobody"] {
        let mut question =
            question(("DirectBillPartner", id), "requestConsent", ("Customer", "contoso"), json!({}));
        question["context"] = json!({ "delegatedAdministration": false });
        question["subject"]["properties"] = json!({ "active": false });
        let partner = uid("DirectBillPartner", id);
        let active = json!({ "fact": "attribute", "entity": partner, "path": "active", "value": true });
        check_repairs_of_request(&sidecar, question, "not_permitted", json!([[active]]));
    }
}

#[test]
fn a_permit_shows_its_memberships_and_policies() {
    let sidecar = Sidecar::of_pack(&[]);
    let check_chain = |partner, uids: &[(&str, &str)]| {
        let explanation = explain(&sidecar, register(partner, "northwind", "partner-center-ui"));
        let uids: Vec<Value> = uids.iter().map(|(entity_type, id)| uid(entity_type, id)).collect();
        assert_eq!(explanation["chains"], json!([uids]), "{explanation}");
        assert_eq!(explanation["outcome"], "permitted");
        assert!(explanation.get("missing").is_none(), "{explanation}");
    };
    let northwind = ("Customer", "northwind");
    let [tailspin, litware] = ["wingtip--tailspin", "proseware--litware"].map(|id| ("Partnership", id));
    let [by_tailspin, by_litware] =
        ["northwind--wingtip--tailspin", "northwind--proseware--litware"].map(|id| ("CspConsent", id));
    let (wingtip, proseware) = (("IndirectProvider", "wingtip"), ("IndirectProvider", "proseware"));
    check_chain(wingtip, &[northwind, by_tailspin, tailspin, wingtip]);
    check_chain(proseware, &[northwind, by_litware, litware, proseware]);
    // A permit without a membership.
    let own = explain(&sidecar, register(("TenantUser", "intune@contoso"), "contoso", "intune"));
    assert_eq!((&own["policies"], &own["chains"]), (&json!(["tenant-registers-its-own"]), &json!([])));
}

#[test]
fn items_of_a_batch_can_ask_for_their_own_explanations() {
    let sidecar = Sidecar::of_pack(&[]);
    let question_with_explain = |explain: Value| {
        let mut question = register(("Oem", "trey"), "contoso", "intune");
        question["options"] = json!({ "explain": explain, "colour": "blue" });
        question
    };
    let plain = register(("Oem", "trey"), "contoso", "oem-api");
    let batch = |items: Value, options: Value| {
        let body = json!({ "evaluations": items, "options": options });
        sidecar.post(EVALUATIONS, body.to_string()).json()["evaluations"].clone()
    };
    let answers = batch(
        json!([plain, question_with_explain(json!(true)), question_with_explain(json!("yes"))]),
        json!({}),
    );
    assert_eq!(answers[0], json!({ "decision": true }));
    assert_eq!(answers[1]["context"]["explanation"]["missing"], json!([[channel("oem-api")]]));
    assert_eq!(answers[2]["context"]["error"]["status"], 400);
    let answers = batch(json!([plain, question_with_explain(json!(false))]), json!({ "explain": true }));
    assert_eq!(answers[0]["context"]["explanation"]["policies"], json!(["oem-registers"]));
    assert_eq!(answers[1], json!({ "decision": false }));
    let refused = sidecar.post(EVALUATION, question_with_explain(json!(1)).to_string());
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (400, "options.explain: has to be a boolean, found a whole number")
    );
}

/// All decisions are made, even if the budget is used up.
#[test]
fn the_explanations_of_a_batch_share_one_budget() {
    let content = Content::of_pack();
    let many =
        (0..30).map(|n| format!("resource in Autopilot::Oem::\"{n}\"")).collect::<Vec<_>>().join(" || ");
    content.write(
        "policies/many.cedar",
        &format!("@id(\"many\") permit (principal is Autopilot::Oem, action, resource is Autopilot::Customer) when {{ {many} }};"),
    );
    let sidecar = content.serve();
    let items = vec![register(("Oem", "trey"), "relecloud", "intune"); 1_000];
    let body = json!({ "evaluations": items, "options": { "explain": true } });
    let answers = sidecar.post(EVALUATIONS, body.to_string()).json();
    let explanation = |n: usize| &answers["evaluations"][n]["context"]["explanation"];
    assert_eq!(explanation(0)["missing"].as_array().unwrap().len(), 8);
    assert_eq!((&explanation(999)["missing"], &explanation(999)["complete"]), (&json!([]), &json!(false)));
    assert_eq!(explanation(999)["policies"], json!(["many", "oem-registers"]));
}

const CONDITION_SCHEMA: &str = "\
entity Group; entity Thing;
entity User in [Group] = {
  level: Long, mail: String, nick?: String, boss?: User, words: Set<String>, groups: Set<Group>,
  home: { floor?: Long, group: Group },
};
action see appliesTo { principal: User, resource: Thing, context: { n: Long, ip?: ipaddr } };";

/// One user, one thing, two groups, and one permit with this condition.
fn content_with_condition(condition: &str) -> Content {
    let policy = format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};");
    let group = |id| json!({ "type": "Group", "id": id });
    let entity = |uid, attrs, parents| json!({ "uid": uid, "attrs": attrs, "parents": parents });
    let user = json!({ "level": 1, "mail": "u@x", "nick": "n", "words": ["a"], "groups": [], "home": { "group": group("g2") } });
    let entities = json!([
        entity(group("g1"), json!({}), json!([])),
        entity(group("g2"), json!({}), json!([])),
        entity(json!({ "type": "Thing", "id": "t" }), json!({}), json!([])),
        entity(json!({ "type": "User", "id": "u" }), user, json!([group("g1")])),
    ]);
    Content::of(&[
        ("policies/s.cedarschema", CONDITION_SCHEMA),
        ("policies/p.cedar", &policy),
        ("entities/e.json", &entities.to_string()),
    ])
}

/// Checks the lines that `decide --explain` prints if this condition of the only permit is not met.
#[track_caller]
fn check_condition(condition: &str, lines: &[&str]) {
    let content = content_with_condition(condition);
    let question =
        ["--principal", "User::u", "--action", "see", "--resource", "Thing::t", "--context", "n=0"];
    let output = content.mandate("decide", &[&["--explain"][..], &question].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let after_heading =
        text.lines().skip_while(|line| !line.contains("missing") && !line.contains("nothing")).skip(1);
    let shown: Vec<&str> =
        after_heading.map(str::trim).filter(|line| !line.starts_with("revision")).collect();
    assert_eq!(shown, lines, "{condition}\n{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_kind_of_condition_is_explained() {
    check_condition("principal.level > 3", &["- User::u.level = 4"]);
    check_condition("principal.level != 1", &["- User::u.level other than 1"]);
    check_condition(
        "3 <= context.n && context.n != 3",
        &["- context.n = 4", "(the search stopped at its limit: there may be others)"],
    );
    check_condition("principal.mail like \"*@y\"", &["- User::u.mail = \"@y\""]);
    check_condition("principal.home has floor && principal.home.floor > 2", &["- User::u.home.floor = 3"]);
    check_condition("principal has boss", &["- User::u.boss present"]);
    check_condition("!(principal has nick)", &["- User::u.nick absent"]);
    check_condition("principal.words.contains(\"b\")", &["- User::u.words with \"b\""]);
    check_condition("!principal.words.contains(\"a\")", &["- User::u.words without \"a\""]);
    check_condition(
        "principal.words.containsAll([\"b\", \"c\"])",
        &["- User::u.words with \"b\"", "and User::u.words with \"c\""],
    );
    check_condition("!(principal in Group::\"g1\")", &["- User::u no longer in Group::g1"]);
    check_condition(
        "principal in principal.home.group",
        &["- User::u in Group::g2", "- User::u.home.group = Group::g1"],
    );
    check_condition("principal in principal.groups", &["- User::u.groups with Group::g1"]);
    check_condition("if context.n == 0 then false else true", &["- context.n other than 0"]);
    check_condition("principal == User::\"v\"", &[]);
    check_condition("context has ip && context.ip.isLoopback()", &[]);
}

/// Checks that `mandate decide --explain` prints these lines and exits with this code.
#[track_caller]
fn check_decide(arguments: &str, code: i32, lines: &[&str]) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let flags = ["--principal", "--action", "--resource", "--context"];
    let arguments: Vec<&str> =
        flags.into_iter().zip(arguments).flat_map(|(flag, value)| [flag, value]).collect();
    let output = Content::of_pack().mandate("decide", &[&["--explain"][..], &arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(&format!("  {}\n  revision", lines.join("\n    "))), "{text}");
}

#[test]
fn decide_prints_explanations_as_text() {
    check_decide(
        "IndirectReseller::tailspin registerDevice Customer::northwind channel=partner-center-api",
        2,
        &["missing for a permit", "- context.channel = partner-center-ui"],
    );
    check_decide(
        "DirectBillPartner::fabrikam registerDevice Customer::relecloud channel=partner-center-ui",
        2,
        &[
            "missing for a permit",
            "- Customer::relecloud in DirectBillPartner::fabrikam, through a CspConsent",
        ],
    );
    // A consent that was requested but not given yet is found among the entities.
    check_decide(
        "DirectBillPartner::fabrikam registerDevice Customer::margies-travel channel=partner-center-ui",
        2,
        &[
            "missing for a permit: any one of these",
            "- Customer::margies-travel in CspConsent::margies-travel--fabrikam",
            "- Customer::margies-travel in DirectBillPartner::fabrikam, through a CspConsent",
        ],
    );
    check_decide(
        "TenantUser::user@contoso registerDevice Customer::contoso channel=oem-api",
        2,
        &[
            "missing for a permit",
            "- context.channel = intune",
            "  and TenantUser::user@contoso.roles with intune-administrator",
        ],
    );
    check_decide(
        "Oem::trey administer CspConsent::contoso--fabrikam",
        2,
        &["no change of entities or context would permit it"],
    );
    check_decide("Oem::nobody viewCustomer Customer::contoso", 2, &["the principal is not known"]);
    check_decide(
        "IndirectProvider::wingtip registerDevice Customer::northwind channel=partner-center-ui",
        0,
        &[
            "by the memberships",
            "Customer::northwind in CspConsent::northwind--wingtip--tailspin in Partnership::wingtip--tailspin in IndirectProvider::wingtip\n  \
             as a change, it cannot be performed: `context.device` is missing: this change needs it",
        ],
    );
}

#[test]
fn decide_explains_what_a_permitted_action_would_change() {
    check_decide(
        "DirectBillPartner::fabrikam requestConsent Customer::relecloud delegatedAdministration=true",
        0,
        &[
            "as a change, it would",
            "create CspConsent::made-1 in DirectBillPartner::fabrikam { customer: Customer::relecloud, delegatedAdministration: true }",
        ],
    );
    check_decide(
        "TenantUser::admin@margies-travel acceptConsent CspConsent::margies-travel--fabrikam",
        0,
        &[
            "as a change, it would",
            "set CspConsent::margies-travel--fabrikam.acceptedBy = TenantUser::admin@margies-travel",
            "add Customer::margies-travel in CspConsent::margies-travel--fabrikam",
        ],
    );
    check_decide(
        "TenantUser::admin@relecloud removeDelegatedAdministration CspConsent::relecloud--tailspin",
        0,
        &["as a change, it would do nothing: all is so already"],
    );
    check_decide(
        "MicrosoftOperator::msoemops revokeConsent OemConsent::contoso--trey",
        0,
        &["as a change, it would", "take away Customer::contoso in OemConsent::contoso--trey"],
    );
}

/// An attribute that a member requires cannot go alone, so that is not proposed.
#[test]
fn repairs_keep_what_members_require() {
    let content = Content::of_pack();
    let text = "@id(\"x\") permit (principal is Autopilot::MicrosoftOperator, action, resource is Autopilot::CspConsent) unless { resource has acceptedBy };";
    content.write("policies/x.cedar", text);
    let explain = |expected: &str| {
        let arguments =
            ["--explain", "--principal", "MicrosoftOperator::msoemops", "--action", "revokeConsent"];
        let resource = ["--resource", "CspConsent::contoso--fabrikam"];
        let output = content.mandate("decide", &[&arguments[..], &resource].concat());
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
    };
    explain("no change of entities or context would permit it");
    let edge = r#"{"type": "Autopilot::CspConsent", "id": "contoso--fabrikam"}, "#;
    content.edit("entities/customers.json", edge, "");
    explain("CspConsent::contoso--fabrikam.acceptedBy absent");
}

#[test]
fn decide_prints_explanations_as_json() {
    let arguments = [
        "--principal",
        "Oem::trey",
        "--action",
        "registerDevice",
        "--resource",
        "Customer::contoso",
        "--context",
        "channel=intune",
        "--format",
        "json",
    ];
    let answer = |more: &[&str]| -> Value {
        let output = Content::of_pack().mandate("decide", &[&arguments[..], more].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let explanation = json!({ "outcome": "not_permitted", "policies": ["oem-registers"], "missing": [[channel("oem-api")]], "complete": true });
    assert_eq!(answer(&["--explain"])["context"]["explanation"], explanation);
    assert!(answer(&[])["context"].get("explanation").is_none());
}
