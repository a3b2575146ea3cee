//! Queries that are answered by decisions: what a denial lacks ([`explain`]), who may do what ([`search`]), and
//! who gains or loses what when entities change ([`access`]). The decision itself is `mandate_core::decide`; nothing here decides by other rules.

mod shortest_path;

pub mod access;
pub mod explain;
pub mod search;
