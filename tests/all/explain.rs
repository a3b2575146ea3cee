//! Explanations: compared with brute force on small random content, and checked on the pack's examples.

mod small;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mandate_core::policies::Policies;
use mandate_query::explain::{Budget, Explanation, MAX_MODIFICATIONS, Repair};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Content, Sidecar, question, register};
use small::{Edit, Small, small};

/// A repair of at most three edits that leads to a permit and has fewer modifications than `than`; found by
/// trying all.
fn fewer(world: &Small, policies: &Arc<Policies>, than: usize) -> Option<Vec<Edit>> {
    let universe = world.universe();
    let all = || 0..universe.len();
    let one = all().map(|a| vec![a]);
    let two = all().flat_map(|a| (0..a).map(move |b| vec![b, a]));
    let three = all().flat_map(|a| (0..a).flat_map(move |b| (0..b).map(move |c| vec![c, b, a])));
    let mut picked = one
        .chain(two)
        .chain(three)
        .map(|picked| picked.iter().map(|n| universe[*n].clone()).collect::<Vec<_>>());
    picked.find(|edits| {
        edits.len() < than && world.weight(edits) < than && world.permits_after(edits, policies) == Some(true)
    })
}

fn sound_and_minimal(
    world: &Small,
    policies: &Arc<Policies>,
    missing: &[Repair],
) -> Result<(), TestCaseError> {
    for facts in missing {
        let permits = |facts: &Repair| {
            let mut world = world.clone();
            let edits = world.edits_of(facts);
            world.permits_after(&edits, policies)
        };
        prop_assert_eq!(permits(facts), Some(true), "{:?}", facts);
        for part in facts.proper_subsets() {
            prop_assert_ne!(permits(&part), Some(true), "{:?} is enough of {:?}", part, facts);
        }
    }
    Ok(())
}

/// Every repair leads to a permit and no part of it does, decided on entities that were loaded again; and no
/// smaller repair is found by trying all.
#[test]
fn explanations_are_what_brute_force_finds() {
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let (explained, all) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&small(), |world| {
        let policies = world.policies();
        let snapshot = world.snapshot(&policies).unwrap();
        let (decision, explanation) = world.ask(&snapshot, Some(&mut Budget::single()));
        let Some(Explanation::Denial { missing, complete }) = explanation else {
            prop_assert!(decision.is_permit());
            return Ok(());
        };
        prop_assert!(!decision.is_permit());
        sound_and_minimal(&world, &policies, &missing)?;
        let found = missing.first().map_or(MAX_MODIFICATIONS + 1, Repair::len);
        prop_assert_eq!(
            fewer(&world, &policies, found).map(|edits| format!("{edits:?}")),
            None,
            "{:?}",
            missing
        );
        explained.set(explained.get() + usize::from(!missing.is_empty()));
        all.set(all.get() + usize::from(complete));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(explained.get() > 5 && all.get() > 5, "{explained:?} explained, {all:?} completely");
}

/// Explains a denial by these policies alone. The time limit is generous: only a search without limits would
/// exceed it.
#[track_caller]
fn bounded(policies: impl IntoIterator<Item = String>, found: usize, is_complete: bool) {
    let mut runner = TestRunner::deterministic();
    let world =
        small().new_tree(&mut runner).unwrap().current().with_policies(policies.into_iter().collect());
    let policies = world.policies();
    let snapshot = world.snapshot(&policies).unwrap();
    let started = Instant::now();
    let Some(Explanation::Denial { missing, complete }) = world.ask(&snapshot, Some(&mut Budget::single())).1
    else {
        panic!("no denial");
    };
    assert_eq!((missing.len(), complete), (found, is_complete), "{policies:?}: {missing:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// `principal in …`, `many` times, joined by an operator.
fn teams(of: &str, many: usize, operator: &str) -> String {
    let terms: Vec<String> = (0..many).map(|n| format!("principal in Team::\"{of}-{n}\"")).collect();
    format!("({})", terms.join(operator))
}

fn all_of(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" && ")
}

/// Cedar evaluates long chains by recursion, which needs more stack in debug builds.
#[test]
fn explanations_are_bounded() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(bounds).unwrap();
    thread.join().unwrap();
}

fn bounds() {
    let when = |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
    bounded([when(teams("x", 3, " || "))], 3, true);
    bounded([when(teams("x", 5, " && "))], 1, true);
    // More modifications than a repair may have.
    bounded([when(teams("x", 6, " && "))], 0, false);
    // More repairs than are shown.
    bounded([when(teams("x", 9, " || "))], 8, false);
    bounded((0..40).map(|n| when(teams(&n.to_string(), 60, " || "))), 8, false);
    // More alternatives than can be tried: 30^3 and 30^12.
    bounded([when(all_of((0..3).map(|n| teams(&n.to_string(), 30, " || "))))], 8, false);
    bounded([when(all_of((0..12).map(|n| teams(&n.to_string(), 30, " || "))))], 0, false);
    let forbids = (0..40).map(|n| {
        format!("forbid (principal, action, resource) unless {{ {} }};", teams(&n.to_string(), 40, " || "))
    });
    bounded(forbids.chain(["permit (principal, action, resource);".to_owned()]), 0, false);
    // Many permits that no repair satisfies.
    let unmet = |n| {
        format!(
            "permit (principal in Team::\"{n}\", action, resource) when {{ resource.secret && !resource.secret }};"
        )
    };
    bounded((0..1_000).map(unmet), 0, false);
}

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

fn name(kind: &str, id: &str) -> Value {
    json!({ "type": format!("Autopilot::{kind}"), "id": id })
}

fn channel(id: &str) -> Value {
    json!({ "fact": "context", "path": "channel", "value": id })
}

fn member(entity: Value, of: Value, through: &[&str]) -> Value {
    let through: Vec<String> = through.iter().map(|kind| format!("Autopilot::{kind}")).collect();
    json!({ "fact": "member", "entity": entity, "of": of, "through": through })
}

fn explanation(sidecar: &Sidecar, mut question: Value) -> Value {
    question["options"] = json!({ "explain": true });
    sidecar.evaluate(&question)["context"]["explanation"].clone()
}

/// The explanation of a denial has exactly these repairs, and is complete.
#[track_caller]
fn missing(sidecar: &Sidecar, question: Value, outcome: &str, sets: Value) {
    let explanation = explanation(sidecar, question);
    assert_eq!(explanation["outcome"], outcome, "{explanation}");
    assert_eq!((&explanation["missing"], &explanation["complete"]), (&sets, &json!(true)), "{explanation}");
}

#[test]
fn the_packs_denials_say_what_is_missing() {
    let sidecar = Sidecar::of_pack(&[]);
    let check = |question, outcome, sets| missing(&sidecar, question, outcome, sets);
    let (fabrikam, lucerne) = (("DirectBillPartner", "fabrikam"), ("DirectBillPartner", "lucerne"));
    // A reseller may never use the API.
    check(
        register(("IndirectReseller", "tailspin"), "northwind", "partner-center-api"),
        "forbidden",
        json!([[channel("partner-center-ui")]]),
    );
    // Relecloud has given no consent, and its reseller has no provider there.
    let relecloud = || name("Customer", "relecloud");
    let consent = member(relecloud(), name("DirectBillPartner", "fabrikam"), &["CspConsent"]);
    check(register(fabrikam, "relecloud", "partner-center-api"), "not_permitted", json!([[consent]]));
    check(
        register(("IndirectProvider", "wingtip"), "relecloud", "partner-center-ui"),
        "not_permitted",
        json!([[member(relecloud(), name("IndirectProvider", "wingtip"), &["CspConsent", "Partnership"])]]),
    );
    // A suspended partner; the second question also has a wrong channel.
    let active = json!({ "fact": "attribute", "entity": name("DirectBillPartner", "lucerne"), "path": "active", "value": true });
    check(register(lucerne, "margies-travel", "partner-center-api"), "not_permitted", json!([[active]]));
    check(
        register(lucerne, "margies-travel", "intune"),
        "not_permitted",
        json!([[channel("partner-center-api"), active], [channel("partner-center-ui"), active]]),
    );
    check(
        register(fabrikam, "contoso", "oem-api"),
        "not_permitted",
        json!([[channel("partner-center-api")], [channel("partner-center-ui")]]),
    );
    // An OEM may ask for consent without delegated administration, and never administers.
    check(
        question(
            ("Oem", "trey"),
            "requestConsent",
            ("Customer", "contoso"),
            json!({ "delegatedAdministration": true }),
        ),
        "forbidden",
        json!([[{ "fact": "context", "path": "delegatedAdministration", "value": false }]]),
    );
    let consent = ("CspConsent", "contoso--fabrikam");
    check(question(("Oem", "trey"), "administer", consent, json!({})), "forbidden", json!([]));
    check(
        register(("TenantUser", "user@contoso"), "contoso", "intune"),
        "not_permitted",
        json!([[{ "fact": "attribute", "entity": name("TenantUser", "user@contoso"), "path": "roles", "includes": "intune-administrator" }]]),
    );
    // An attribute that has to be present, with any value.
    let requested = || name("CspConsent", "margies-travel--fabrikam");
    check(
        question(fabrikam, "administer", ("CspConsent", "margies-travel--fabrikam"), json!({})),
        "not_permitted",
        json!([[
            member(name("Customer", "margies-travel"), requested(), &[]),
            { "fact": "attribute", "entity": requested(), "path": "acceptedBy", "present": true },
        ]]),
    );
    check(register(("Oem", "nobody"), "contoso", "oem-api"), "unknown_principal", json!([]));
    check(register(("Oem", "trey"), "nobody", "oem-api"), "unknown_resource", json!([]));
}

/// If callers describe a principal, the repair changes the described value.
#[test]
fn what_callers_describe_can_be_missing() {
    let sidecar = Sidecar::of_pack(&["--described-by-callers", "DirectBillPartner"]);
    for id in ["fabrikam", "nobody"] {
        let mut question =
            question(("DirectBillPartner", id), "requestConsent", ("Customer", "contoso"), json!({}));
        question["context"] = json!({ "delegatedAdministration": false });
        question["subject"]["properties"] = json!({ "active": false });
        let partner = name("DirectBillPartner", id);
        let active = json!({ "fact": "attribute", "entity": partner, "path": "active", "value": true });
        missing(&sidecar, question, "not_permitted", json!([[active]]));
    }
}

#[test]
fn a_permit_says_what_it_rests_on() {
    let sidecar = Sidecar::of_pack(&[]);
    let chain = |partner, names: &[(&str, &str)]| {
        let explained = explanation(&sidecar, register(partner, "northwind", "partner-center-ui"));
        let names: Vec<Value> = names.iter().map(|(kind, id)| name(kind, id)).collect();
        assert_eq!(explained["chains"], json!([names]), "{explained}");
        assert_eq!(explained["outcome"], "permitted");
        assert!(explained.get("missing").is_none(), "{explained}");
    };
    let northwind = ("Customer", "northwind");
    let [tailspin, litware] = ["wingtip--tailspin", "proseware--litware"].map(|id| ("Partnership", id));
    let [by_tailspin, by_litware] =
        ["northwind--wingtip--tailspin", "northwind--proseware--litware"].map(|id| ("CspConsent", id));
    let (wingtip, proseware) = (("IndirectProvider", "wingtip"), ("IndirectProvider", "proseware"));
    chain(wingtip, &[northwind, by_tailspin, tailspin, wingtip]);
    chain(proseware, &[northwind, by_litware, litware, proseware]);
    // A permit that rests on no membership.
    let own = explanation(&sidecar, register(("TenantUser", "intune@contoso"), "contoso", "intune"));
    assert_eq!((&own["policies"], &own["chains"]), (&json!(["tenant-registers-its-own"]), &json!([])));
}

#[test]
fn items_of_a_batch_explain_for_themselves() {
    let sidecar = Sidecar::of_pack(&[]);
    let explaining = |explain: Value| {
        let mut question = register(("Oem", "trey"), "contoso", "intune");
        question["options"] = json!({ "explain": explain, "colour": "blue" });
        question
    };
    let plain = register(("Oem", "trey"), "contoso", "oem-api");
    let batch = |items: Value, options: Value| {
        let body = json!({ "evaluations": items, "options": options });
        sidecar.post(EVALUATIONS, body.to_string()).json()["evaluations"].clone()
    };
    let answers = batch(json!([plain, explaining(json!(true)), explaining(json!("yes"))]), json!({}));
    assert_eq!(answers[0], json!({ "decision": true }));
    assert_eq!(answers[1]["context"]["explanation"]["missing"], json!([[channel("oem-api")]]));
    assert_eq!(answers[2]["context"]["error"]["status"], 400);
    let answers = batch(json!([plain, explaining(json!(false))]), json!({ "explain": true }));
    assert_eq!(answers[0]["context"]["explanation"]["policies"], json!(["oem-registers"]));
    assert_eq!(answers[1], json!({ "decision": false }));
    let refused = sidecar.post(EVALUATION, explaining(json!(1)).to_string());
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (400, "options.explain: has to be a boolean, found a whole number")
    );
}

/// The explanations of a batch share one budget. All decisions are made, even if the budget is used up.
#[test]
fn a_batch_shares_one_budget() {
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

/// The explanation of a denial by this condition alone has these lines.
#[track_caller]
fn lacks(condition: &str, lines: &[&str]) {
    let content = Content::of_pack();
    std::fs::remove_dir_all(content.policies()).unwrap();
    std::fs::remove_dir_all(content.entities()).unwrap();
    std::fs::create_dir_all(content.policies()).unwrap();
    std::fs::create_dir_all(content.entities()).unwrap();
    content.write(
        "policies/s.cedarschema",
        "entity Group; entity Thing;
         entity User in [Group] = {
           level: Long, mail: String, nick?: String, boss?: User, words: Set<String>, groups: Set<Group>,
           home: { floor?: Long, group: Group },
         };
         action see appliesTo { principal: User, resource: Thing, context: { n: Long, ip?: ipaddr } };",
    );
    content.write(
        "policies/p.cedar",
        &format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};"),
    );
    let group = |id| json!({ "type": "Group", "id": id });
    let entity = |uid, attrs, parents| json!({ "uid": uid, "attrs": attrs, "parents": parents });
    let user = json!({ "level": 1, "mail": "u@x", "nick": "n", "words": ["a"], "groups": [], "home": { "group": group("g2") } });
    let entities = json!([
        entity(group("g1"), json!({}), json!([])),
        entity(group("g2"), json!({}), json!([])),
        entity(json!({ "type": "Thing", "id": "t" }), json!({}), json!([])),
        entity(json!({ "type": "User", "id": "u" }), user, json!([group("g1")])),
    ]);
    content.write("entities/e.json", &entities.to_string());
    let question =
        ["--principal", "User::u", "--action", "see", "--resource", "Thing::t", "--context", "n=0"];
    let output = content.mandate("decide", &[&["--explain"][..], &question].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> =
        text.lines().skip_while(|line| !line.contains("missing") && !line.contains("nothing")).collect();
    let shown: Vec<&str> =
        shown.iter().skip(1).map(|line| line.trim()).filter(|line| !line.starts_with("revision")).collect();
    assert_eq!(shown, lines, "{condition}\n{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_kind_of_condition_is_explained() {
    lacks("principal.level > 3", &["- User::u.level = 4"]);
    lacks("principal.level != 1", &["- User::u.level other than 1"]);
    lacks(
        "3 <= context.n && context.n != 3",
        &["- context.n = 4", "(the search stopped at its limit: there may be others)"],
    );
    lacks("principal.mail like \"*@y\"", &["- User::u.mail = \"@y\""]);
    lacks("principal.home has floor && principal.home.floor > 2", &["- User::u.home.floor = 3"]);
    lacks("principal has boss", &["- User::u.boss present"]);
    lacks("!(principal has nick)", &["- User::u.nick absent"]);
    lacks("principal.words.contains(\"b\")", &["- User::u.words with \"b\""]);
    lacks("!principal.words.contains(\"a\")", &["- User::u.words without \"a\""]);
    lacks(
        "principal.words.containsAll([\"b\", \"c\"])",
        &["- User::u.words with \"b\"", "and User::u.words with \"c\""],
    );
    lacks("!(principal in Group::\"g1\")", &["- User::u no longer in Group::g1"]);
    lacks(
        "principal in principal.home.group",
        &["- User::u in Group::g2", "- User::u.home.group = Group::g1"],
    );
    lacks("principal in principal.groups", &["- User::u.groups with Group::g1"]);
    lacks("if context.n == 0 then false else true", &["- context.n other than 0"]);
    lacks("principal == User::\"v\"", &[]);
    lacks("context has ip && context.ip.isLoopback()", &[]);
}

/// `mandate decide --explain` prints these lines, and exits with this code.
#[track_caller]
fn prints(arguments: &str, code: i32, lines: &[&str]) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let names = ["--principal", "--action", "--resource", "--context"];
    let arguments: Vec<&str> =
        names.into_iter().zip(arguments).flat_map(|(name, value)| [name, value]).collect();
    let output = Content::of_pack().mandate("decide", &[&["--explain"][..], &arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(&format!("  {}\n  revision", lines.join("\n    "))), "{text}");
}

#[test]
fn decide_explains_to_people() {
    prints(
        "IndirectReseller::tailspin registerDevice Customer::northwind channel=partner-center-api",
        2,
        &["missing for a permit", "- context.channel = partner-center-ui"],
    );
    prints(
        "DirectBillPartner::fabrikam registerDevice Customer::relecloud channel=partner-center-ui",
        2,
        &[
            "missing for a permit",
            "- Customer::relecloud in DirectBillPartner::fabrikam, through a CspConsent",
        ],
    );
    // A consent that was requested but not given yet is found among the entities.
    prints(
        "DirectBillPartner::fabrikam registerDevice Customer::margies-travel channel=partner-center-ui",
        2,
        &[
            "missing for a permit: any one of these",
            "- Customer::margies-travel in CspConsent::margies-travel--fabrikam",
            "- Customer::margies-travel in DirectBillPartner::fabrikam, through a CspConsent",
        ],
    );
    prints(
        "TenantUser::user@contoso registerDevice Customer::contoso channel=oem-api",
        2,
        &[
            "missing for a permit",
            "- context.channel = intune",
            "  and TenantUser::user@contoso.roles with intune-administrator",
        ],
    );
    prints(
        "Oem::trey administer CspConsent::contoso--fabrikam",
        2,
        &["no change of entities or context would permit it"],
    );
    prints("Oem::nobody viewCustomer Customer::contoso", 2, &["the principal is not known"]);
    prints(
        "IndirectProvider::wingtip registerDevice Customer::northwind channel=partner-center-ui",
        0,
        &[
            "by the memberships",
            "Customer::northwind in CspConsent::northwind--wingtip--tailspin in Partnership::wingtip--tailspin in IndirectProvider::wingtip",
        ],
    );
}

#[test]
fn decide_explains_to_programs() {
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
    let explained = json!({ "outcome": "not_permitted", "policies": ["oem-registers"], "missing": [[channel("oem-api")]], "complete": true });
    assert_eq!(answer(&["--explain"])["context"]["explanation"], explained);
    assert!(answer(&[])["context"].get("explanation").is_none());
}
