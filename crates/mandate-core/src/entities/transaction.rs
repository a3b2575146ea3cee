//! A change being applied: `stage` builds the next version of the entities and lists what changed. It checks
//! only that uids are unique and removed entities exist; `rules.rs` checks the rest.

use std::collections::{HashMap, HashSet};

use super::change::{EntityChanges, EntityUpsert};
use super::member_index::{self, Edge};
use super::packed::Entity;
use super::store::{Entities, StoredEntity};
use super::trie::Edit;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan};
use crate::parallel::{self, map_chunks};
use crate::schema::{EntityUid, EntityUidRef, Schema};
use crate::version::Version;

pub struct Transaction<'a> {
    pub before: &'a Entities,
    pub schema: &'a Schema,
    pub after: Entities,
    /// Upserts that differ from what is stored, in their order.
    pub changed: Vec<&'a EntityUpsert>,
    /// The stored entities that are replaced or removed.
    pub replaced_or_removed: Vec<&'a Entity>,
    /// The removed entities; sorted.
    pub removed: Vec<EntityUidRef<'a>>,
    pub diagnostics: Diagnostics,
}

/// The hashes of the upserts' uids.
struct UidHashes<'a> {
    /// In the order of the upserts.
    hashes: Vec<u32>,
    /// Sorted by hash.
    by_hash: Vec<(u32, &'a EntityUpsert)>,
    /// Upserts whose uid occurred before in this change, by address.
    duplicates: HashSet<*const EntityUpsert>,
}

impl<'a> Transaction<'a> {
    pub fn stage(before: &'a Entities, change: &'a EntityChanges, schema: &'a Schema) -> Self {
        let mut transaction = Self {
            before,
            schema,
            after: before.clone(),
            changed: Vec::new(),
            replaced_or_removed: Vec::new(),
            removed: Vec::new(),
            diagnostics: Diagnostics::default(),
        };
        let hashes = transaction.hash_uids(change);
        let mut edits = transaction.stage_upserts(change, &hashes);
        transaction.stage_removals(change, &hashes, &mut edits);
        let edges = transaction.edge_edits();
        let index = || before.index.with_edits(edits);
        (transaction.after.index, transaction.after.members) =
            parallel::join(edges.len(), index, || before.members.with_edits(edges));
        transaction
    }

    /// Hashes the uids of all upserts. If a uid occurs more than once, the first upsert counts and the others
    /// are reported.
    fn hash_uids(&mut self, change: &'a EntityChanges) -> UidHashes<'a> {
        let uid_hash = |upsert: &EntityUpsert| self.before.uid_hash(upsert.entity.uid());
        let parts = map_chunks(&change.upserts, |part| part.iter().map(uid_hash).collect::<Vec<u32>>());
        let hashes: Vec<u32> = parts.into_iter().flatten().collect();
        let mut by_hash: Vec<(u32, &EntityUpsert)> = hashes.iter().copied().zip(&change.upserts).collect();
        parallel::sort_by(&mut by_hash, |(a, _), (b, _)| a.cmp(b));
        let mut duplicates = HashSet::new();
        for same in by_hash.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let mut first: HashMap<EntityUidRef<'_>, &EntityUpsert> = HashMap::new();
            for (_, upsert) in same {
                let before = first.get(&upsert.entity.uid()).copied();
                if let Some(before) = before {
                    duplicates.insert(std::ptr::from_ref(*upsert));
                    self.report_duplicate(upsert, before.span.as_ref());
                } else {
                    first.insert(upsert.entity.uid(), upsert);
                }
            }
        }
        UidHashes { hashes, by_hash, duplicates }
    }

    fn report_duplicate(&mut self, upsert: &EntityUpsert, first: Option<&SourceSpan>) {
        let schema = self.schema;
        self.diagnostics.push_error(|| {
            let elsewhere = first.map_or_else(
                || "also in another file".to_owned(),
                |first| format!("first at {}:{}", first.source.path, first.line_column().0),
            );
            let message =
                format!("`{}` is defined twice, {elsewhere}", schema.uid_string(upsert.entity.uid()));
            Diagnostic::error(message).at(upsert.span.clone())
        });
    }

    /// Stages upserts in their order: errors come in the order of the files, and memory is read sequentially.
    fn stage_upserts(
        &mut self,
        change: &'a EntityChanges,
        hashes: &UidHashes<'a>,
    ) -> Vec<Edit<StoredEntity>> {
        let removals: HashSet<EntityUidRef<'_>> = change.removals.iter().map(EntityUid::as_uid_ref).collect();
        let mut edits = Vec::with_capacity(change.upserts.len());
        for (uid_hash, upsert) in hashes.hashes.iter().zip(&change.upserts) {
            if hashes.duplicates.contains(&std::ptr::from_ref(upsert)) {
                continue;
            }
            let entity = &upsert.entity;
            let old = self.before.get_by_hash(*uid_hash, entity.uid());
            let moved = old.is_some_and(|old| old.entity.origin() != entity.origin());
            if moved && !removals.contains(&entity.uid()) {
                self.report_duplicate(upsert, None);
                continue;
            }
            let same = old.filter(|old| old.entity.same_content(entity));
            let version = same.map_or_else(Version::new_unique, |old| old.version);
            if same.is_none() {
                self.replaced_or_removed.extend(old.map(|old| &old.entity));
                self.changed.push(upsert);
            }
            if same.is_none() || moved {
                let entry = StoredEntity::new(entity.clone(), *uid_hash, version);
                edits.push(Edit { entry, is_insert: true });
            }
        }
        edits
    }

    fn stage_removals(
        &mut self,
        change: &'a EntityChanges,
        hashes: &UidHashes<'a>,
        edits: &mut Vec<Edit<StoredEntity>>,
    ) {
        let before = self.before;
        let mut uids: Vec<EntityUidRef<'_>> = change.removals.iter().map(EntityUid::as_uid_ref).collect();
        uids.sort_unstable();
        uids.dedup();
        for uid in uids {
            let uid_hash = before.uid_hash(uid);
            let Some(old) = before.get_by_hash(uid_hash, uid) else {
                let schema = self.schema;
                self.diagnostics.push_error(|| {
                    Diagnostic::error(format!(
                        "`{}` cannot be removed: it is not there",
                        schema.uid_string(uid)
                    ))
                });
                continue;
            };
            let from = hashes.by_hash.partition_point(|(other, _)| *other < uid_hash);
            let same_hash = hashes.by_hash.iter().skip(from).take_while(|(other, _)| *other == uid_hash);
            if same_hash.map(|(_, upsert)| upsert.entity.uid()).all(|other| other != uid) {
                edits.push(Edit { entry: old.clone(), is_insert: false });
                self.replaced_or_removed.push(&old.entity);
                self.removed.push(uid);
            }
        }
    }

    /// The changes of the member index.
    fn edge_edits(&self) -> Vec<Edit<Edge>> {
        let schema = self.schema;
        let removed = map_chunks(&self.replaced_or_removed, |part| {
            let edits = part.iter().flat_map(|entity| member_index::edits_for_entity(entity, false, schema));
            edits.collect::<Vec<_>>()
        });
        let inserted = map_chunks(&self.changed, |part| {
            let edits =
                part.iter().flat_map(|upsert| member_index::edits_for_entity(&upsert.entity, true, schema));
            edits.collect::<Vec<_>>()
        });
        removed.into_iter().chain(inserted).flatten().collect()
    }

    /// Whether this transaction adds, changes or removes the entity.
    pub fn was_changed(&self, uid: EntityUidRef<'_>) -> bool {
        self.before.get(uid).map(|stored| stored.version) != self.after.get(uid).map(|stored| stored.version)
    }
}
