//! The entities of a folder at one moment, for commands that compare two versions. Changes of a folder are
//! followed in `entity_loader`.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::entity_loader::as_change;
use super::folder::{ENTITY_EXTENSIONS, Folder, has_extension, is_hidden};
use super::folder_state::FolderState;
use super::git;
use super::progress::with_progress_log;
use super::source::{EntityUpdate, Origins};
use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostics, SourceText};
use mandate_core::entities::{EntityUpsert, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;

/// A snapshot with the entities of a folder, in place of those that it has.
///
/// # Errors
/// All diagnostics of the entities.
pub fn load_entity_folder(state: &FolderState<'_>, snapshot: &Snapshot) -> Result<Snapshot, Diagnostics> {
    let (mut origins, mut upserts, mut diagnostics) =
        (Origins::default(), Vec::new(), Diagnostics::default());
    for text in texts(state)? {
        let origin = origins.allocate();
        match parse_entity_file(&text, origin, snapshot.schema(), &LoadProgress::default()) {
            Ok(more) => upserts.extend(more),
            Err(found) => diagnostics.extend(found),
        }
    }
    diagnostics.into_result()?;
    snapshot.apply(&as_change(EntityUpdate::Snapshot(upserts), snapshot))
}

/// The entities of a folder, all of one origin, for a store that takes them in.
///
/// # Errors
/// All diagnostics of the single entities.
pub fn read_entity_folder(
    root: &Path,
    origin: Origin,
    schema: &Schema,
) -> Result<Vec<EntityUpsert>, Diagnostics> {
    let texts = texts(&FolderState::Current(root))?;
    let bytes = texts.iter().map(|text| text.text.len()).sum();
    with_progress_log(bytes, |progress| {
        let (mut upserts, mut diagnostics) = (Vec::new(), Diagnostics::default());
        for text in texts {
            match parse_entity_file(&text, origin, schema, progress) {
                Ok(more) => upserts.extend(more),
                Err(found) => diagnostics.extend(found),
            }
        }
        diagnostics.into_result().map(|_| upserts)
    })
}

/// As [`read_entity_folder`], in a fraction of the memory: texts are read in parts, and no place is kept. `None` if
/// anything is wrong; [`read_entity_folder`] says what, and where.
pub fn read_entity_folder_in_parts(
    root: &Path,
    origin: Origin,
    schema: &Schema,
    progress: &LoadProgress,
) -> Option<Vec<EntityUpsert>> {
    let folder = Folder::new(root, ENTITY_EXTENSIONS, &[]);
    let (before, mut upserts) = (folder.list().ok()?, Vec::new());
    for name in before.files.keys() {
        let file = File::open(root.join(name)).ok()?;
        let is_lines = has_extension(Path::new(name), &["ndjson"]);
        let mut parts = Parts { file: BufReader::new(file), is_lines };
        while let Some(text) = parts.next().ok()? {
            let text = SourceText::new(name.as_str(), text);
            let read = parse_entity_file(&text, origin, schema, progress).ok()?;
            upserts.extend(read.into_iter().map(|upsert| EntityUpsert { span: None, ..upsert }));
        }
    }
    // The files are of one state of the folder.
    (folder.list().ok()? == before).then_some(upserts)
}

/// A file of one entity a line is read in parts of about so many bytes.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// The text of a file, in parts that end with lines, or as a whole.
struct Parts {
    file: BufReader<File>,
    is_lines: bool,
}

impl Parts {
    fn next(&mut self) -> io::Result<Option<String>> {
        let most = if self.is_lines { PART_BYTES } else { u64::MAX };
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take(most).read_to_end(&mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        if self.is_lines {
            self.file.read_until(b'\n', &mut bytes)?;
        }
        String::from_utf8(bytes).map(Some).map_err(io::Error::other)
    }
}

/// The texts of all entity files of a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn entity_texts(root: &Path) -> Result<Vec<Arc<SourceText>>, Diagnostics> {
    texts(&FolderState::Current(root))
}

fn texts(state: &FolderState<'_>) -> Result<Vec<Arc<SourceText>>, Diagnostics> {
    match state {
        FolderState::Current(root) => {
            Folder::new(root, ENTITY_EXTENSIONS, &[]).read(|_, _| true).map(|(_, texts)| texts)
        }
        FolderState::AtRevision(folder, revision) => {
            let is_entity_file = |name: &Path| has_extension(name, ENTITY_EXTENSIONS) && !is_hidden(name);
            let help = "name the entity folder with `MANDATE_ENTITIES`, or with `entities` in the configuration file";
            git::files_at_revision(folder, revision, help, is_entity_file)
        }
    }
}
