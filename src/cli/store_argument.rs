//! The store that a command works on: its file, or the sidecar that serves it.

use std::path::PathBuf;

use clap::Args;

use super::sidecar::Sidecar;
use crate::error::CliError;
use mandate_server::listen::address::Address;
use mandate_store::{Store, StoreError};

#[derive(Args)]
pub struct StoreArgument {
    /// The file of the store, which no sidecar serves meanwhile
    #[arg(long, env = "MANDATE_STORE", value_name = "FILE", required_unless_present = "admin")]
    store: Option<PathBuf>,
    /// Ask the sidecar that serves the store, at its admin address: HOST:PORT or unix:PATH
    #[arg(long, env = "MANDATE_ADMIN", value_name = "ADDR")]
    admin: Option<Address>,
    /// The file of the token for the admin address, if it needs one
    #[arg(long, env = "MANDATE_ADMIN_TOKEN", value_name = "FILE", requires = "admin")]
    admin_token: Option<PathBuf>,
}

impl StoreArgument {
    /// The sidecar to ask; `None` if the command works on the file.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn sidecar(&self) -> Result<Option<Sidecar>, CliError> {
        let admin = self.admin.clone();
        admin.map(|address| Sidecar::new(address, self.admin_token.as_ref())).transpose()
    }

    /// Opens the file of the store.
    ///
    /// # Errors
    /// It is missing, or cannot be used.
    pub fn open(&self) -> Result<Store, CliError> {
        Store::open(self.file()?).map_err(explain)
    }

    /// Opens the file of the store, or makes an empty one.
    ///
    /// # Errors
    /// It cannot be used or made.
    pub fn open_or_create(&self) -> Result<Store, CliError> {
        Store::open_or_create(self.file()?).map_err(explain)
    }

    fn file(&self) -> Result<&PathBuf, CliError> {
        self.store.as_ref().ok_or_else(|| {
            CliError::message(
                "this command works on the file itself: name it with `--store`, while no sidecar serves it",
            )
        })
    }
}

fn explain(error: StoreError) -> CliError {
    match error {
        StoreError::InUse(_) => {
            CliError::message(format!("{error}; a sidecar that serves it is asked with `--admin ADDR`"))
        }
        error => CliError::message(error),
    }
}
