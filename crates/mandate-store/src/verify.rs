//! What a log proves: that its transactions are those that were appended, in their order, and that the entities are
//! what they made.

use std::collections::HashMap;

use mandate_core::digest::{Digest, SetDigest};
use redb::ReadTransaction;

use crate::chain::{Chain, LogError, LogPlace};
use crate::entity_name::{EntityName, entity_digest};
use crate::error::StoreError;
use crate::file::{ENTITIES, Failure, LOG, MARKS};
use crate::marks::{BASE, HEAD, Head, mark};
use crate::record_tables;
use crate::requests::requests_that_differ;
use crate::store::Store;

/// A store whose log and entities fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub head: Head,
    /// The transactions that the log still has.
    pub transactions: u64,
    pub entities: u64,
}

impl Store {
    /// Checks the file, the chain of transactions, their edits, and the entities that they lead to.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn verify(&mut self) -> Result<Result<Verified, Vec<LogError>>, StoreError> {
        let damaged =
            |reason: &str| Ok(Err(vec![LogError { place: LogPlace::File, reason: reason.to_owned() }]));
        match self.with_database_mut(|database| Ok(database.check_integrity()?)) {
            Ok(true) => {}
            Ok(false) => return damaged("pages were lost, and the file was repaired to the last commit"),
            Err(Failure::Redb(redb::Error::Corrupted(reason))) => {
                return damaged(&format!("a checksum does not fit: {reason}"));
            }
            Err(failure) => return Err(failure.at("read", self.path())),
        }
        self.verify_log()
    }

    /// As [`Self::verify`], without the file's own checksums, so that the store can be used meanwhile.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn verify_log(&self) -> Result<Result<Verified, Vec<LogError>>, StoreError> {
        self.read(|read| {
            let marks = read.open_table(MARKS)?;
            verify(read, mark(&marks, BASE)?, mark(&marks, HEAD)?)
        })
    }
}

fn verify(
    read: &ReadTransaction,
    base: Head,
    head: Head,
) -> Result<Result<Verified, Vec<LogError>>, Failure> {
    let mut chain = Chain::after(base);
    for row in read.open_table(LOG)?.range::<(u64, u32)>(..)? {
        let (key, bytes) = row?;
        if let Err(error) = chain.row(key.value(), bytes.value()) {
            return Ok(Err(vec![error]));
        }
    }
    if let Err(error) = chain.end(&head) {
        return Ok(Err(vec![error]));
    }
    let Chain { mut written, transactions, complete, requests, .. } = chain;
    let mut errors: Vec<LogError> = requests_that_differ(read, &requests)?
        .into_iter()
        .map(|sequence| LogError {
            place: LogPlace::Transaction(sequence),
            reason: "its idempotency key is not the one that is remembered".to_owned(),
        })
        .collect();
    let (mut sum, mut entities) = (SetDigest::default(), 0);
    for row in read.open_table(ENTITIES)?.range::<(&str, &str)>(..)? {
        let (name, entity) = row?;
        let ((entity_type, id), (_, text)) = (name.value(), entity.value());
        let name = EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() };
        let digest = entity_digest(&name, text);
        sum.add(&digest);
        entities += 1;
        errors.extend(check(name, digest, &mut written, complete));
    }
    for (name, digest) in record_tables::digests(read)? {
        sum.add(&digest);
        errors.extend(check(name, digest, &mut written, complete));
    }
    errors.extend(record_tables::records_not_found(read)?.into_iter().map(|name| LogError {
        place: LogPlace::Entity(name),
        reason: "it is not found by its keys, or is found by others".to_owned(),
    }));
    for (name, digest) in written {
        if digest.is_some() {
            let reason = "it is gone, and no transaction deleted it".to_owned();
            errors.push(LogError { place: LogPlace::Entity(name), reason });
        }
    }
    if errors.is_empty() && sum.to_bytes() != head.sum {
        let reason = "the entities are not those that the transactions lead to".to_owned();
        errors.push(LogError { place: LogPlace::Head, reason });
    }
    Ok(if errors.is_empty() { Ok(Verified { head, transactions, entities }) } else { Err(errors) })
}

/// Compares what is there with what was written last under its name.
fn check(
    name: EntityName,
    digest: Digest,
    written: &mut HashMap<EntityName, Option<Digest>>,
    complete: bool,
) -> Option<LogError> {
    let reason = match written.remove(&name) {
        Some(Some(last)) if last == digest => return None,
        Some(Some(_)) => "it is not what its last transaction wrote",
        Some(None) => "it is there, and its last transaction deleted it",
        None if complete => "no transaction wrote it",
        None => return None,
    };
    Some(LogError { place: LogPlace::Entity(name), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use redb::{ReadableTable, Table};

    use super::*;
    use crate::edit::{Edit, NamedEdit};
    use crate::position::{Epoch, LogPosition};
    use crate::transaction::{Author, Hex, KeyedRequest, NewTransaction};

    fn put(id: &str, age: u32) -> Edit {
        let text =
            format!(r#"{{"uid":{{"type":"Person","id":"{id}"}},"attrs":{{"age":{age}}},"parents":[]}}"#);
        Edit::Put(serde_json::value::RawValue::from_string(text).unwrap())
    }

    fn name(id: &str) -> EntityName {
        EntityName { entity_type: "Person".into(), id: id.into() }
    }

    fn named(edits: &[Edit]) -> Vec<NamedEdit> {
        edits.iter().map(|edit| NamedEdit::new(edit.clone()).unwrap()).collect()
    }

    fn append(store: &Store, transactions: &[&[Edit]]) {
        let author = Author { caller: "test".into(), ..Author::default() };
        let new = |edits: &&[Edit]| NewTransaction {
            author: author.clone(),
            edits: named(edits),
            ..NewTransaction::default()
        };
        let transactions = transactions.iter().map(new).collect();
        store.append(store.head().unwrap().position(), transactions, &mut None).unwrap();
    }

    /// Four transactions on three persons, of whom one is deleted.
    fn store(folder: &std::path::Path) -> Store {
        let store = Store::open_or_create(&folder.join("store.redb")).unwrap();
        append(&store, &[&[put("ana", 1), put("bob", 1)]]);
        append(&store, &[&[put("ana", 2)], &[Edit::Delete(name("bob")), put("cleo", 1)]]);
        append(&store, &[&[put("ana", 3)]]);
        store
    }

    fn edit_file(store: &mut Store, edit: impl FnOnce(&redb::WriteTransaction)) {
        let edit = |database: &mut redb::Database| {
            let write = database.begin_write()?;
            edit(&write);
            Ok(write.commit()?)
        };
        store.with_database_mut(edit).unwrap();
    }

    type Log<'t> = Table<'t, (u64, u32), &'static [u8]>;

    fn get(log: &Log<'_>, key: (u64, u32)) -> Vec<u8> {
        log.get(key).unwrap().unwrap().value().to_vec()
    }

    /// What `verify` says after somebody edited the log by hand.
    #[track_caller]
    fn check(edit: impl FnOnce(&mut Log<'_>), errors: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        edit_file(&mut store, |write| edit(&mut write.open_table(LOG).unwrap()));
        let found = store.verify().unwrap().unwrap_err();
        let epoch = store.head().unwrap().epoch.to_string();
        let found: Vec<String> =
            found.iter().map(|error| error.to_string().replace(&epoch, "EPOCH")).collect();
        assert_eq!(found, errors);
    }

    fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    }

    #[test]
    fn a_log_that_nobody_touched_is_verified_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let head = store(folder.path()).head().unwrap();
        let mut store = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        assert!(matches!(Store::open_or_create(&path), Err(StoreError::InUse(_))));
        let verified = Verified { head: head.clone(), transactions: 4, entities: 2 };
        assert_eq!(store.verify().unwrap(), Ok(verified));
        store.forget_until(2).unwrap();
        store.shrink().unwrap();
        assert_eq!(store.verify().unwrap(), Ok(Verified { head, transactions: 2, entities: 2 }));
        let next = |after| store.transaction_after(after).unwrap().map(|it| it.sequence);
        assert_eq!([0, 1, 2, 3, 4, u64::MAX].map(next), [Some(3), Some(3), Some(3), Some(4), None, None]);
    }

    #[test]
    fn the_transactions_of_a_request_are_forgotten_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let request = KeyedRequest { key: "k".into(), digest: Hex::of_request(&[b"asked"]) };
        let part = |id| NewTransaction {
            author: Author { caller: "test".into(), ..Author::default() },
            request: Some(request.clone()),
            edits: named(&[put(id, 1)]),
            ..NewTransaction::default()
        };
        let parts = ["x", "y", "z"].map(part).to_vec();
        store.append(store.head().unwrap().position(), parts, &mut None).unwrap();
        let sequences = |store: &Store| -> Vec<u64> {
            store.request("test", "k").unwrap().iter().map(|it| it.sequence).collect()
        };
        assert_eq!(sequences(&store), [5, 6, 7]);
        store.forget_until(6).unwrap();
        assert_eq!((sequences(&store), store.base().unwrap().sequence), (vec![5, 6, 7], 4));
        assert_eq!(store.verify().unwrap().unwrap().transactions, 3);
        store.forget_until(7).unwrap();
        assert_eq!((sequences(&store), store.base().unwrap().sequence), (Vec::new(), 7));
        assert_eq!(store.verify().unwrap().unwrap().transactions, 0);
    }

    #[test]
    fn a_log_that_does_not_continue_a_position_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let at = store.head().unwrap().position();
        let after =
            |sequence| store.edits_after(LogPosition { sequence, ..at }).map(|(found, _)| found.len());
        assert_eq!((after(2).unwrap(), after(4).unwrap()), (2, 0));
        assert!(matches!(after(5), Err(StoreError::OtherLog { .. })));
        store.forget_until(3).unwrap();
        assert!(after(2).is_err() && after(3).is_ok());
        let other = LogPosition { epoch: Epoch::random(), ..at };
        assert!(store.edits_after(other).is_err());
    }

    #[test]
    fn an_edited_transaction_is_found() {
        check(
            |log| {
                let bytes = replaced(&get(log, (2, 0)), "\"test\"", "\"somebody\"");
                log.insert((2, 0), bytes.as_slice()).unwrap();
            },
            &["transaction 3: it does not follow transaction 2 as that is now"],
        );
    }

    #[test]
    fn an_edited_edit_is_found() {
        check(
            |log| {
                let bytes = replaced(&get(log, (2, 1)), "\"age\":2", "\"age\":9");
                log.insert((2, 1), bytes.as_slice()).unwrap();
            },
            &["transaction 2: its edits are not those that were appended"],
        );
    }

    #[test]
    fn a_removed_transaction_is_found() {
        check(
            |log| log.retain_in((3, 0)..(4, 0), |_, _| false).unwrap(),
            &["transaction 3: it is missing: after 2 follows 4"],
        );
    }

    #[test]
    fn transactions_in_another_order_are_found() {
        check(
            |log| {
                let (two, four) =
                    ([get(log, (2, 0)), get(log, (2, 1))], [get(log, (4, 0)), get(log, (4, 1))]);
                for (row, (two, four)) in (0..).zip(two.iter().zip(&four)) {
                    log.insert((2, row), four.as_slice()).unwrap();
                    log.insert((4, row), two.as_slice()).unwrap();
                }
            },
            &["transaction 2: in its place is transaction EPOCH:4"],
        );
    }

    #[test]
    fn a_log_without_its_end_is_found() {
        check(
            |log| log.retain_in((4, 0).., |_, _| false).unwrap(),
            &["the end of the log: it is transaction 3, and transaction 4 was appended"],
        );
    }

    #[test]
    fn an_edited_entity_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        edit_file(&mut store, |write| {
            let mut entities = write.open_table(ENTITIES).unwrap();
            let text = r#"{"uid":{"type":"Person","id":"ana"},"attrs":{"age":4},"parents":[]}"#;
            entities.insert(("Person", "ana"), (4, text)).unwrap();
            entities.remove(("Person", "cleo")).unwrap();
        });
        let errors = store.verify().unwrap().unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "entity Person::\"ana\": it is not what its last transaction wrote",
                "entity Person::\"cleo\": it is gone, and no transaction deleted it"
            ]
        );
    }

    #[test]
    fn an_edited_record_and_a_lost_key_are_found() {
        type Keys<'t> = Table<'t, (&'static str, &'static str, &'static str, &'static str), ()>;
        const RECORDS: redb::TableDefinition<'_, (&str, &str), &[u8]> = redb::TableDefinition::new("records");
        const KEYS: redb::TableDefinition<'_, (&str, &str, &str, &str), ()> =
            redb::TableDefinition::new("record-keys");
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let value = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
        let keys = vec![("#by".to_owned(), "x".to_owned())];
        let record = crate::record::Record { kind: "thing".into(), id: "a".into(), keys, value };
        let new = NewTransaction { edits: vec![NamedEdit::record(record)], ..NewTransaction::default() };
        store.append(store.head().unwrap().position(), vec![new], &mut None).unwrap();
        let errors = |store: &mut Store| -> Vec<String> {
            let errors = store.verify().unwrap().err().unwrap_or_default();
            errors.iter().map(ToString::to_string).collect()
        };
        assert_eq!(errors(&mut store), [""; 0]);
        let edit_keys = |store: &mut Store, edit: fn(&mut Keys<'_>)| {
            edit_file(store, |write| edit(&mut write.open_table(KEYS).unwrap()));
        };
        edit_keys(&mut store, |keys| _ = keys.remove(("thing", "#by", "x", "a")).unwrap());
        let lost = "record thing a: it is not found by its keys, or is found by others";
        assert_eq!(errors(&mut store), [lost]);
        edit_keys(&mut store, |keys| _ = keys.insert(("thing", "#by", "x", "a"), ()).unwrap());
        edit_file(&mut store, |write| {
            let mut records = write.open_table(RECORDS).unwrap();
            let text = records.get(("thing", "a")).unwrap().unwrap().value().to_vec();
            let edited = replaced(&text, "\"value\":1", "\"value\":2");
            records.insert(("thing", "a"), edited.as_slice()).unwrap();
        });
        assert_eq!(errors(&mut store), ["record thing a: it is not what its last transaction wrote"]);
    }
}
