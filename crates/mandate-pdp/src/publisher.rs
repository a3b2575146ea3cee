//! Replaces the generation in use. There is one publisher for each decision point, and it is the only
//! code that can.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::generation::Generation;
use crate::report::Reporter;

/// The generation in use. Everybody may load it; only the [`Publisher`] replaces it.
pub(crate) struct Published(ArcSwap<Generation>);

impl Published {
    pub fn new(generation: Generation) -> Self {
        Self(ArcSwap::from_pointee(generation))
    }

    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.0.load()
    }
}

/// Puts generations in use, one after the other. Requests in flight keep the one they began with.
pub struct Publisher {
    published: Arc<Published>,
    reporter: Reporter,
}

impl Publisher {
    pub(crate) fn new(published: Arc<Published>, reporter: Reporter) -> Self {
        reporter.serving(&published.load());
        Self { published, reporter }
    }

    /// The generation in use.
    pub fn current(&self) -> Arc<Generation> {
        self.published.0.load_full()
    }

    /// Puts another generation in use, for all requests from now on.
    pub fn publish(&mut self, generation: impl Into<Generation>) {
        let generation = Arc::new(generation.into());
        self.reporter.serving(&generation);
        self.published.0.store(Arc::clone(&generation));
        self.reporter.published(&generation);
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }
}
