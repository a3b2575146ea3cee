//! Many callers, an operator and readers at once: every outcome has to be that of one serial order, which is the order
//! of the log. The model that says so is `committer_model`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mandate_changes::Changes;
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file, parse_entity_text};
use mandate_core::json::Json;
use mandate_core::policies::Policies;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::schema::Schema;
use mandate_core::snapshot::RequestConfig;
use mandate_store::{
    AppendError, Author, Edit, EntityName, Head, LogPosition, NamedEdit, NewTransaction, Record, RecordKey,
    Store, StoreError, StoredEntity, Transaction, TransactionLog, take_in,
};

use crate::committer::{self, CommitQueue};
use crate::committer_model::{Act, Seen, check};
use crate::decision_point::{Pdp, PdpConfig};
use crate::generation::Generation;
use crate::proposal::{EntityEdit, EntityEditKind, Precondition, Proposal, ProposedEdits, Refusal};
use crate::publisher::Publisher;
use crate::record::{DecisionContext, Transport};
use crate::trigger::StopFlag;

const SCHEMA: &str = "
    entity Partner = { active: Bool };
    entity Consent in [Partner] = { customer: Customer, partner: Partner, accepted?: Bool };
    entity Customer in [Consent];
    entity User = { customer: Customer };
    action request appliesTo { principal: Partner, resource: Customer, context: { id: String } };
    action accept appliesTo { principal: User, resource: Consent };
    action revoke appliesTo { principal: Partner, resource: Consent };
    action register appliesTo { principal: Partner, resource: Customer };
";

const CHANGES: &str = r#"
    [[change]]
    action = "request"
    [[change.create]]
    type = "Consent"
    id = { value = "context.id" }
    attributes = { customer = "resource", partner = "principal" }
    parents = ["principal"]

    [[change]]
    action = "accept"
    [[change.set]]
    entity = "resource"
    attributes = { accepted = true }
    [[change.join]]
    entity = "resource.customer"
    parents = ["resource"]

    [[change]]
    action = "revoke"
    [[change.leave]]
    entity = "resource.customer"
    parents = ["resource"]
"#;

const POLICIES: &str = r#"
    @id("request") permit (principal, action == Action::"request", resource) when { principal.active };
    @id("accept") permit (principal, action == Action::"accept", resource)
      when { principal.customer == resource.customer && !(resource has accepted) && resource.partner.active };
    @id("revoke") permit (principal, action == Action::"revoke", resource) when { resource.partner == principal };
    @id("register") permit (principal, action == Action::"register", resource)
      when { resource in principal && principal.active };
"#;

const FREEZE: &str = r#"@id("freeze") forbid (principal, action == Action::"accept", resource);"#;

const PARTNERS: [&str; 2] = ["ann", "bob"];
const CUSTOMERS: [&str; 2] = ["x", "y"];
const IDS: u64 = 12;

/// A sequence of numbers that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn index(&mut self) -> usize {
        usize::try_from(self.below(2)).unwrap()
    }

    fn act(&mut self) -> Act {
        match self.below(8) {
            0 | 1 => Act::Request { partner: self.index(), customer: self.index(), id: self.below(IDS) },
            2..=4 => Act::Accept { customer: self.index(), id: self.below(IDS) },
            5 | 6 => Act::Revoke { partner: self.index(), id: self.below(IDS) },
            _ => Act::Activate { partner: self.index(), active: self.below(3) > 0 },
        }
    }
}

/// A decision point on a store, and what was seen of it.
struct House {
    pdp: Pdp,
    publisher: Arc<Publisher>,
    queue: CommitQueue,
    stop: StopFlag,
    acknowledged: AtomicU64,
    seen: Mutex<Vec<Seen>>,
}

fn policies(schema: &Arc<Schema>, frozen: bool) -> Arc<Policies> {
    let text = if frozen { format!("{POLICIES}{FREEZE}") } else { POLICIES.to_owned() };
    let file = SourceText::new("p.cedar", text);
    Arc::new(Policies::parse(&[file], Arc::clone(schema)).unwrap().0)
}

fn entity(entity_type: &str, id: &str, attributes: &str) -> String {
    format!(r#"{{"uid":{{"type":"{entity_type}","id":"{id}"}},"attrs":{{{attributes}}},"parents":[]}}"#)
}

fn first_entities() -> String {
    let partners = PARTNERS.map(|id| entity("Partner", id, r#""active":true"#));
    let customers = CUSTOMERS.map(|id| entity("Customer", id, ""));
    let users = CUSTOMERS.map(|id| {
        entity("User", id, &format!(r#""customer":{{"__entity":{{"type":"Customer","id":"{id}"}}}}"#))
    });
    format!("[{},{},{}]", partners.join(","), customers.join(","), users.join(","))
}

impl House {
    /// `wrap` may put something between the committer and the store.
    fn new(
        folder: &std::path::Path,
        wrap: impl FnOnce(Arc<Store>) -> Arc<dyn TransactionLog>,
    ) -> (Self, Arc<Schema>) {
        let schema = Arc::new(Schema::parse(&SourceText::new("s.cedarschema", SCHEMA)).unwrap().0);
        let file = SourceText::new("e.json", first_entities());
        let upserts = parse_entity_file(&file, Origin::STORE, &schema, &LoadProgress::default()).unwrap();
        let snapshot = Snapshot::new(policies(&schema, false), &RequestConfig::default()).unwrap();
        let snapshot = snapshot.apply(&EntityChanges { upserts, removals: Vec::new() }).unwrap();
        let store = Arc::new(Store::open_or_create(&folder.join("store.redb")).unwrap());
        let head = take_in(&store, &snapshot, Author::default()).unwrap();
        let changes = Changes::parse(&[SourceText::new("changes.toml", CHANGES)], &schema).unwrap();
        let generation = Generation::new(snapshot, Arc::default(), Arc::new(changes));
        let generation = generation.with_position(Some(head.position()));
        let (pdp, publisher) = Pdp::new(generation, PdpConfig::cached(1_000));
        let (publisher, stop) = (Arc::new(publisher), StopFlag::default());
        let queue = committer::start(wrap(store), Arc::clone(&publisher), stop.clone()).unwrap();
        let (acknowledged, seen) = (AtomicU64::new(1), Mutex::default());
        (Self { pdp, publisher, queue, stop, acknowledged, seen }, schema)
    }

    fn see(&self, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    fn position(&self) -> u64 {
        self.pdp.view().position().unwrap().sequence
    }

    fn propose(&self, act: &Act, key: &str) -> Proposal {
        let view = self.pdp.view();
        let schema = view.snapshot().schema();
        let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let action = |principal, action, resource, context: &str| {
            let context = Json::parse(context.as_bytes()).unwrap();
            let question = Question {
                principal,
                action,
                action_properties: None,
                resource,
                context: context.as_object(),
            };
            ProposedEdits::Actions(vec![view.request(&question).unwrap()])
        };
        let edits = match act {
            Act::Request { partner, customer, id } => action(
                named("Partner", PARTNERS[*partner]),
                "request",
                named("Customer", CUSTOMERS[*customer]),
                &format!(r#"{{"id":"{id}"}}"#),
            ),
            Act::Accept { customer, id } => {
                action(named("User", CUSTOMERS[*customer]), "accept", named("Consent", &id.to_string()), "{}")
            }
            Act::Revoke { partner, id } => action(
                named("Partner", PARTNERS[*partner]),
                "revoke",
                named("Consent", &id.to_string()),
                "{}",
            ),
            Act::Activate { partner, active } => {
                let text = entity("Partner", PARTNERS[*partner], &format!(r#""active":{active}"#));
                let source = SourceText::new("body", text);
                let upsert = parse_entity_text(&source.text, &source, Origin::STORE, schema).unwrap();
                let (kind, precondition) = (EntityEditKind::Put(Box::new(upsert)), Precondition::Anything);
                ProposedEdits::Entities {
                    action: "write".into(),
                    edits: vec![EntityEdit { kind, precondition }],
                }
            }
        };
        // With a key, even what changes nothing has a transaction.
        let key = Some(Proposal::key(key, &[format!("{act:?}").as_bytes()]));
        let until = Instant::now() + Duration::from_mins(1);
        Proposal { caller: "test".into(), request_id: None, key, until, schema: *schema.digest(), edits }
    }

    fn perform(&self, act: Act, key: &str) {
        let from = self.position();
        let (reply, result) = channel();
        self.queue.submit(self.propose(&act, key), move |result| drop(reply.send(result)));
        match result.recv().unwrap() {
            Ok(committed) => {
                let at = committed.position.sequence;
                self.acknowledged.fetch_max(at, Ordering::SeqCst);
                self.see(Seen::Committed { act, at });
            }
            Err(Refusal::Denied { .. } | Refusal::NotPerformable { .. }) => {
                self.see(Seen::Refused { act, from, to: self.position() });
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn read(&self, partner: usize, customer: usize) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let question = Question {
            principal: named("Partner", PARTNERS[partner]),
            action: "register",
            action_properties: None,
            resource: named("Customer", CUSTOMERS[customer]),
            context: None,
        };
        let view = self.pdp.view();
        let permit =
            view.decide(&question, &DecisionContext::new(Transport::InProcess)).unwrap().decision.is_permit();
        let at = view.position().unwrap().sequence;
        self.see(Seen::Read { partner, customer, at, acknowledged, permit });
    }

    fn publish(&self, schema: &Arc<Schema>, frozen: bool) {
        let no_commit = self.publisher.no_commit();
        let current = self.publisher.current();
        let (routes, changes) = (Arc::clone(current.routes()), Arc::clone(current.changes()));
        self.publisher.publish_policies(policies(schema, frozen), routes, changes).unwrap();
        self.see(Seen::Policies { at: current.position().unwrap().sequence, frozen });
        drop(no_commit);
    }
}

/// Callers, an operator and readers at once.
fn run(seed: u64, wrap: impl FnOnce(Arc<Store>) -> Arc<dyn TransactionLog>) -> Vec<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let (house, schema) = House::new(folder.path(), wrap);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4_u64)
            .map(|caller| {
                let house = &house;
                scope.spawn(move || {
                    let mut numbers = Numbers(seed * 31 + caller);
                    for turn in 0..25 {
                        house.perform(numbers.act(), &format!("{caller}-{turn}"));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for turn in 0.. {
                house.publish(&schema, turn % 2 == 0);
                if done.load(Ordering::SeqCst) {
                    break;
                }
                std::thread::yield_now();
            }
        });
        scope.spawn(|| {
            let mut numbers = Numbers(seed);
            while !done.load(Ordering::SeqCst) {
                house.read(numbers.index(), numbers.index());
            }
        });
        for caller in callers {
            caller.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    house.stop.set();
    house.seen.into_inner().unwrap()
}

/// A store to which somebody else commits, too, always just before the committer does.
struct Rival {
    store: Arc<Store>,
    numbers: Mutex<Numbers>,
    done: Arc<Mutex<Vec<Seen>>>,
}

impl Rival {
    fn commit(&self, numbers: &mut Numbers) {
        let (partner, active) = (numbers.index(), numbers.below(2) > 0);
        let text = entity("Partner", PARTNERS[partner], &format!(r#""active":{active}"#));
        let put = Edit::Put(serde_json::value::RawValue::from_string(text).unwrap());
        let edits = vec![NamedEdit::new(put).unwrap()];
        let new = NewTransaction { edits, ..NewTransaction::default() };
        let head =
            TransactionLog::append(&*self.store, self.store.head().unwrap().position(), vec![new]).unwrap();
        let seen = Seen::Committed { act: Act::Activate { partner, active }, at: head.sequence };
        self.done.lock().unwrap().push(seen);
    }
}

impl TransactionLog for Rival {
    fn head(&self) -> Result<Head, StoreError> {
        self.store.head()
    }

    fn append(&self, expected: LogPosition, new: Vec<NewTransaction>) -> Result<Head, AppendError> {
        let mut numbers = self.numbers.lock().unwrap();
        if numbers.below(3) == 0 {
            self.commit(&mut numbers);
        }
        TransactionLog::append(&*self.store, expected, new)
    }

    fn changes_after(&self, at: LogPosition, schema: &Schema) -> Result<(EntityChanges, Head), Diagnostics> {
        self.store.changes_after(at, schema)
    }

    fn request(&self, caller: &str, key: &str) -> Result<Vec<Transaction>, StoreError> {
        self.store.request(caller, key)
    }

    fn entity(&self, name: &EntityName) -> Result<Option<StoredEntity>, StoreError> {
        self.store.entity(name)
    }

    fn record(&self, kind: &str, id: &str) -> Result<Option<Record>, StoreError> {
        TransactionLog::record(&*self.store, kind, id)
    }

    fn records_with_key(
        &self,
        key: RecordKey<'_>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.store.records_with_key(key, after, limit)
    }

    fn last_records_with_key(&self, key: RecordKey<'_>, limit: usize) -> Result<Vec<String>, StoreError> {
        self.store.last_records_with_key(key, limit)
    }

    fn count_with_key(&self, key: RecordKey<'_>) -> Result<u64, StoreError> {
        self.store.count_with_key(key)
    }
}

#[test]
fn a_change_that_nobody_waits_for_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (house, _) = House::new(folder.path(), |store| store as Arc<dyn TransactionLog>);
    let act = Act::Request { partner: 0, customer: 0, id: 1 };
    let late = Proposal { until: Instant::now(), ..house.propose(&act, "late") };
    let (reply, result) = channel();
    house.queue.submit(late, move |result| drop(reply.send(result)));
    assert!(matches!(result.recv().unwrap(), Err(Refusal::TooLate)));
    assert_eq!(house.position(), 1);
    house.perform(act, "in time");
    assert_eq!(house.position(), 2);
    house.stop.set();
}

#[test]
fn changes_that_lost_a_race_are_decided_again() {
    let mut rivals = 0;
    for seed in 0..6 {
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut seen = run(seed, |store| {
            Arc::new(Rival { store, numbers: Mutex::new(Numbers(seed)), done: Arc::clone(&done) })
        });
        let mut done = done.lock().unwrap();
        rivals += done.len();
        seen.append(&mut done);
        check(&seen);
    }
    assert!(rivals > 20, "{rivals}");
}

#[test]
fn outcomes_are_those_of_the_order_of_the_log() {
    let (mut committed, mut refused, mut permits) = (0, 0, 0);
    for seed in 0..12 {
        let seen = run(seed, |store| store as Arc<dyn TransactionLog>);
        check(&seen);
        for seen in &seen {
            match seen {
                Seen::Committed { act: Act::Accept { .. }, .. } => committed += 1,
                Seen::Refused { act: Act::Accept { .. }, .. } => refused += 1,
                Seen::Read { permit: true, .. } => permits += 1,
                _ => {}
            }
        }
    }
    // Otherwise the checks would say nothing.
    assert!(committed > 20 && refused > 20 && permits > 20, "{committed} {refused} {permits}");
}
