//! Properties of edits: they depend on nothing but the request and the entities, and change only what their rule names.

use std::collections::BTreeSet;

use mandate_changes::Edits;
use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::Entities;
use mandate_core::schema::{EntityUid, EntityUidRef};
use mandate_sources::loader::LoadedContent;
use proptest::prelude::*;

use super::{edits, pack, request};

/// Who asks for what: any two entities of the pack that the action applies to.
#[derive(Debug)]
struct RandomRequest {
    action: &'static str,
    principal: prop::sample::Index,
    resource: prop::sample::Index,
    /// The id of a device, most likely of one that is not there.
    device: Option<String>,
    partnership: Option<String>,
    with_dap: bool,
}

fn random_request() -> impl Strategy<Value = RandomRequest> {
    let actions = [
        "requestConsent",
        "acceptConsent",
        "declineConsent",
        "withdrawConsent",
        "revokeConsent",
        "removeDelegatedAdministration",
        "registerDevice",
        "deregisterDevice",
    ];
    let device = prop::option::of("[a-z]{0,3}|device-1");
    let partnership = prop::sample::select(vec!["wingtip--tailspin", "proseware--litware", "nobody"]);
    let entities = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (prop::sample::select(actions.to_vec()), entities, device, prop::option::of(partnership), any::<bool>())
        .prop_map(|(action, (principal, resource), device, partnership, with_dap)| RandomRequest {
            action,
            principal,
            resource,
            device,
            partnership: partnership.map(str::to_owned),
            with_dap,
        })
}

impl RandomRequest {
    fn context(&self) -> String {
        let mut context = serde_json::Map::new();
        if self.action.ends_with("Device") {
            context.insert("channel".to_owned(), "intune".into());
            context.extend(self.device.clone().map(|device| ("device".to_owned(), device.into())));
        }
        if self.action == "requestConsent" {
            context.insert("delegatedAdministration".to_owned(), self.with_dap.into());
            context.extend(self.partnership.clone().map(|it| ("partnership".to_owned(), it.into())));
        }
        serde_json::Value::Object(context).to_string()
    }

    /// The edits on a snapshot, and the entities that their rule names beside the new ones.
    fn edits(&self, pack: &LoadedContent, snapshot: &Snapshot) -> Option<(Edits, BTreeSet<EntityUid>)> {
        let schema = snapshot.schema();
        let info = schema.action(schema.resolve_action(self.action).unwrap());
        let of_types = |types: &[_]| -> Vec<EntityUid> {
            let all = snapshot.entities().iter().map(|entity| entity.uid().to_owned());
            let mut all: Vec<EntityUid> = all.filter(|uid| types.contains(&uid.entity_type)).collect();
            all.sort();
            all
        };
        let (principals, resources) = (of_types(&info.principal_types), of_types(&info.resource_types));
        if resources.is_empty() {
            return None;
        }
        let (principal, resource) = (self.principal.get(&principals), self.resource.get(&resources));
        let text = |uid: &EntityUid| {
            format!("{}::{}", schema.entity_type(uid.entity_type).name.rsplit("::").next().unwrap(), uid.id)
        };
        let request = request(snapshot, [&text(principal), self.action, &text(resource), &self.context()]);
        let stored = snapshot.entities().get(resource.as_uid_ref()).unwrap();
        let customer = stored.entity.entity_attribute("customer", schema).map(EntityUidRef::to_owned);
        // To withdraw a link, which is decided on the partner itself, changes no entities.
        if self.action == "withdrawConsent" && customer.is_none() {
            return None;
        }
        let named: BTreeSet<EntityUid> = match self.action {
            "acceptConsent" => [resource.clone()].into_iter().chain(customer).collect(),
            "revokeConsent" => customer.into_iter().collect(),
            "declineConsent" | "withdrawConsent" | "removeDelegatedAdministration" | "deregisterDevice" => {
                BTreeSet::from([resource.clone()])
            }
            _ => BTreeSet::new(),
        };
        let [once, twice] = [(); 2].map(|()| edits(pack, snapshot, &request).unwrap());
        assert_eq!(once.as_ref().err(), twice.as_ref().err());
        let (once, twice) = (once.ok()?, twice.ok()?);
        assert_eq!(texts(&once, snapshot), texts(&twice, snapshot));
        Some((once, named))
    }
}

/// Everything that edits say.
fn texts(edits: &Edits, snapshot: &Snapshot) -> Vec<String> {
    let schema = snapshot.schema();
    let upserts = edits.changes.upserts.iter();
    let upserts = upserts.map(|upsert| display::entity(&upsert.entity.unpack(schema), schema));
    let uids = [&edits.changes.removals, &edits.created].map(|uids| format!("{uids:?}"));
    upserts.chain(uids).collect()
}

/// The entities that differ.
fn differing(before: &Entities, after: &Entities) -> BTreeSet<EntityUid> {
    let both = before.iter().chain(after.iter()).map(|entity| entity.uid().to_owned());
    both.filter(|uid| {
        let [before, after] = [before, after].map(|entities| entities.get(uid.as_uid_ref()));
        !before.zip(after).is_some_and(|(before, after)| before.entity.same_content(&after.entity))
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_are_the_same_each_time_and_change_only_what_their_rule_names(
        requests in prop::collection::vec(random_request(), 1..20),
    ) {
        let pack = pack();
        let mut snapshot = pack.snapshot.clone();
        for request in &requests {
            let Some((edits, mut allowed)) = request.edits(&pack, &snapshot) else { continue };
            // What breaks the rules of loading is refused as a whole.
            let Ok(after) = snapshot.apply(&edits.changes) else { continue };
            allowed.extend(edits.created.iter().cloned());
            let changed = differing(snapshot.entities(), after.entities());
            prop_assert!(changed.is_subset(&allowed), "{request:?} changed {changed:?}, not only {allowed:?}");
            snapshot = after;
        }
    }
}
