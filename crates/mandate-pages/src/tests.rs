//! The pages as browsers meet them: requests to the router, with the content of this repository in a store of their own.
//! No sockets, but for the identity provider.

mod abuse;
mod consents;
mod gateway;
mod headers;
mod house;
mod languages;
mod links;
mod open_id;
mod partner;
mod provider;
