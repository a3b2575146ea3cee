//! Bounds how far a schema's common types expand: Cedar, and the tables made of its answer, write each
//! use out in full, so a type of two uses of a type of two uses … doubles with each step.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::cedar_diagnostics;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// How many types one common type may stand for.
const MAX_EXPANDED_TYPES: usize = 10_000;
/// How many common types may be made of one another in a row.
const MAX_TYPE_NESTING: usize = 48;

/// Refuses a schema whose common types expand too far. One that does not parse is not looked at.
pub fn check(source: &Arc<SourceText>) -> Result<(), Diagnostics> {
    let (fragment, _) = cedar_policy::SchemaFragment::from_cedarschema_str(&source.text)
        .map_err(|error| cedar_diagnostics::errors(&error, source))?;
    let Ok(json) = fragment.to_json_value() else { return Ok(()) };
    let mut types: HashMap<String, &Value> = HashMap::new();
    for (namespace, content) in json.as_object().into_iter().flatten() {
        for (name, ty) in content.get("commonTypes").and_then(Value::as_object).into_iter().flatten() {
            let name = if namespace.is_empty() { name.clone() } else { format!("{namespace}::{name}") };
            types.insert(name, ty);
        }
    }
    let mut sizes = Sizes { types: &types, known: HashMap::new(), in_progress: HashSet::new() };
    let mut names: Vec<&String> = types.keys().collect();
    names.sort();
    for name in names {
        if sizes.size_of_name(name) > MAX_EXPANDED_TYPES {
            let message =
                format!("the type `{name}` stands for too many types, or is made of too many in a row");
            return Err(Diagnostic::error(message).help("use an entity, or fewer types in types").into());
        }
    }
    Ok(())
}

struct Sizes<'a> {
    types: &'a HashMap<String, &'a Value>,
    known: HashMap<&'a str, usize>,
    in_progress: HashSet<&'a str>,
}

impl<'a> Sizes<'a> {
    fn size_of_name(&mut self, name: &str) -> usize {
        let Some((name, ty)) = self.types.get_key_value(name) else { return 1 };
        if let Some(size) = self.known.get(name.as_str()) {
            return *size;
        }
        // A type that is made of itself is Cedar's to refuse.
        if self.in_progress.len() >= MAX_TYPE_NESTING {
            return usize::MAX;
        }
        if !self.in_progress.insert(name) {
            return 1;
        }
        let namespace = name.rsplit_once("::").map_or("", |(namespace, _)| namespace);
        let size = self.size_of_type(ty, namespace);
        self.in_progress.remove(name.as_str());
        self.known.insert(name, size);
        size
    }

    /// The size of what stands in a type: every text may be the name of another.
    fn size_of_type(&mut self, ty: &'a Value, namespace: &str) -> usize {
        match ty {
            Value::String(name) => {
                let full = format!("{namespace}::{name}");
                let known = self.types.contains_key(&full);
                if known { self.size_of_name(&full) } else { self.size_of_name(name) }
            }
            Value::Array(items) => {
                items.iter().fold(1, |size, item| size.saturating_add(self.size_of_type(item, namespace)))
            }
            Value::Object(members) => members
                .values()
                .fold(1, |size, member| size.saturating_add(self.size_of_type(member, namespace))),
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_types(types: &str, fine: bool) {
        let source =
            SourceText::new("s.cedarschema", format!("namespace N {{ {types} entity E = {{ t: T9 }}; }}"));
        assert_eq!(check(&source).is_ok(), fine);
    }

    #[test]
    fn doubling_types_are_refused() {
        let chain = |n: usize, ty: &str| -> String {
            (1..n)
                .map(|i| format!("type T{i} = {};", ty.replace('#', &format!("T{}", i - 1))))
                .collect::<Vec<_>>()
                .join(" ")
        };
        check_types(&format!("type T0 = Long; {}", chain(10, "{ a: #, b: # }")), true);
        check_types(&format!("type T0 = Long; {}", chain(40, "{ a: #, b: # }")), false);
        check_types(&format!("type T0 = Long; {}", chain(500, "Set<#>")), false);
        check_types("type T9 = { a: Set<Long> };", true);
    }
}
