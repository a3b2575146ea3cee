//! The option `require-claims`: an operator's list of the claims that have to be there. It is outside the policy
//! folder, so an edit of the policies cannot take a promise back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::options::options;
use crate::error::CliError;

options! {
    /// Which claims have to be there.
    pub struct ClaimOptions {
        /// Require the claims that this file lists, one id a line; `#` begins a comment. It has to be outside
        /// the policy folder
        #[arg(long, env = "MANDATE_REQUIRE_CLAIMS", value_name = "FILE")]
        pub require_claims: Option<PathBuf>,
    }
}

/// The file of the required claims.
#[derive(Debug, Clone)]
pub struct RequiredClaims {
    path: PathBuf,
}

impl ClaimOptions {
    /// The file of the required claims, if there is one.
    ///
    /// # Errors
    /// It is in the policy folder, or cannot be read.
    pub fn required(self, policies: &Path) -> Result<Option<RequiredClaims>, CliError> {
        let Some(path) = self.require_claims else { return Ok(None) };
        let real = std::fs::canonicalize(&path).map_err(|error| CliError::file("read", &path, error))?;
        if std::fs::canonicalize(policies).is_ok_and(|policies| real.starts_with(policies)) {
            return Err(CliError::message(format!(
                "the file of `require-claims`, `{}`, has to be outside the policy folder, so that an edit of the policies cannot change it",
                path.display()
            )));
        }
        let required = RequiredClaims { path };
        required.read().map(|_| Some(required))
    }
}

impl RequiredClaims {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids that the file lists now.
    ///
    /// # Errors
    /// It cannot be read, or is empty: most likely it is being written at this moment.
    pub fn read(&self) -> Result<BTreeSet<String>, CliError> {
        let text = std::fs::read_to_string(&self.path);
        let text = text.map_err(|error| CliError::file("read", &self.path, error))?;
        if text.trim().is_empty() {
            let path = self.path.display();
            return Err(CliError::message(format!(
                "`{path}` is empty: to require no claims, write a comment"
            )));
        }
        let ids = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        Ok(ids.filter(|id| !id.is_empty()).map(ToOwned::to_owned).collect())
    }
}
