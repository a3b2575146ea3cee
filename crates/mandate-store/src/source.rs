//! The store as a source of entities: what a decision point starts from.

use std::sync::Arc;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::entities::{EntityUpsert, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;
use mandate_sources::source::{EntitySource, EntityUpdate, Origins, PollFor, Position};

use crate::store::Store;

/// Entities are read in texts of about so many bytes.
const TEXT_BYTES: usize = 16 * 1024 * 1024;

/// The entities of a store. Its changes are not polled for: whoever appends them puts them in use.
pub struct StoreSource {
    store: Arc<Store>,
}

impl StoreSource {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl EntitySource for StoreSource {
    fn poll(
        &mut self,
        what: PollFor,
        schema: &Schema,
        _: &mut Origins,
    ) -> Result<Option<(Position, EntityUpdate)>, Diagnostics> {
        match what {
            PollFor::SavedCopy | PollFor::Changes(_) => return Ok(None),
            PollFor::Snapshot => {}
        }
        let mut reader = Reader {
            name: self.store.path().display().to_string(),
            text: String::new(),
            schema,
            upserts: Vec::new(),
            diagnostics: Diagnostics::default(),
        };
        let head = self.store.each_entity(|entity| reader.add(&entity.text));
        let head = head.map_err(|error| Diagnostic::error(error.to_string()))?;
        reader.read();
        reader.diagnostics.into_result()?;
        Ok(Some((Position::at(head.sequence), EntityUpdate::Snapshot(reader.upserts))))
    }

    fn confirm(&mut self, _: Position) {}

    fn origin_name(&self, _: Origin) -> Option<&str> {
        self.store.path().to_str()
    }
}

/// Reads entities by a schema.
struct Reader<'a> {
    name: String,
    /// Entities that are not read yet, one a line.
    text: String,
    schema: &'a Schema,
    upserts: Vec<EntityUpsert>,
    diagnostics: Diagnostics,
}

impl Reader<'_> {
    fn add(&mut self, entity: &str) {
        self.text.push_str(entity);
        self.text.push('\n');
        if self.text.len() >= TEXT_BYTES {
            self.read();
        }
    }

    fn read(&mut self) {
        let text = std::mem::take(&mut self.text);
        let text = SourceText { path: self.name.clone(), name: "store.ndjson".to_owned(), text };
        match parse_entity_file(&Arc::new(text), Origin::STORE, self.schema, &LoadProgress::default()) {
            // The places would keep the texts in memory.
            Ok(upserts) => {
                self.upserts.extend(upserts.into_iter().map(|upsert| EntityUpsert { span: None, ..upsert }));
            }
            Err(found) => self.diagnostics.extend(found),
        }
    }
}
