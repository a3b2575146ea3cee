//! All entities of one generation.

use std::sync::Arc;

use mandate_store::LogPosition;

use crate::generation::Generation;

/// All entities of one generation, for as long as somebody reads them.
pub struct AllEntities(Arc<Generation>);

impl AllEntities {
    pub(crate) fn of(generation: Arc<Generation>) -> Self {
        Self(generation)
    }

    /// Where they stand in the log of their store, if they come from one.
    pub fn position(&self) -> Option<LogPosition> {
        self.0.position()
    }

    /// Each in Cedar's JSON format, in the order of names.
    pub fn texts(&self) -> impl Iterator<Item = String> + Send {
        mandate_store::texts_of_all(self.0.snapshot())
    }
}
