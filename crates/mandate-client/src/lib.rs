//! An HTTPS client for URLs that come from outside, such as callbacks and identity providers. It connects only to
//! public addresses, and to those of hosts that the operator allows, so that nobody can use it to reach what is behind
//! the firewall. It follows no redirects and keeps no connections. Start reading at `client`; `address` says which
//! addresses are public.

mod address;
mod client;

pub use address::{is_public, is_this_machine};
pub use client::{Client, ClientError, ClientSettings};
