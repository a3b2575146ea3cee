//! What is left of a store when the power fails: all that was acknowledged, and nothing that is half done.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;
use serde_json::value::RawValue;

use crate::edit::{Edit, NamedEdit};
use crate::entity_name::EntityName;
use crate::log::{RecordKey, TransactionLog};
use crate::record::Record;
use crate::store::Store;
use crate::transaction::NewTransaction;

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// A sequence of numbers that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

/// A disk that forgets a part of what was not synced.
#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    /// What the process sees.
    written: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many more operations there are until the power fails.
    left: u64,
    /// How large the file may get, in bytes.
    space: Option<usize>,
}

impl Disk {
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.operate()?;
        let end = match &change {
            Change::Length(length) => *length,
            Change::Write(offset, data) => offset + data.len(),
        };
        if self.space.is_some_and(|space| end > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change.apply(&mut self.written);
        self.unsynced.push(change);
        Ok(())
    }

    fn operate(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("the power has failed"))?;
        Ok(())
    }

    /// What is on the disk afterwards: of the rest, any sectors.
    fn after_power_loss(&self, numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.unsynced {
            match change {
                Change::Length(_) if numbers.below(2) == 0 => change.apply(&mut bytes),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate().filter(|_| numbers.below(2) == 0) {
                        Change::Write(offset + n * SECTOR, sector.to_vec()).apply(&mut bytes);
                    }
                }
            }
        }
        bytes
    }
}

#[derive(Debug, Clone)]
struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn new(bytes: Vec<u8>) -> Self {
        let disk = Disk { synced: bytes.clone(), written: bytes, left: u64::MAX, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for SharedDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|disk| disk.written.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.with(|disk| {
            disk.operate()?;
            let offset = usize::try_from(offset).unwrap();
            let bytes = disk.written.get(offset..offset + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.with(|disk| disk.change(Change::Length(usize::try_from(length).unwrap())))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.with(|disk| {
            disk.operate()?;
            for change in std::mem::take(&mut disk.unsynced) {
                change.apply(&mut disk.synced);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.with(|disk| disk.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec())))
    }
}

fn open(disk: &SharedDisk) -> Store {
    Store::with_backend(Path::new("disk"), disk.clone()).unwrap()
}

fn name(id: u64) -> EntityName {
    EntityName { entity_type: "Person".into(), id: id.to_string() }
}

/// The entities at each sequence, by id.
type History = Vec<BTreeMap<u64, String>>;

/// Some edits of what is there.
fn random_edits(
    now: &BTreeMap<u64, String>,
    numbers: &mut Numbers,
) -> (Vec<NamedEdit>, BTreeMap<u64, String>) {
    let (mut edits, mut next) = (Vec::new(), now.clone());
    for _ in 0..=numbers.below(10) {
        let id = numbers.below(50);
        if numbers.below(5) == 0 {
            let (edit, text) = random_record(numbers);
            next.insert(edit.name.id.parse().unwrap(), text);
            edits.push(edit);
        } else if numbers.below(4) == 0 && next.remove(&id).is_some() {
            edits.push(NamedEdit { name: name(id), edit: Edit::Delete(name(id)) });
        } else {
            let filler = "x".repeat(usize::try_from(numbers.below(400)).unwrap());
            let text = format!(
                r#"{{"uid":{{"type":"Person","id":"{id}"}},"attrs":{{"text":"{filler}"}},"parents":[]}}"#
            );
            let edit = Edit::Put(RawValue::from_string(text.clone()).unwrap());
            edits.push(NamedEdit { name: name(id), edit });
            next.insert(id, text);
        }
    }
    (edits, next)
}

/// A record; its ids begin where those of persons end.
fn random_record(numbers: &mut Numbers) -> (NamedEdit, String) {
    let (id, key) = (100 + numbers.below(10), numbers.below(3));
    let value = RawValue::from_string(format!("[{key},{}]", numbers.below(1_000))).unwrap();
    let keys = vec![("plain".into(), key.to_string()), ("#counted".into(), key.to_string())];
    let text = value.get().to_owned();
    (NamedEdit::record(Record { kind: "thing".into(), id: id.to_string(), keys, value }), text)
}

/// Appends until the disk fails; each append has one to three transactions. The acknowledged sequence.
fn append_until_failure(store: &Store, history: &mut History, numbers: &mut Numbers) -> u64 {
    let Ok(mut head) = Store::head(store) else { return history.len() as u64 - 1 };
    for _ in 0..12 {
        let mut transactions = Vec::new();
        for _ in 0..=numbers.below(3) {
            let (edits, next) = random_edits(history.last().unwrap(), numbers);
            transactions.push(NewTransaction { edits, ..NewTransaction::default() });
            history.push(next);
        }
        match Store::append(store, head.position(), transactions, &mut None) {
            Ok(next) => head = next,
            Err(_) => return head.sequence,
        }
    }
    head.sequence
}

/// What the store holds is one state of its history, with everything that was acknowledged.
fn check(store: &mut Store, history: &History, acknowledged: u64, seed: u64) {
    let verified = store.verify().unwrap();
    // After a repair, the file is whole.
    let verified = verified.or_else(|_| store.verify().unwrap());
    let sequence = verified.unwrap_or_else(|errors| panic!("seed {seed}: {errors:?}")).head.sequence;
    assert!(sequence >= acknowledged, "seed {seed}: {acknowledged} was acknowledged, {sequence} is there");
    let mut found = BTreeMap::new();
    let mut add = |text: &str| {
        let entity: serde_json::Value = serde_json::from_str(text).unwrap();
        found.insert(entity["uid"]["id"].as_str().unwrap().parse().unwrap(), text.to_owned());
    };
    store.each_text(&mut add).unwrap();
    for key in ["0", "1", "2"] {
        let index = |index| RecordKey { kind: "thing", index, key };
        let ids = store.records_with_key(index("plain"), "", 100).unwrap();
        assert_eq!(ids.len() as u64, store.count_with_key(index("#counted")).unwrap(), "seed {seed}");
        for id in ids {
            let record = TransactionLog::record(store, "thing", &id).unwrap().unwrap();
            found.insert(id.parse().unwrap(), record.value.get().to_owned());
        }
    }
    assert_eq!(history.get(usize::try_from(sequence).unwrap()), Some(&found), "seed {seed}");
}

#[test]
fn after_power_loss_everything_acknowledged_is_there_and_nothing_half_done() {
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let disk = SharedDisk::new(Vec::new());
        drop(open(&disk));
        let mut history = vec![BTreeMap::new()];
        let before = open(&disk);
        disk.with(|disk| disk.left = numbers.below(400));
        let acknowledged = append_until_failure(&before, &mut history, &mut numbers);
        drop(before);
        let left = SharedDisk::new(disk.with(|disk| disk.after_power_loss(&mut numbers)));
        let mut after = open(&left);
        check(&mut after, &history, acknowledged, seed);
        // It goes on.
        let sequence = Store::head(&after).unwrap().sequence;
        history.truncate(usize::try_from(sequence).unwrap() + 1);
        let acknowledged = append_until_failure(&after, &mut history, &mut numbers);
        assert!(acknowledged > sequence);
        check(&mut after, &history, acknowledged, seed);
    }
}

#[test]
fn a_full_disk_refuses_a_change_and_the_rest_stays() {
    let disk = SharedDisk::new(Vec::new());
    let (mut history, mut numbers) = (vec![BTreeMap::new()], Numbers(1));
    let before = open(&disk);
    disk.with(|disk| disk.space = Some(disk.written.len() + 20_000));
    let acknowledged = append_until_failure(&before, &mut history, &mut numbers);
    drop(before);
    assert!(acknowledged > 0 && acknowledged + 1 < history.len() as u64);
    disk.with(|disk| disk.space = None);
    check(&mut open(&disk), &history, acknowledged, 1);
}

/// A bit that flips in the file is found, or nothing depends on it.
#[test]
fn a_flipped_bit_is_found_or_changes_nothing() {
    let disk = SharedDisk::new(Vec::new());
    let (mut history, mut numbers) = (vec![BTreeMap::new()], Numbers(7));
    let mut store = open(&disk);
    append_until_failure(&store, &mut history, &mut numbers);
    let whole = store.verify().unwrap().unwrap();
    drop(store);
    let bytes = disk.with(|disk| disk.written.clone());
    let mut found = 0;
    for _ in 0..300 {
        let mut flipped = bytes.clone();
        let at = usize::try_from(numbers.below(bytes.len() as u64)).unwrap();
        flipped[at] ^= 1 << numbers.below(8);
        let verified = Store::with_backend(Path::new("disk"), SharedDisk::new(flipped))
            .and_then(|mut store| store.verify());
        match verified {
            Ok(Ok(verified)) => assert_eq!(verified, whole, "byte {at}"),
            Ok(Err(_)) | Err(_) => found += 1,
        }
    }
    assert!(found > 10, "{found} of 300 were found");
}
