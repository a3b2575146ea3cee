//! Queries that are answered by decisions: what a denial lacks ([`explain`]), and who may do what
//! ([`search`]). The decision itself is `mandate_core::decide`; nothing here decides by other rules.

mod shortest_path;

pub mod explain;
pub mod search;
