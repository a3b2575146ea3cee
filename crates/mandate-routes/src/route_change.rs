//! What an edit changes about routes: which are added, removed or different, and in which parts. A part is
//! described in words, so equal descriptions are equal routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::extractor::{Extractor, WhenAbsent};
use crate::route::{EntityExtractors, Route};
use crate::routes::Routes;
use crate::value_source::{ClaimsSource, ValueSource};
use mandate_core::change_kind::ChangeKind;
use mandate_core::json::Json;

/// What changes about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    pub id: String,
    pub kind: ChangeKind,
    /// The parts that differ, by their names.
    pub parts: Vec<PartChange>,
}

/// A part of a route, such as `context.channel`, before and after; `None` if the route does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    pub part: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl RouteChange {
    /// All changes between two versions of the routes, by id.
    pub fn between(before: &Routes, after: &Routes) -> Vec<Self> {
        if before.digest() == after.digest() {
            return Vec::new();
        }
        let by_id = |routes: &Routes| -> BTreeMap<String, BTreeMap<String, String>> {
            routes.iter().map(|route| (route.id.clone(), parts(route))).collect()
        };
        let (before, after) = (by_id(before), by_id(after));
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

/// The parts of a route by their names, in words.
fn parts(route: &Route) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::from([
        ("method".to_owned(), route.methods.join(", ")),
        ("path".to_owned(), route.path.clone()),
        ("action".to_owned(), route.action.clone()),
    ]);
    let entities: [(&str, &EntityExtractors); 2] =
        [("principal", &route.principal), ("resource", &route.resource)];
    for (name, entity) in entities {
        parts.insert(format!("{name}.type"), describe(&entity.entity_type, route));
        parts.insert(format!("{name}.id"), describe(&entity.id, route));
    }
    for (name, extractor) in &route.context {
        parts.insert(format!("context.{name}"), describe(extractor, route));
    }
    parts
}

/// Where a value comes from and what becomes of it.
fn describe(extractor: &Extractor, route: &Route) -> String {
    let pattern = extractor
        .pattern
        .as_ref()
        .map_or_else(String::new, |pattern| format!(" as `{}{{}}{}`", pattern.before, pattern.after));
    let map = extractor.map.as_ref().map_or_else(String::new, |map| {
        let entries: Vec<String> =
            map.iter().map(|(from, to)| format!("`{from}` to {}", constant(to))).collect();
        format!(" mapped from {}", entries.join(", "))
    });
    let when_absent = match &extractor.when_absent {
        WhenAbsent::Deny => String::new(),
        WhenAbsent::Omit => ", optional".to_owned(),
        WhenAbsent::Default(value) => format!(", or {} by default", constant(value)),
    };
    source(&extractor.source, route) + &pattern + &map + &when_absent
}

fn source(source: &ValueSource, route: &Route) -> String {
    let credentials = &route.credential_sources;
    match source {
        ValueSource::Constant(value) => constant(value),
        ValueSource::Claim(_) => match &credentials.claims {
            Some(claims @ ClaimsSource::TokenHeader(_)) => format!("{source} of the token's {claims}"),
            Some(claims @ (ClaimsSource::PayloadHeader(_) | ClaimsSource::Metadata(_))) => {
                format!("{source} of the {claims}")
            }
            None => source.to_string(),
        },
        ValueSource::Certificate(_) => match &credentials.certificate_header {
            Some(header) => format!("{source} in the header `{header}`"),
            None => source.to_string(),
        },
        ValueSource::Path(_) | ValueSource::Header(_) | ValueSource::Extension(_) | ValueSource::Body(_) => {
            source.to_string()
        }
    }
}

fn constant(value: &Json<'_>) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        Json::Bool(bool) => format!("`{bool}`"),
        Json::Long(long) => format!("`{long}`"),
        Json::Array(items) => format!("[{}]", items.iter().map(constant).collect::<Vec<_>>().join(", ")),
        // Constants of a route file are none of these.
        Json::Null | Json::OtherNumber | Json::Object(_) => value.describe().to_owned(),
    }
}
