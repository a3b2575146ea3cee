//! The store that a command works on.

use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;
use mandate_store::Store;

#[derive(Args)]
pub struct StoreArgument {
    /// The file of the store
    #[arg(long, env = "MANDATE_STORE", value_name = "FILE")]
    store: PathBuf,
}

impl StoreArgument {
    /// Opens the store.
    ///
    /// # Errors
    /// It is missing, or cannot be used.
    pub fn open(&self) -> Result<Store, CliError> {
        Store::open(&self.store).map_err(CliError::message)
    }

    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    /// It cannot be used or made.
    pub fn open_or_create(&self) -> Result<Store, CliError> {
        Store::open_or_create(&self.store).map_err(CliError::message)
    }
}
