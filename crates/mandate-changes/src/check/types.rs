//! The types of expressions, and types in words.

use crate::expression::{Expression, ExpressionKind, Root};
use mandate_core::display;
use mandate_core::json::quoted;
use mandate_core::policies::EnvironmentKey;
use mandate_core::schema::{Extension, RecordType, Schema, Type};
use mandate_core::value::Value;

/// The type of an expression in an environment.
///
/// # Errors
/// The path leads to nothing that the schema knows; the words say where.
pub(super) fn type_of(
    expression: &Expression,
    (action, principal, resource): EnvironmentKey,
    schema: &Schema,
) -> Result<Type, String> {
    let (root, attributes) = match &expression.kind {
        ExpressionKind::Literal(value) => return Ok(literal_type(value)),
        ExpressionKind::Path(root, attributes) => (root, attributes),
    };
    let mut ty = match root {
        Root::Principal => Type::Entity(principal),
        Root::Resource => Type::Entity(resource),
        Root::Context => Type::Record(schema.action(action).context_type.clone()),
    };
    for (n, name) in attributes.iter().enumerate() {
        let record = match &ty {
            Type::Entity(entity_type) => &schema.entity_type(*entity_type).attributes,
            Type::Record(record) => record,
            Type::Bool | Type::Long | Type::String | Type::Set(_) | Type::Extension(_) => {
                return Err(format!("{expression}: {} has no attributes", type_name(&ty, schema)));
            }
        };
        let Some(attribute) = record.get(name) else {
            let of = match (root, n, &ty) {
                (Root::Context, 0, _) => format!("the context of `{}`", display::action(action, schema)),
                (_, _, Type::Record(_)) => "the record".to_owned(),
                (_, _, ty) => type_name(ty, schema),
            };
            return Err(format!("{expression}: {of} has no attribute {}", quoted(name)));
        };
        ty = attribute.ty.clone();
    }
    Ok(ty)
}

fn literal_type(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Long(_) => Type::Long,
        Value::String(_) => Type::String,
        Value::Entity(uid) => Type::Entity(uid.entity_type),
        // Literals are none of these.
        Value::Set(_) | Value::Record(_) => Type::Record(RecordType::default()),
        Value::Extension(extension, _) => Type::Extension(*extension),
    }
}

/// Whether both types have the same values.
pub(super) fn same_type(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Record(one), Type::Record(other)) => {
            one.iter().count() == other.iter().count()
                && one.iter().all(|(name, attribute)| {
                    other.get(name).is_some_and(|it| {
                        it.required == attribute.required && same_type(&it.ty, &attribute.ty)
                    })
                })
        }
        (Type::Set(one), Type::Set(other)) => same_type(one, other),
        (one, other) => one == other,
    }
}

/// The type, as a schema writes it, in backticks.
pub(super) fn type_name(ty: &Type, schema: &Schema) -> String {
    format!("`{}`", written(ty, schema))
}

fn written(ty: &Type, schema: &Schema) -> String {
    match ty {
        Type::Bool => "Bool".to_owned(),
        Type::Long => "Long".to_owned(),
        Type::String => "String".to_owned(),
        Type::Entity(entity_type) => display::entity_type(*entity_type, schema).to_owned(),
        Type::Set(element) => format!("Set<{}>", written(element, schema)),
        Type::Record(record) => {
            let members = record.iter().map(|(name, attribute)| {
                let mark = if attribute.required { "" } else { "?" };
                format!("{name}{mark}: {}", written(&attribute.ty, schema))
            });
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Type::Extension(Extension::Ip) => "ipaddr".to_owned(),
        Type::Extension(extension @ (Extension::Decimal | Extension::DateTime | Extension::Duration)) => {
            extension.constructor().to_owned()
        }
    }
}
