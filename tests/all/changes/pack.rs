//! The changes of the pack, on its sample entities: from the request for consent to its end, and devices.

use mandate_core::Snapshot;
use mandate_core::display;
use mandate_sources::loader::LoadedContent;

use super::{edits, pack, request};

/// The pack while it changes.
struct Story {
    pack: LoadedContent,
    now: Snapshot,
}

impl Story {
    fn begin() -> Self {
        let pack = pack();
        let now = pack.snapshot.clone();
        Self { pack, now }
    }

    fn permits(&self, question: [&str; 4]) -> bool {
        let request = request(&self.now, question);
        self.now.decide(&request, &self.now.gather(&request)).unwrap().is_permit()
    }

    /// Makes the change of a permitted request. Returns what it wrote.
    #[track_caller]
    fn does(&mut self, question: [&str; 4]) -> Vec<String> {
        assert!(self.permits(question), "{question:?}");
        let found = edits(&self.pack, &self.now, &request(&self.now, question)).unwrap().unwrap();
        self.now = self.now.apply(&found.changes).unwrap();
        let schema = self.now.schema();
        let upserts = found.changes.upserts.iter();
        upserts.map(|upsert| display::entity(&upsert.entity.unpack(schema), schema)).collect()
    }

    /// The error of a change that cannot be made.
    #[track_caller]
    fn cannot(&self, question: [&str; 4]) -> String {
        edits(&self.pack, &self.now, &request(&self.now, question)).unwrap().unwrap_err().to_string()
    }
}

const WITHOUT_DAP: &str = r#"{ "delegatedAdministration": false }"#;
const BY_API: &str = r#"{ "channel": "partner-center-api" }"#;

#[test]
fn a_consent_is_requested_accepted_and_ended() {
    let mut story = Story::begin();
    let registers = ["DirectBillPartner::fabrikam", "registerDevice", "Customer::relecloud", BY_API];
    let with_dap = r#"{ "delegatedAdministration": true }"#;
    assert_eq!(
        story.does(["DirectBillPartner::fabrikam", "requestConsent", "Customer::relecloud", with_dap]),
        ["CspConsent::made-1 in DirectBillPartner::fabrikam \
          { customer: Customer::relecloud, delegatedAdministration: true }"]
    );
    assert!(!story.permits(registers));
    story.does(["TenantUser::admin@relecloud", "acceptConsent", "CspConsent::made-1", "{}"]);
    assert!(story.permits(registers));
    let administers = ["DirectBillPartner::fabrikam", "administer", "CspConsent::made-1", "{}"];
    assert!(story.permits(administers));
    story.does(["TenantUser::admin@relecloud", "removeDelegatedAdministration", "CspConsent::made-1", "{}"]);
    assert!(story.permits(registers) && !story.permits(administers));
    story.does(["DirectBillPartner::fabrikam", "revokeConsent", "CspConsent::made-1", "{}"]);
    assert!(!story.permits(registers));
    // The consent stays, as history.
    let wrote = story.now.entities().iter().find(|entity| entity.uid().id == "made-1").unwrap();
    let wrote = display::entity(&wrote.unpack(story.now.schema()), story.now.schema());
    assert!(wrote.contains("acceptedBy: TenantUser::admin@relecloud"), "{wrote}");
}

#[test]
fn a_consent_under_a_partnership_is_for_both_partners() {
    let mut story = Story::begin();
    let context = r#"{ "delegatedAdministration": false, "partnership": "wingtip--tailspin" }"#;
    let asks = |partner| [partner, "requestConsent", "Customer::relecloud", context];
    let registers = |partner, channel| [partner, "registerDevice", "Customer::relecloud", channel];
    let by_ui = r#"{ "channel": "partner-center-ui" }"#;
    assert!(!story.permits(asks("IndirectProvider::proseware")));
    assert!(!story.permits(asks("DirectBillPartner::fabrikam")));
    assert!(!story.permits(registers("IndirectProvider::wingtip", BY_API)));
    let wrote = story.does(asks("IndirectReseller::tailspin"));
    assert!(wrote[0].starts_with("CspConsent::made-1 in Partnership::wingtip--tailspin"), "{wrote:?}");
    story.does(["TenantUser::admin@relecloud", "acceptConsent", "CspConsent::made-1", "{}"]);
    assert!(story.permits(registers("IndirectProvider::wingtip", BY_API)));
    assert!(story.permits(registers("IndirectReseller::tailspin", by_ui)));
    // A provider's own request has to name the partnership; a reseller's may leave it out.
    let alone = |partner| [partner, "requestConsent", "Customer::contoso", WITHOUT_DAP];
    let error = Story::begin().cannot(alone("IndirectProvider::wingtip"));
    assert_eq!(error, "`context.partnership` is missing: this change needs it");
    let mut story = Story::begin();
    let wrote = story.does(alone("IndirectReseller::tailspin"));
    assert!(wrote[0].starts_with("CspConsent::made-1 in IndirectReseller::tailspin"), "{wrote:?}");
}

#[test]
fn an_oem_gets_a_consent_of_its_own_kind() {
    let mut story = Story::begin();
    assert_eq!(
        story.does(["Oem::trey", "requestConsent", "Customer::relecloud", WITHOUT_DAP]),
        ["OemConsent::made-1 in Oem::trey { customer: Customer::relecloud }"]
    );
    story.does(["TenantUser::admin@relecloud", "acceptConsent", "OemConsent::made-1", "{}"]);
    let registers = ["Oem::trey", "registerDevice", "Customer::relecloud", r#"{ "channel": "oem-api" }"#];
    assert!(story.permits(registers));
    story.does(["MicrosoftOperator::msoemops", "revokeConsent", "OemConsent::made-1", "{}"]);
    assert!(!story.permits(registers));
}

#[test]
fn a_device_is_in_its_registrant_until_it_is_deregistered() {
    let mut story = Story::begin();
    let context = r#"{ "channel": "partner-center-api", "device": "new" }"#;
    let registers = ["DirectBillPartner::fabrikam", "registerDevice", "Customer::contoso", context];
    let wrote = story.does(registers);
    assert_eq!(wrote, ["Device::new in DirectBillPartner::fabrikam { customer: Customer::contoso }"]);
    assert_eq!(story.cannot(registers), "`Device::new` exists already");
    let without = ["DirectBillPartner::fabrikam", "registerDevice", "Customer::contoso", BY_API];
    assert_eq!(story.cannot(without), "`context.device` is missing: this change needs it");
    let deregisters = ["DirectBillPartner::fabrikam", "deregisterDevice", "Device::new", BY_API];
    story.does(deregisters);
    assert_eq!(story.cannot(deregisters), "`Device::new` does not exist: this change needs it as `resource`");
    let intune = r#"{ "channel": "intune", "device": "own" }"#;
    let wrote = story.does(["TenantUser::intune@contoso", "registerDevice", "Customer::contoso", intune]);
    assert_eq!(wrote, ["Device::own { customer: Customer::contoso }"]);
}
