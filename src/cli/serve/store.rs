//! The store of `mandate serve`: opened before the first load. An empty one takes the entities of a folder in, once
//! they are loaded and proven with the policies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mandate_core::Snapshot;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::entities::Origin;
use mandate_core::schema::Schema;
use mandate_sources::loader::read_entity_folder;
use mandate_sources::source::{EntitySource, EntityUpdate, Origins, PollFor, Position};
use mandate_store::{Author, LogPosition, Store, StoreError, StoreSource, TransactionLog, take_in};

/// The folder that is taken in if it is there, and no other is named.
const DEFAULT_FOLDER: &str = "entities";

/// The store that the entities come from.
pub struct ServedStore {
    store: Arc<Store>,
    is_empty: bool,
}

impl ServedStore {
    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(path: &Path) -> Result<Self, Diagnostics> {
        let open = || {
            let store = Store::open_or_create(path)?;
            let is_empty = store.head()?.sequence == 0;
            Ok(Self { store: Arc::new(store), is_empty })
        };
        open().map_err(|error: StoreError| Diagnostic::error(error.to_string()).into())
    }

    /// Where its entities come from: the folder, as long as the store is empty.
    pub fn source(&self, folder: &Path) -> Box<dyn EntitySource> {
        if self.is_empty {
            return Box::new(FolderOnce(folder.to_owned()));
        }
        tracing::info!(store = %self.store.path().display(), "the store has entities: no folder is read");
        Box::new(StoreSource::new(Arc::clone(&self.store)))
    }

    /// Takes the entities that were loaded into an empty store.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&self, loaded: &Snapshot) -> Result<LogPosition, Diagnostics> {
        let begin = || {
            if self.is_empty && !loaded.entities().is_empty() {
                let caller = format!("uid {}", rustix::process::getuid().as_raw());
                take_in(
                    &self.store,
                    loaded,
                    Author { caller, action: Some("import".into()), ..Author::default() },
                )?;
            }
            Ok(self.store.head()?.position())
        };
        begin().map_err(|error: StoreError| Diagnostic::error(error.to_string()).into())
    }

    /// Reads the store from now on.
    pub fn followed(&self) -> Box<dyn EntitySource> {
        Box::new(StoreSource::new(Arc::clone(&self.store)))
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    pub fn log(&self) -> Arc<dyn TransactionLog> {
        Arc::clone(&self.store) as Arc<dyn TransactionLog>
    }

    pub fn path(&self) -> &Path {
        self.store.path()
    }
}

/// The entities of a folder, which is read once.
struct FolderOnce(PathBuf);

impl EntitySource for FolderOnce {
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
        let Self(folder) = self;
        if !folder.exists() && folder == Path::new(DEFAULT_FOLDER) {
            tracing::warn!("the store is empty, and there is no folder `{DEFAULT_FOLDER}` to take in");
            return Ok(Some((Position::default(), EntityUpdate::Snapshot(Vec::new()))));
        }
        let upserts = read_entity_folder(folder, Origin::STORE, schema)?;
        Ok(Some((Position::default(), EntityUpdate::Snapshot(upserts))))
    }

    fn confirm(&mut self, _: Position) {}
}
