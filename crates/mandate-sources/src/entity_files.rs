//! The entity folder: files in Cedar's JSON entity format, and NDJSON with one entity a line.
//! A file that changed is read again by itself, and only its entities change. Files whose metadata did not
//! change are compared with what was read of them in turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::folder::{ENTITY_EXTENSIONS, Fingerprint, Folder, Listing, reject_emptied};
use crate::progress::with_progress_log;
use crate::saved_copy::SavedCopy;
use crate::source::{EntitySource, EntityUpdate, Origins, PollFor, Position, Reread};
use crate::turns::Turns;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::entities::{Entity, EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::{EntityUidRef, Schema};

/// Files by their paths in the folder.
type Files = BTreeMap<String, AppliedFile>;

/// The listing of a folder, and the texts that were read.
type FolderRead = (Listing, Vec<Arc<SourceText>>);

/// The entity folder, and which of its content is in use.
pub(crate) struct EntityFiles {
    folder: Folder,
    applied: Files,
    /// The files that the last update took away.
    gone: Vec<(Origin, String)>,
    /// The files that held entities when they were last in use: they must not be found empty.
    nonempty_files: BTreeSet<String>,
    position: Position,
    turns: Turns,
    /// What was read for the last update, until it is confirmed.
    pending: Option<Pending>,
    /// The copy on disk of what is in use, if one is kept.
    copy: Option<SavedCopy>,
}

/// What was read for an update.
struct Pending {
    position: Position,
    files: Files,
    /// The texts for the copy.
    texts: Vec<Arc<SourceText>>,
    /// When it was found in the folder; `None` if it is from the copy.
    found: Option<SystemTime>,
}

/// A file whose content is in use.
#[derive(Clone)]
struct AppliedFile {
    fingerprint: Fingerprint,
    /// Whether the content is that of the file as long as the file has this fingerprint.
    reliable: bool,
    digest: Digest,
    origin: Origin,
    /// Its entities, as they were read.
    entities: Arc<[Entity]>,
}

impl EntityFiles {
    pub fn new(root: &Path, copy: Option<SavedCopy>) -> Self {
        Self {
            folder: Folder::new(root, ENTITY_EXTENSIONS, &[]),
            applied: Files::new(),
            gone: Vec::new(),
            // What was in use before this start must not be found empty, either.
            nonempty_files: copy.as_ref().map(SavedCopy::nonempty_files).unwrap_or_default(),
            position: Position::default(),
            turns: Turns::new(Instant::now()),
            pending: None,
            copy,
        }
    }

    /// Compares the files whose turn it is. One that differs is read at every poll until its content is in use.
    fn compare_in_turn(&mut self) {
        for name in self.turns.next(&self.applied, |file| file.fingerprint.length(), Instant::now()) {
            if let Some(file) = self.applied.get_mut(&name) {
                let same = self.folder.digest(&name).is_ok_and(|digest| digest == file.digest);
                file.reliable &= same;
            }
        }
    }

    /// Reads the files that may differ from those in `applied`; `None` if there are none.
    fn read(folder: &Folder, applied: &Files, force: bool) -> Result<Option<FolderRead>, Diagnostics> {
        let unchanged = |name: &str, fingerprint: &Fingerprint| {
            let known = applied.get(name).filter(|applied| applied.fingerprint == *fingerprint);
            !force && known.is_some_and(|known| known.reliable)
        };
        let (listing, texts) = folder.read(|name, fingerprint| !unchanged(name, fingerprint))?;
        let removed = applied.keys().any(|name| !listing.files.contains_key(name));
        Ok((removed || !texts.is_empty()).then_some((listing, texts)))
    }
}

/// Builds the change from the files in use to those that were read.
struct FileChanges<'a> {
    before: &'a Files,
    schema: &'a Schema,
    origins: &'a mut Origins,
    nonempty_files: &'a BTreeSet<String>,
    /// When the files were read.
    now: SystemTime,
    change: EntityChanges,
    after: Files,
}

impl FileChanges<'_> {
    fn remove_files(&mut self, listing: &Listing) {
        for (name, file) in self.before.iter().filter(|(name, _)| !listing.files.contains_key(*name)) {
            self.change.removals.extend(file.entities.iter().map(|entity| entity.uid().to_owned()));
            self.after.remove(name);
        }
    }

    fn parse_entity_file(
        &mut self,
        text: &Arc<SourceText>,
        fingerprint: Fingerprint,
        progress: &LoadProgress,
    ) -> Result<(), Diagnostics> {
        let digest = Digest::of([text.text.as_bytes()]);
        let before = self.before.get(&text.name);
        let reliable = fingerprint.is_reliable_at(self.now);
        if let Some(same) = before.filter(|file| file.digest == digest) {
            let same = AppliedFile { fingerprint, reliable, ..same.clone() };
            self.after.insert(text.name.clone(), same);
            return Ok(());
        }
        if self.nonempty_files.contains(&text.name) {
            reject_emptied(text)?;
        }
        let origin = before.map_or_else(|| self.origins.allocate(), |file| file.origin);
        let incoming = parse_entity_file(text, origin, self.schema, progress)?;
        let entities: Arc<[Entity]> = incoming.iter().map(|incoming| incoming.entity.clone()).collect();
        if let Some(before) = before {
            let stay: HashSet<EntityUidRef<'_>> = entities.iter().map(Entity::uid).collect();
            let gone = before.entities.iter().map(Entity::uid).filter(|name| !stay.contains(name));
            self.change.removals.extend(gone.map(EntityUidRef::to_owned));
        }
        self.change.upserts.extend(incoming);
        let file = AppliedFile { fingerprint, reliable, digest, origin, entities };
        self.after.insert(text.name.clone(), file);
        Ok(())
    }
}

/// Most likely something went wrong with the folder: without entities, every request would be denied.
fn emptied_folder(root: &Path) -> Diagnostics {
    let message = format!("`{}` had entities, and has no entity files now", root.display());
    let help = "bring the files back; if there are to be no entities, leave a file with `[]`";
    Diagnostic::error(message).help(help).into()
}

impl EntitySource for EntityFiles {
    fn poll(
        &mut self,
        what: PollFor,
        schema: &Schema,
        origins: &mut Origins,
    ) -> Result<Option<(Position, EntityUpdate)>, Diagnostics> {
        if what == PollFor::Changes(Reread::InTurn) {
            self.compare_in_turn();
        }
        let (none, now) = (Files::new(), SystemTime::now());
        let copy = self.copy.as_ref().map(|copy| Folder::new(&copy.folder(), ENTITY_EXTENSIONS, &[]));
        let (folder, before, force) = match (what, &copy) {
            (PollFor::Snapshot, _) => (&self.folder, &none, true),
            (PollFor::SavedCopy, Some(copy)) => (copy, &none, true),
            (PollFor::SavedCopy, None) => return Ok(None),
            (PollFor::Changes(reread), _) => (&self.folder, &self.applied, reread == Reread::Everything),
        };
        let (listing, texts) = match (Self::read(folder, before, force)?, what) {
            (Some(read), _) => read,
            (None, PollFor::Snapshot | PollFor::SavedCopy) => Default::default(),
            (None, PollFor::Changes(_)) => {
                self.copy.iter().for_each(|copy| copy.confirm(now));
                return Ok(None);
            }
        };
        if listing.files.is_empty() && !self.nonempty_files.is_empty() {
            return Err(emptied_folder(folder.root()));
        }
        let nonempty_files = &self.nonempty_files;
        let (change, after) = (EntityChanges::default(), before.clone());
        let mut changes = FileChanges { before, schema, origins, nonempty_files, now, change, after };
        changes.remove_files(&listing);
        let mut diagnostics = Diagnostics::default();
        with_progress_log(texts.iter().map(|text| text.text.len()).sum(), |progress| {
            for text in &texts {
                if let Some(fingerprint) = listing.files.get(&text.name)
                    && let Err(found) = changes.parse_entity_file(text, *fingerprint, progress)
                {
                    diagnostics.extend(found);
                }
            }
        });
        diagnostics.into_result()?;
        let FileChanges { change, after, .. } = changes;
        self.position = self.position.next();
        let (position, found) = (self.position, (what != PollFor::SavedCopy).then_some(now));
        // Texts are large, so they are not kept for nothing.
        let texts = if self.copy.is_some() && found.is_some() { texts } else { Vec::new() };
        self.pending = Some(Pending { position, files: after, texts, found });
        let update = match what {
            PollFor::Snapshot | PollFor::SavedCopy => EntityUpdate::Snapshot(change.upserts),
            PollFor::Changes(_) => EntityUpdate::Changes(change),
        };
        Ok(Some((self.position, update)))
    }

    fn confirm(&mut self, position: Position) {
        let Some(pending) = self.pending.take_if(|pending| pending.position == position) else { return };
        let Pending { position: _, files, texts, found } = pending;
        if let Some((copy, found)) = self.copy.as_ref().zip(found) {
            copy.save(files.keys().cloned().collect(), texts, found);
        }
        let holds = files.iter().filter(|(_, file)| !file.entities.is_empty());
        self.nonempty_files = holds.map(|(name, _)| name.clone()).collect();
        let before = std::mem::replace(&mut self.applied, files).into_iter();
        let gone = before.filter(|(name, file)| {
            self.applied.get(name).is_none_or(|applied| applied.origin != file.origin)
        });
        self.gone = gone.map(|(name, file)| (file.origin, name)).collect();
    }

    fn origin_name(&self, origin: Origin) -> Option<&str> {
        let applied = self.applied.iter().map(|(name, file)| (file.origin, name));
        let gone = self.gone.iter().map(|(origin, name)| (*origin, name));
        applied.chain(gone).find_map(|(known, name)| (known == origin).then_some(name.as_str()))
    }
}
