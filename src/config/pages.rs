//! Options of the pages: where they are served, and how people sign in.

#![allow(rustdoc::bare_urls, reason = "doc comments of options are help texts, shown as they stand")]

use std::path::PathBuf;

use super::options::options;
use super::values::base_url;
use crate::error::CliError;
use mandate_server::listen::address::Address;

options! {
    /// Where the pages are, and how people sign in.
    pub struct PagesOptions {
        /// Serve the pages on which people review requests here: HOST:PORT or https://HOST:PORT, with --tls-cert and
        /// --tls-key; needs --store, and --sign-in or --demo-sign-in [default: none]
        #[arg(long, env = "MANDATE_PAGES_LISTEN", value_name = "ADDR")]
        pub pages_listen: Option<Address>,
        /// The base URL of the pages, which links to reviews begin with, such as https://consent.example.com [default:
        /// the address of --pages-listen]
        #[arg(long, env = "MANDATE_PAGES_URL", value_name = "URL")]
        pub pages_url: Option<String>,
        /// How people sign in on the pages: a TOML file, see docs/pages.md
        #[arg(long, env = "MANDATE_SIGN_IN", value_name = "FILE")]
        pub sign_in: Option<PathBuf>,
    }
}

/// What is known of the pages before they are opened. Their address is among the listeners.
pub struct PagesSettings {
    /// Without a slash at the end.
    pub url: Option<String>,
    pub sign_in: Option<PathBuf>,
}

impl PagesOptions {
    /// # Errors
    /// The options contradict each other, or others.
    pub fn settings(self, has_store: bool, demo_sign_in: bool) -> Result<PagesSettings, CliError> {
        let Self { pages_listen, pages_url, sign_in } = self;
        let mut wrong = Vec::new();
        if let Some(address) = &pages_listen {
            if !has_store {
                wrong.push("`pages-listen` needs `store`: requests are kept there".to_owned());
            }
            match (&sign_in, demo_sign_in) {
                (None, false) => wrong.push("`pages-listen` needs `sign-in`, or `demo-sign-in` to try it".to_owned()),
                (Some(_), true) => {
                    wrong.push("`sign-in` and `demo-sign-in` exclude each other: use one".to_owned());
                }
                (None, true) if !address.is_local() => wrong.push(format!(
                    "`demo-sign-in` lets everybody act as anybody: `pages-listen` has to be a loopback address, found `{address}`"
                )),
                (Some(_), false) | (None, true) => {}
            }
            if address.is_unix() && pages_url.is_none() {
                wrong.push("`pages-listen` on a unix socket needs `pages-url`".to_owned());
            }
        } else if sign_in.is_some() {
            wrong.push("`sign-in` needs `pages-listen`".to_owned());
        }
        let url =
            pages_url.map(|url| base_url(("pages-url", "https://consent.example.com"), &url)).transpose();
        match url {
            Ok(url) if wrong.is_empty() => Ok(PagesSettings { url, sign_in }),
            Ok(_) => Err(CliError::all(&wrong)),
            Err(error) => {
                wrong.push(error.to_string());
                Err(CliError::all(&wrong))
            }
        }
    }
}
