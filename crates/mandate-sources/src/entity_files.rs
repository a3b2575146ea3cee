//! The entity folder: files in Cedar's JSON entity format, and NDJSON with one entity a line.
//! A file that changed is read again by itself, and becomes a change of just its entities.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::folder::{ENTITY_EXTENSIONS, Fingerprint, Folder, reject_emptied};
use super::progress::with_progress_log;
use mandate_core::digest::Digest;
use mandate_core::entities::{Change, Entity, Origin, Progress, read_file};
use mandate_core::fault::{Faults, SourceText};
use mandate_core::schema::{Name, Schema};

/// The entity folder, and what of it is in use.
pub(super) struct EntityFiles {
    folder: Folder,
    applied: BTreeMap<String, AppliedFile>,
    /// The files that hold entities.
    nonempty_files: BTreeSet<String>,
    next_origin: u32,
}

/// A file whose content is in use.
#[derive(Clone)]
struct AppliedFile {
    fingerprint: Fingerprint,
    /// Whether it was read so late that a later change must show in the fingerprint.
    reliable: bool,
    digest: Digest,
    origin: Origin,
    /// What it holds, as it was read.
    entities: Vec<Entity>,
}

/// A change of entities, and what is in use once it is applied.
pub(super) struct PendingEntities {
    pub change: Change,
    applied: Vec<(String, AppliedFile)>,
    removed_files: Vec<String>,
    next_origin: u32,
}

impl EntityFiles {
    pub fn new(root: &Path) -> Self {
        Self {
            folder: Folder::new(root, ENTITY_EXTENSIONS, &[]),
            applied: BTreeMap::new(),
            nonempty_files: BTreeSet::new(),
            next_origin: 0,
        }
    }

    /// Forgets what is in use, so that the next change is all there is; but not which files held
    /// entities, because those must not be found empty.
    pub fn without_applied_files(&self) -> Self {
        Self {
            applied: BTreeMap::new(),
            next_origin: 0,
            folder: self.folder.clone(),
            nonempty_files: self.nonempty_files.clone(),
        }
    }

    /// The change from what is in use to what the folder holds now; `None` if there is certainly none.
    ///
    /// # Errors
    /// Everything that cannot be read, or is wrong with an entity by itself.
    pub fn read_changes(&self, schema: &Schema, force: bool) -> Result<Option<PendingEntities>, Faults> {
        let now = SystemTime::now();
        let unchanged = |name: &str, fingerprint: &Fingerprint| {
            let known = self.applied.get(name).filter(|applied| applied.fingerprint == *fingerprint);
            !force && known.is_some_and(|known| known.reliable)
        };
        let (listing, texts) = self.folder.read(|name, fingerprint| !unchanged(name, fingerprint))?;
        let removed_files: Vec<String> =
            self.applied.keys().filter(|name| !listing.contains_key(*name)).cloned().collect();
        if texts.is_empty() && removed_files.is_empty() {
            return Ok(None);
        }
        let mut change = PendingEntities {
            change: Change::default(),
            applied: Vec::new(),
            removed_files,
            next_origin: self.next_origin,
        };
        for name in &change.removed_files {
            let entities = self.applied.get(name).into_iter().flat_map(|applied| &applied.entities);
            change.change.remove.extend(entities.map(|entity| entity.name().to_owned()));
        }
        let mut faults = Faults::default();
        with_progress_log(texts.iter().map(|text| text.text.len()).sum(), |progress| {
            for text in &texts {
                if let Some(fingerprint) = listing.get(&text.name)
                    && let Err(found) =
                        self.read_file_changes(text, (*fingerprint, now), (schema, progress), &mut change)
                {
                    faults.extend(found);
                }
            }
        });
        faults.into_result().map(|_| Some(change))
    }

    fn read_file_changes(
        &self,
        text: &Arc<SourceText>,
        (fingerprint, now): (Fingerprint, SystemTime),
        (schema, progress): (&Schema, &Progress),
        change: &mut PendingEntities,
    ) -> Result<(), Faults> {
        let digest = Digest::of([text.text.as_bytes()]);
        let before = self.applied.get(&text.name);
        let reliable = fingerprint.is_reliable_at(now);
        if let Some(same) = before.filter(|applied| applied.digest == digest) {
            change.applied.push((text.name.clone(), AppliedFile { fingerprint, reliable, ..same.clone() }));
            return Ok(());
        }
        if self.nonempty_files.contains(&text.name) {
            reject_emptied(text)?;
        }
        let origin = before.map_or(Origin(change.next_origin), |applied| applied.origin);
        change.next_origin += u32::from(before.is_none());
        let incoming = read_file(text, origin, schema, progress)?;
        let entities: Vec<Entity> = incoming.iter().map(|incoming| incoming.entity.clone()).collect();
        if let Some(before) = before {
            let stay: HashSet<Name<'_>> = entities.iter().map(Entity::name).collect();
            let gone = before.entities.iter().map(Entity::name).filter(|name| !stay.contains(name));
            change.change.remove.extend(gone.map(Name::to_owned));
        }
        change.change.upsert.extend(incoming);
        change
            .applied
            .push((text.name.clone(), AppliedFile { fingerprint, reliable, digest, origin, entities }));
        Ok(())
    }

    /// Remembers that a change is in use. The change itself was handed over.
    pub fn mark_applied(&mut self, change: PendingEntities) {
        for name in change.removed_files {
            self.applied.remove(&name);
        }
        self.applied.extend(change.applied);
        let holds = self.applied.iter().filter(|(_, applied)| !applied.entities.is_empty());
        self.nonempty_files = holds.map(|(name, _)| name.clone()).collect();
        self.next_origin = change.next_origin;
    }
}
