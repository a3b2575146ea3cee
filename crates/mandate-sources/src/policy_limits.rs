//! How large a policy folder may be. It is read whole at every poll, and checked as a whole at every change, so
//! a folder beyond all measure, most likely a mistake, must not take all memory or keep the sidecar busy.

use std::path::Path;
use std::sync::Arc;

use super::folder::Listing;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::text_limits::count_policies;

/// The limits of a policy folder.
#[derive(Debug, Clone, Copy)]
pub struct PolicyLimits {
    /// The most files: schema, policies, routes, changes and guardrails.
    pub max_files: usize,
    /// The most bytes of all files together.
    pub max_bytes: u64,
    /// The most policies, without the claims among the guardrails.
    pub max_policies: usize,
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self { max_files: 20_000, max_bytes: 64 * 1024 * 1024, max_policies: 20_000 }
    }
}

impl PolicyLimits {
    /// Checks a folder's files by their metadata.
    ///
    /// # Errors
    /// There are too many files, or they are too large.
    pub(super) fn check_files(&self, folder: &Path, listing: &Listing) -> Result<(), Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let files = listing.files.len();
        if files > self.max_files {
            let message = beyond(folder, files, "files", "max-policy-files", self.max_files);
            diagnostics.push(message.help("merge files, move others elsewhere, or raise `max-policy-files`"));
        }
        let bytes = listing.files.values().fold(0, |sum: u64, file| sum.saturating_add(file.length()));
        let largest = listing.files.iter().max_by_key(|(_, file)| file.length());
        if let Some((name, file)) = largest.filter(|_| bytes > self.max_bytes) {
            let message = beyond(folder, bytes, "bytes", "max-policy-bytes", self.max_bytes);
            diagnostics.push(message.help(format!(
                "the largest is `{name}` with {} bytes; move what is no policy elsewhere, or raise `max-policy-bytes`",
                file.length()
            )));
        }
        diagnostics.into_result().map(|_| ())
    }

    /// Checks the number of policies, before they are parsed.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn check_policies(&self, folder: &Path, files: &[Arc<SourceText>]) -> Result<(), Diagnostics> {
        let count: usize = files.iter().map(|file| count_policies(&file.text)).sum();
        if count <= self.max_policies {
            return Ok(());
        }
        let help = "write policies about groups instead of single entities, or raise `max-policies`";
        Err(beyond(folder, count, "policies", "max-policies", self.max_policies).help(help).into())
    }
}

fn beyond<N: std::fmt::Display>(folder: &Path, found: N, what: &str, option: &str, limit: N) -> Diagnostic {
    let folder = folder.display();
    Diagnostic::error(format!("`{folder}` has {found} {what}, and `{option}` allows {limit}"))
}
