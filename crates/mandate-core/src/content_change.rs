//! What an edit changes about content whose parts have names, such as routes: which of them are added, removed
//! or different, and in which parts. A part is described in words, so equal descriptions are equal parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::change_kind::ChangeKind;

/// The parts of everything of one kind: by the id of each, then by the name of each part.
pub type PartsById = BTreeMap<String, BTreeMap<String, String>>;

/// What changes about one thing, such as one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentChange {
    pub id: String,
    pub kind: ChangeKind,
    /// The parts that differ, by their names.
    pub parts: Vec<PartChange>,
}

/// A part, such as `context.channel` of a route, before and after; `None` if it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    pub part: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl ContentChange {
    /// All changes between two versions, by id.
    pub fn between(before: &PartsById, after: &PartsById) -> Vec<Self> {
        let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changes = ids.into_iter().map(|id| Self::of(id, before.get(id), after.get(id)));
        changes.filter(|change| !change.parts.is_empty()).collect()
    }

    fn of(
        id: &str,
        before: Option<&BTreeMap<String, String>>,
        after: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let kind = ChangeKind::between(before.is_some(), after.is_some());
        let empty = BTreeMap::new();
        let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
        let parts = differing.map(|name| PartChange {
            part: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        });
        Self { id: id.to_owned(), kind, parts: parts.collect() }
    }

    /// The change as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let parts: Vec<_> = self.parts.iter().map(PartChange::to_json).collect();
        serde_json::json!({ "id": self.id, "change": self.kind.as_str(), "parts": parts })
    }
}

impl PartChange {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "part": self.part, "before": self.before, "after": self.after })
    }
}

impl fmt::Display for PartChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{}: {}, now {}", self.part, text(&self.before), text(&self.after))
    }
}
