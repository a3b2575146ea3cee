//! Where content is loaded from at the start.

/// Where one part of the content, policies or entities, is loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFrom {
    Source,
    /// The copy on disk of what was in use before, because the source cannot be used.
    SavedCopy,
}
