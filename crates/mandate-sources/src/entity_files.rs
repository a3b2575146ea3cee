//! The entity folder: files in Cedar's JSON entity format, and NDJSON with one entity a line.
//! A file that changed is read again by itself, and only its entities change. Files whose metadata did not
//! change are compared with what was read of them in turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::folder::{ENTITY_EXTENSIONS, Fingerprint, Folder, Listing, reject_emptied};
use crate::progress::with_progress_log;
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
    /// The files as they were read for the last update, until it is confirmed.
    pending: Option<(Position, Files)>,
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
    pub fn new(root: &Path) -> Self {
        Self {
            folder: Folder::new(root, ENTITY_EXTENSIONS, &[]),
            applied: Files::new(),
            gone: Vec::new(),
            nonempty_files: BTreeSet::new(),
            position: Position::default(),
            turns: Turns::new(Instant::now()),
            pending: None,
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
    fn read(&self, applied: &Files, force: bool) -> Result<Option<FolderRead>, Diagnostics> {
        let unchanged = |name: &str, fingerprint: &Fingerprint| {
            let known = applied.get(name).filter(|applied| applied.fingerprint == *fingerprint);
            !force && known.is_some_and(|known| known.reliable)
        };
        let (listing, texts) = self.folder.read(|name, fingerprint| !unchanged(name, fingerprint))?;
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
        let none = Files::new();
        let (before, force) = match what {
            PollFor::Snapshot => (&none, true),
            PollFor::Changes(reread) => (&self.applied, reread == Reread::Everything),
        };
        let now = SystemTime::now();
        let (listing, texts) = match (self.read(before, force)?, what) {
            (Some(read), _) => read,
            (None, PollFor::Snapshot) => Default::default(),
            (None, PollFor::Changes(_)) => return Ok(None),
        };
        if listing.files.is_empty() && !self.nonempty_files.is_empty() {
            return Err(emptied_folder(self.folder.root()));
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
        self.pending = Some((self.position, after));
        let update = match what {
            PollFor::Snapshot => EntityUpdate::Snapshot(change.upserts),
            PollFor::Changes(_) => EntityUpdate::Changes(change),
        };
        Ok(Some((self.position, update)))
    }

    fn confirm(&mut self, position: Position) {
        let Some((_, files)) = self.pending.take_if(|(pending, _)| *pending == position) else { return };
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
