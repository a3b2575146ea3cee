//! `mandate entities`: a store of entities as people and scripts use it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::support::{Content, mandate};

struct StoreUser {
    content: Content,
    store: PathBuf,
}

impl StoreUser {
    /// A store that took in the entities of the pack.
    fn with_pack() -> Self {
        let content = Content::of_pack();
        let store = content.path("store.redb");
        let user = Self { content, store };
        let imported = user.run("import", &["entities"]);
        assert!(imported.status.success(), "{}", errors(&imported));
        user
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        let arguments = arguments.iter().map(|argument| match *argument {
            "entities" => self.content.path("entities").display().to_string(),
            argument => argument.to_owned(),
        });
        let mut command = mandate();
        command.arg("entities");
        command.arg(verb).args(arguments).arg("--store").arg(&self.store);
        if matches!(verb, "import" | "put" | "delete") {
            command.arg("--policies").arg(self.content.path("policies"));
        }
        command.output().expect("mandate runs")
    }

    fn put(&self, name: &str, entities: &str) -> Output {
        self.content.write(name, entities);
        self.run("put", &[&self.content.path(name).display().to_string()])
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_export_is_what_was_imported() {
    let user = StoreUser::with_pack();
    let exported = text(&user.run("export", &[]));
    assert!(exported.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{exported}");
    let other = user.content.path("other.redb");
    std::fs::create_dir(user.content.path("exported")).unwrap();
    user.content.write("exported/all.ndjson", &exported);
    let again = StoreUser { content: user.content, store: other };
    let folder = again.content.path("exported").display().to_string();
    assert!(again.run("import", &[&folder]).status.success());
    assert_eq!(text(&again.run("export", &[])), exported);
}

#[test]
fn an_import_of_what_is_there_changes_nothing() {
    let user = StoreUser::with_pack();
    let again = text(&user.run("import", &["entities"]));
    assert!(again.starts_with("nothing changed: ") && again.ends_with(":1\n"), "{again}");
}

#[test]
fn each_change_is_a_transaction_of_the_log() {
    let user = StoreUser::with_pack();
    let operator = r#"[{"uid":{"type":"Autopilot::MicrosoftOperator","id":"two"},"attrs":{},"parents":[]}]"#;
    assert!(user.put("two.json", operator).status.success());
    let two = "Autopilot::MicrosoftOperator::two";
    assert!(user.run("get", &[two]).status.success());
    assert!(user.run("delete", &["MicrosoftOperator::two"]).status.success());
    assert_eq!(user.run("get", &[two]).status.code(), Some(2));
    let short = errors(&user.run("get", &["MicrosoftOperator::two"]));
    assert!(short.contains("written `NAMESPACE::TYPE`"), "{short}");
    let log = text(&user.run("log", &["--json", "--after", "1"]));
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&Value> = log.iter().map(|transaction| &transaction["action"]).collect();
    assert_eq!(actions, ["put", "delete"]);
    assert_eq!(log[1]["changes"][0]["delete"]["id"], "two");
    let limited = text(&user.run("log", &["--limit", "1"]));
    assert!(limited.contains("import (") && limited.lines().count() == 1, "{limited}");
}

#[test]
fn what_the_rules_refuse_is_not_committed() {
    let user = StoreUser::with_pack();
    let customer = r#"[{"uid":{"type":"Autopilot::Customer","id":"new"},"attrs":{},
                         "parents":[{"type":"Autopilot::CspConsent","id":"contoso--fabrikam"}]}]"#;
    let refused = user.put("new.json", customer);
    assert_eq!(refused.status.code(), Some(1));
    let message = errors(&refused);
    assert!(message.contains("whose `customer` is") && message.contains("new.json:1:2"), "{message}");
    let refused = user.run("delete", &["DirectBillPartner::fabrikam"]);
    assert!(errors(&refused).contains("which is removed"), "{}", errors(&refused));
    assert_eq!(text(&user.run("log", &[])).lines().count(), 1);
}

#[test]
fn a_rolled_back_store_is_found_by_a_line_from_before() {
    let user = StoreUser::with_pack();
    let before = std::fs::read(&user.store).unwrap();
    let operator = r#"[{"uid":{"type":"Autopilot::MicrosoftOperator","id":"two"},"attrs":{},"parents":[]}]"#;
    assert!(user.put("two.json", operator).status.success());
    let verified = text(&user.run("verify", &[]));
    let line = verified.lines().last().unwrap();
    assert!(user.run("verify", &["--contains", line]).status.success());
    std::fs::write(&user.store, before).unwrap();
    assert!(user.run("verify", &[]).status.success());
    let rolled_back = user.run("verify", &["--contains", line]);
    assert_eq!(rolled_back.status.code(), Some(1));
    assert!(errors(&rolled_back).contains("it was rolled back"), "{}", errors(&rolled_back));
}

#[test]
fn compacting_keeps_the_entities_and_the_position() {
    let user = StoreUser::with_pack();
    let (exported, verified) = (text(&user.run("export", &[])), text(&user.run("verify", &[])));
    assert!(text(&user.run("compact", &[])).ends_with(":1, 0 transactions kept\n"));
    assert_eq!(text(&user.run("export", &[])), exported);
    assert_eq!(text(&user.run("verify", &[])).lines().last(), verified.lines().last());
}

#[test]
fn a_file_that_is_no_store_is_one_clear_sentence() {
    let user = StoreUser::with_pack();
    let check = |name: &str, bytes: Option<&[u8]>, expected: &str| {
        let path = user.content.path(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let mut command = mandate();
        command.arg("entities");
        let output = command.args(["verify", "--store"]).arg(&path).output().unwrap();
        let message = errors(&output);
        assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
        assert!(message.contains(expected) && message.contains(name), "{message}");
    };
    let whole = std::fs::read(&user.store).unwrap();
    check("missing.redb", None, "there is no store");
    check("text.redb", Some(b"not a store"), "is not a store of Mandate");
    check("short.redb", whole.get(..5_000), "is not a store of Mandate");
}

impl StoreUser {
    /// Asks for a change; the exit code, and what was printed.
    fn change(&self, principal: &str, action: &str, resource: &str, context: &[&str]) -> (i32, String) {
        let mut command = mandate();
        command.args(["change", "--principal", principal, "--action", action, "--resource", resource]);
        for pair in context {
            command.args(["--context", pair]);
        }
        command.arg("--store").arg(&self.store).arg("--policies").arg(self.content.path("policies"));
        let output = command.output().expect("mandate runs");
        (output.status.code().unwrap(), text(&output) + &errors(&output))
    }
}

#[test]
fn a_consent_is_requested_accepted_used_and_ended_by_decisions() {
    let user = StoreUser::with_pack();
    let (partner, customer) = ("DirectBillPartner::fabrikam", "Customer::relecloud");
    let check = |asked: (i32, String), code: i32, says: &str| {
        assert!(asked.0 == code && asked.1.contains(says), "{asked:?} is not {code}: {says}");
        asked.1
    };
    let register = |device: &str| {
        let device = format!("device={device}");
        user.change(partner, "registerDevice", customer, &["channel=partner-center-api", &device])
    };
    check(register("d1"), 2, "accepted no consent");
    let requested = user.change(partner, "requestConsent", customer, &["delegatedAdministration=false"]);
    let requested = check(requested, 0, "created CspConsent::");
    let consent = requested.lines().last().unwrap().trim().strip_prefix("created ").unwrap();

    let accept = |by: &str| user.change(by, "acceptConsent", consent, &[]);
    check(accept("TenantUser::admin@contoso"), 2, "Only a Global Administrator of the customer");
    check(accept("TenantUser::admin@relecloud"), 0, "committed: ");
    check(accept("TenantUser::admin@relecloud"), 0, "nothing changed: ");

    check(register("d1"), 0, "created Device::d1");
    check(register("d1"), 1, "`Device::d1` exists already");
    let without = user.change(partner, "registerDevice", customer, &["channel=partner-center-api"]);
    check(without, 1, "`context.device` is missing");
    check(user.change(partner, "viewCustomer", customer, &[]), 1, "changes nothing");
    let deregister = user.change(partner, "deregisterDevice", "Device::d1", &["channel=partner-center-api"]);
    check(deregister, 0, "committed: ");

    user.content.write("policies/deny-all", "An exercise.");
    check(user.change(partner, "revokeConsent", consent, &[]), 2, "An exercise.");
    std::fs::remove_file(user.content.path("policies/deny-all")).unwrap();
    check(user.change(partner, "revokeConsent", consent, &[]), 0, "committed: ");
    check(register("d2"), 2, "accepted no consent");

    let log = text(&user.run("log", &["--json", "--after", "1"]));
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made: Vec<[&Value; 2]> = log.iter().map(|it| [&it["action"], &it["policies"][0]]).collect();
    assert_eq!(
        made,
        [
            ["requestConsent", "partner-requests-consent"],
            ["acceptConsent", "global-administrator-accepts"],
            ["registerDevice", "direct-bill-registers"],
            ["deregisterDevice", "direct-bill-deregisters"],
            ["revokeConsent", "direct-bill-ends-its-own"],
        ]
    );
    assert_eq!(log[1]["subject"], "TenantUser::admin@relecloud");
    assert!(user.run("verify", &[]).status.success());
}

#[test]
fn a_name_with_a_line_break_is_no_line_of_the_log() {
    let user = StoreUser::with_pack();
    let context = ["channel=oem-api", "device=d\n1:9 forged"];
    let (code, said) = user.change("Oem::trey", "registerDevice", "Customer::contoso", &context);
    assert_eq!(code, 0, "{said}");
    let device = "Device::\"d\n1:9 forged\"";
    let (code, said) = user.change("Oem::trey", "deregisterDevice", device, &["channel=oem-api"]);
    assert_eq!(code, 0, "{said}");
    let log = text(&user.run("log", &["--edits", "--after", "1"]));
    assert!(log.lines().count() == 4 && log.contains("d\\n1:9 forged"), "{log}");
}

/// A store may be confidential, and making one may have been interrupted.
#[test]
fn a_new_store_is_private_and_an_unfinished_one_is_made() {
    let user = StoreUser::with_pack();
    let mode = std::fs::metadata(&user.store).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&user.store, "").unwrap();
    let again = user.run("import", &["entities"]);
    assert!(text(&again).ends_with(":1\n"), "{}", errors(&again));
}

#[test]
fn a_damaged_store_is_an_error_of_every_verb_or_read_as_it_was() {
    let user = StoreUser::with_pack();
    let (whole, exported) = (std::fs::read(&user.store).unwrap(), text(&user.run("export", &[])));
    let mut refused = 0;
    for at in (100..whole.len()).step_by(whole.len() / 60) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&user.store, &damaged).unwrap();
        for (verb, arguments) in [("export", &[][..]), ("log", &["--edits"]), ("import", &["entities"])] {
            let output = user.run(verb, arguments);
            let message = errors(&output);
            assert!(!message.contains("panicked"), "byte {at}, {verb}: {message}");
            match output.status.code() {
                Some(0) if verb == "export" => assert_eq!(text(&output), exported, "byte {at}"),
                Some(0) => {}
                code => {
                    assert!(code == Some(1) && message.contains("damaged"), "byte {at}, {verb}: {message}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
