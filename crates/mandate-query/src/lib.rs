//! Questions about decisions, all answered by deciding: what a denial lacks ([`explain`]), and who may
//! do what ([`search`]).

pub mod explain;
pub mod search;
