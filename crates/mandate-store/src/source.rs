//! The store as a source of entities: what a decision point starts from.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::entities::{EntityUpsert, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;
use mandate_sources::source::{EntitySource, EntityUpdate, Origins, PollFor, Position};

use crate::error::StoreError;
use crate::marks::Head;
use crate::store::Store;

/// Entities are read in texts of about so many bytes.
const TEXT_BYTES: usize = 8 * 1024 * 1024;

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
        let mut parser = Parser {
            name: self.store.path().display().to_string(),
            schema,
            upserts: Vec::new(),
            diagnostics: Diagnostics::default(),
        };
        let head = self.each_part(|text| parser.parse(text));
        let head = head.map_err(|error| Diagnostic::error(error.to_string()))?;
        parser.diagnostics.into_result()?;
        Ok(Some((Position::at(head.sequence), EntityUpdate::Snapshot(parser.upserts))))
    }

    fn confirm(&mut self, _: Position) {}

    fn origin_name(&self, _: Origin) -> Option<&str> {
        self.store.path().to_str()
    }
}

impl StoreSource {
    /// Calls `found` with all entities, some thousands in a text, one a line. While it works, the next text is read.
    fn each_part(&self, mut found: impl FnMut(String)) -> Result<Head, StoreError> {
        let (sender, texts) = sync_channel(1);
        let read = move || {
            let mut text = String::with_capacity(TEXT_BYTES);
            let head = self.store.each_text(|entity| {
                text.push_str(entity);
                text.push('\n');
                if text.len() >= TEXT_BYTES {
                    let full = std::mem::replace(&mut text, String::with_capacity(TEXT_BYTES));
                    // The receiver is there for as long as this thread.
                    _ = sender.send(full);
                }
            })?;
            _ = sender.send(text);
            Ok(head)
        };
        thread::scope(|scope| {
            let reading = scope.spawn(read);
            texts.into_iter().for_each(&mut found);
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Parses entities by a schema.
struct Parser<'a> {
    name: String,
    schema: &'a Schema,
    upserts: Vec<EntityUpsert>,
    diagnostics: Diagnostics,
}

impl Parser<'_> {
    fn parse(&mut self, text: String) {
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
