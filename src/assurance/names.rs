//! Entities as people write them: `Customer::contoso`, `Autopilot::Customer::"contoso"`.

use crate::authz::json::quoted;
use crate::authz::schema::{EntityRef, Schema, Unresolved};

/// The type and the id of a written entity.
///
/// # Errors
/// The text has no `::`, or its quotes do not close.
pub fn split(text: &str) -> Result<(&str, &str), String> {
    let malformed = || format!("{} is no entity: write `Type::id` or `Type::\"id\"`", quoted(text));
    if let Some((kind, rest)) = text.split_once("::\"") {
        let id = rest.strip_suffix('"').ok_or_else(malformed)?;
        return Ok((kind, id));
    }
    // A namespace is part of the type; without quotes, an id cannot hold `::`.
    let (kind, id) = text.rsplit_once("::").ok_or_else(malformed)?;
    if kind.is_empty() { Err(malformed()) } else { Ok((kind, id)) }
}

/// The entity that a text names.
///
/// # Errors
/// The text is malformed, or the schema has no such type.
pub fn entity(text: &str, schema: &Schema) -> Result<EntityRef, String> {
    let (kind, id) = split(text)?;
    match schema.kind_named(kind) {
        Ok(kind) => Ok(EntityRef { kind, id: id.into() }),
        Err(Unresolved::Unknown) => Err(format!("the schema has no entity type {}", quoted(kind))),
        Err(Unresolved::Ambiguous) => Err(format!("{} stands in several namespaces", quoted(kind))),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[track_caller]
    fn check(text: &str, kind: &str, id: &str) {
        assert_eq!(split(text), Ok((kind, id)));
    }

    #[test]
    fn namespaces_and_quotes() {
        check("Customer::contoso", "Customer", "contoso");
        check("Autopilot::Customer::contoso", "Autopilot::Customer", "contoso");
        check("Autopilot::Customer::\"a::b\"", "Autopilot::Customer", "a::b");
        check("TenantUser::admin@contoso", "TenantUser", "admin@contoso");
        check("Customer::", "Customer", "");
    }

    #[test]
    fn what_is_no_entity() {
        for text in ["contoso", "::contoso", "Customer::\"contoso", ""] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
