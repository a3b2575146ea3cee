//! The cache against a model: whatever is edited, on whichever snapshot an entry is looked at, and in whichever order, a
//! decision that an entry gives is the one that would be made.

use std::sync::Arc;

use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::policies::Policies;
use mandate_core::request::{Question, QuestionEntity, Request};
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;

use crate::cache::CacheEntry;

const SCHEMA: &str = "entity Team in [Team]; entity User in [Team];
    action view appliesTo { principal: User, resource: Team };";
const POLICY: &str = "@id(\"in\") permit (principal, action, resource) when { principal in resource };";

const USERS: u64 = 6;
const TEAMS: u64 = 4;

/// Users that nobody asks about. There are so many that some are in the parts of those that are asked about.
const OTHERS: u64 = 200;

/// Numbers that look random and are the same in every run (splitmix).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 27)) >> 20) % bound
    }
}

fn policies() -> Arc<Policies> {
    let schema = Arc::new(Schema::parse(&SourceText::new("s.cedarschema", SCHEMA)).unwrap().0);
    Arc::new(Policies::parse(&[SourceText::new("p.cedar", POLICY)], schema).unwrap().0)
}

/// The teams, and these users, loaded from nothing: uids have other hashes each time.
fn loaded(policies: &Arc<Policies>, users: &[(u64, u64)]) -> Snapshot {
    let teams: Vec<(u64, u64)> = (0..TEAMS).map(|id| (id, id.saturating_sub(1))).collect();
    changed(&Snapshot::new(Arc::clone(policies), &RequestConfig::default()).unwrap(), users, &teams)
}

/// Users that are each in one team; each team but the first is in one before it.
fn changed(before: &Snapshot, users: &[(u64, u64)], teams: &[(u64, u64)]) -> Snapshot {
    let entity = |entity_type: &str, id: u64, parent: Option<u64>| {
        let parents = parent.map(|id| format!(r#"{{ "type": "Team", "id": "{id}" }}"#)).unwrap_or_default();
        format!(
            r#"{{ "uid": {{ "type": "{entity_type}", "id": "{id}" }}, "attrs": {{}}, "parents": [{parents}] }}"#
        )
    };
    let users = users.iter().map(|(id, team)| entity("User", *id, Some(*team)));
    let teams = teams.iter().map(|(id, parent)| entity("Team", *id, (*id > 0).then_some(*parent)));
    let file = SourceText::new("e.json", format!("[{}]", users.chain(teams).collect::<Vec<_>>().join(",")));
    let upserts = parse_entity_file(&file, Origin::STORE, before.schema(), &LoadProgress::default()).unwrap();
    before.apply(&EntityChanges { upserts, removals: Vec::new() }).unwrap()
}

/// A change of a snapshot, or other entities of the same policies.
fn next(before: &Snapshot, numbers: &mut Numbers) -> Snapshot {
    if numbers.below(8) > 0 {
        let user = (numbers.below(USERS), numbers.below(TEAMS));
        // The last team is not there at first.
        let team = 1 + numbers.below(TEAMS);
        let teams = [(team, numbers.below(team.min(TEAMS - 1)))];
        let others = (0..OTHERS).map(|other| (USERS + other, numbers.below(TEAMS)));
        let users: Vec<(u64, u64)> = others.chain([user]).collect();
        return changed(before, &users, if numbers.below(3) == 0 { &teams } else { &[] });
    }
    let users: Vec<(u64, u64)> =
        (0..USERS).filter(|_| numbers.below(4) > 0).map(|id| (id, id % TEAMS)).collect();
    loaded(before.policies(), &users)
}

fn request(snapshot: &Snapshot, (user, team): (u64, u64)) -> Request {
    let (user, team) = (user.to_string(), team.to_string());
    let principal = QuestionEntity { entity_type: "User", id: &user, properties: None };
    let resource = QuestionEntity { entity_type: "Team", id: &team, properties: None };
    let question = Question { principal, action: "view", action_properties: None, resource, context: None };
    snapshot.request_from_question(&question, Clock::InQuestion).unwrap()
}

#[test]
fn an_entry_gives_the_decision_that_would_be_made() {
    let (mut without_gathering, mut gathered) = (0, 0);
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let mut snapshots = vec![loaded(&policies(), &[])];
        let mut entries: Vec<((u64, u64), CacheEntry)> = Vec::new();
        for _ in 0..100 {
            let at = numbers.below(snapshots.len() as u64);
            let snapshot = snapshots[usize::try_from(at).unwrap()].clone();
            snapshots.push(next(&snapshot, &mut numbers));
            // Late readers still have one of the last snapshots.
            let last = snapshots.len() as u64;
            let reader = &snapshots[usize::try_from(last - 1 - numbers.below(last.min(3))).unwrap()];
            for (asked, entry) in &entries {
                let request = request(reader, *asked);
                let slice = reader.gather(&request);
                let expected = reader.decide(&request, &slice).unwrap().outcome;
                if let Some(decision) = entry.if_valid_in(reader, None) {
                    assert_eq!(decision.outcome, expected, "seed {seed}: {asked:?} without gathering");
                    without_gathering += 1;
                } else if let Some(decision) = entry.revalidate(reader, &slice, None) {
                    assert_eq!(decision.outcome, expected, "seed {seed}: {asked:?}");
                    gathered += 1;
                }
            }
            let asked = (numbers.below(USERS), numbers.below(TEAMS + 1));
            let request = request(reader, asked);
            let slice = reader.gather(&request);
            let decision = Arc::new(reader.decide(&request, &slice).unwrap());
            if entries.len() == 20 {
                entries.swap_remove(usize::try_from(numbers.below(20)).unwrap());
            }
            entries.push((asked, CacheEntry::new(decision, &request, reader, &slice)));
        }
    }
    // How often depends on the hashes of this process.
    assert!(without_gathering > 1_000 && gathered > 10, "{without_gathering} {gathered}");
}
