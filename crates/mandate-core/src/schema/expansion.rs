//! Limits the expansion of common types. Cedar inlines every use, so each type in
//! `type T1 = { a: T0, b: T0 }; type T2 = { a: T1, b: T1 }; …` is twice as large as the one before. The limits
//! of the text itself are in `text_limits.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::cedar_diagnostics;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceText};

/// How many types one common type may expand to.
const MAX_EXPANDED_TYPES: usize = 10_000;
/// How deep common types may nest.
const MAX_TYPE_NESTING: usize = 48;

/// Refuses a schema whose common types expand too far, or that does not parse.
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
                format!("the common type `{name}` expands to too many types, or is nested too deeply");
            return Err(Diagnostic::error(message)
                .help("use an entity type, or nest fewer common types")
                .into());
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
        // A type that contains itself is refused by Cedar.
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

    /// The number of types in a type: every text in it may be the name of another.
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
