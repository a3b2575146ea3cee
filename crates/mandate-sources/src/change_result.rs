//! What became of a change that a source had.

use mandate_core::diagnostics::Diagnostics;

/// A change was accepted, or refused as a whole with all its diagnostics.
pub type ReloadResult = Result<Accepted, Diagnostics>;

/// An accepted change.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether the content differs from what was in use before.
    pub changed: bool,
    pub warnings: Diagnostics,
}
