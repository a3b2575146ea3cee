//! What an edit changes about routes: which are added, removed or different, and in which parts. A part is
//! described in words, so equal descriptions are equal routes.

use std::collections::BTreeMap;

use crate::extractor::{Extractor, WhenAbsent};
use crate::route::{EntityExtractors, Route};
use crate::routes::Routes;
use crate::value_source::{ClaimsSource, ValueSource};
use mandate_core::content_change::{ContentChange, PartsById};
use mandate_core::json::Json;

impl Routes {
    /// What changed since another version of the routes, by id.
    pub fn changes_since(&self, before: &Self) -> Vec<ContentChange> {
        if before.digest() == self.digest() {
            return Vec::new();
        }
        let by_id = |routes: &Self| -> PartsById {
            routes.iter().map(|route| (route.id.clone(), parts(route))).collect()
        };
        ContentChange::between(&by_id(before), &by_id(self))
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
