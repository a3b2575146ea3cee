//! Names of entity types and actions, as callers write them: in full, or without the namespace where only one
//! namespace has the name.

use std::collections::HashMap;

use smol_str::SmolStr;

/// Why a name could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("the schema does not have this name")]
    Unknown,
    #[error("several namespaces have this name")]
    Ambiguous,
}

/// Full names, and short names that are used in one namespace only.
#[derive(Debug)]
pub struct NameIndex<T>(HashMap<SmolStr, NameEntry<T>, foldhash::fast::RandomState>);

#[derive(Debug, Clone, Copy)]
enum NameEntry<T> {
    Unique(T),
    /// Several namespaces have the short name, so callers must write the full one.
    Ambiguous,
}

impl<T: Copy> NameIndex<T> {
    /// An index of items with their full and short names.
    pub fn new(names: impl Iterator<Item = (T, (SmolStr, SmolStr))>) -> Self {
        let names: Vec<_> = names.collect();
        let mut index = HashMap::default();
        for (item, (_, short)) in &names {
            index
                .entry(short.clone())
                .and_modify(|entry| *entry = NameEntry::Ambiguous)
                .or_insert(NameEntry::Unique(*item));
        }
        // A full name always means its own item, even if it is also the short name of another.
        index.extend(names.into_iter().map(|(item, (full, _))| (full, NameEntry::Unique(item))));
        Self(index)
    }

    /// The item with this name.
    pub fn resolve(&self, name: &str) -> Result<T, Unresolved> {
        match self.0.get(name) {
            Some(NameEntry::Unique(item)) => Ok(*item),
            Some(NameEntry::Ambiguous) => Err(Unresolved::Ambiguous),
            None => Err(Unresolved::Unknown),
        }
    }
}

/// The full name of what a namespace declares.
pub fn qualified(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}::{name}") }
}
