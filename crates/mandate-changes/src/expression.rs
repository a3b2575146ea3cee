//! An expression of a change: a variable, a path of attributes from one, or a literal. It is written as in Cedar,
//! and Cedar's parser reads it. Its type is found in `check`, its value in `working_entities`.

use std::fmt;

use cedar_policy_core::ast::{Expr, ExprKind, Literal, Var};
use smol_str::SmolStr;

use mandate_core::diagnostics::{SourceSpan, SourceText};
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::{EntityUid, Schema, Unresolved};
use mandate_core::text_limits;
use mandate_core::value::Value;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 1_024;

/// An expression, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// As written in the file.
    pub text: String,
    pub span: SourceSpan,
    pub kind: ExpressionKind,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum ExpressionKind {
    Literal(Value),
    Path(Root, Vec<SmolStr>),
}

/// The variable that a path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Principal,
    Resource,
    Context,
}

/// Why a text is no expression of a change. Names are quoted already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpressionError {
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("{0} is not a value: a text needs quotes of its own, as in '\"text\"'")]
    NotAnExpression(String),
    #[error(
        "{0} is more than a value: write `principal`, `resource`, `context`, a path from one of them such as \
         `resource.customer`, or a literal"
    )]
    NotAPath(String),
    #[error("a change knows no `action`: write `principal`, `resource` or `context`")]
    Action,
    #[error("the schema has no entity type {0}")]
    UnknownType(String),
    #[error("{0} is in several namespaces: write it with its namespace")]
    AmbiguousType(String),
    #[error("{id} is not a valid `{entity_type}`: expected one of {expected}")]
    NoSuchId { id: String, entity_type: SmolStr, expected: String },
}

impl ExpressionKind {
    /// Reads an expression.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, ExpressionError> {
        if text.len() > MAX_BYTES {
            return Err(ExpressionError::TooLong);
        }
        let not_an_expression = || ExpressionError::NotAnExpression(quoted(text));
        // Cedar's parser recurses.
        if text_limits::check_policies(&SourceText::new("", text)).has_errors() {
            return Err(not_an_expression());
        }
        let parsed: Expr = text.parse().map_err(|_| not_an_expression())?;
        Self::of(&parsed, text, schema)
    }

    fn of(parsed: &Expr, text: &str, schema: &Schema) -> Result<Self, ExpressionError> {
        let value = match parsed.expr_kind() {
            ExprKind::Lit(Literal::Bool(bool)) => Value::Bool(*bool),
            ExprKind::Lit(Literal::Long(long)) => Value::Long(*long),
            ExprKind::Lit(Literal::String(text)) => Value::String(text.clone()),
            ExprKind::Lit(Literal::EntityUID(uid)) => {
                let id: &str = uid.eid().as_ref();
                Value::Entity(entity(&uid.entity_type().to_string(), id, schema)?)
            }
            ExprKind::Var(Var::Principal) => return Ok(Self::Path(Root::Principal, Vec::new())),
            ExprKind::Var(Var::Resource) => return Ok(Self::Path(Root::Resource, Vec::new())),
            ExprKind::Var(Var::Context) => return Ok(Self::Path(Root::Context, Vec::new())),
            ExprKind::Var(Var::Action) => return Err(ExpressionError::Action),
            ExprKind::GetAttr { expr, attr } => match Self::of(expr, text, schema)? {
                Self::Path(root, mut attributes) => {
                    attributes.push(attr.clone());
                    return Ok(Self::Path(root, attributes));
                }
                Self::Literal(_) => return Err(ExpressionError::NotAPath(quoted(text))),
            },
            ExprKind::Slot(_)
            | ExprKind::Unknown(_)
            | ExprKind::If { .. }
            | ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp { .. }
            | ExprKind::BinaryApp { .. }
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::HasAttr { .. }
            | ExprKind::ExtHasAttr { .. }
            | ExprKind::Like { .. }
            | ExprKind::Is { .. }
            | ExprKind::Set(_)
            | ExprKind::Record(_) => return Err(ExpressionError::NotAPath(quoted(text))),
        };
        Ok(Self::Literal(value))
    }
}

/// The entity that a literal names. It need not exist, unless its type is enumerated.
fn entity(entity_type: &str, id: &str, schema: &Schema) -> Result<EntityUid, ExpressionError> {
    let entity_type = schema.resolve_entity_type(entity_type).map_err(|why| match why {
        Unresolved::Unknown => ExpressionError::UnknownType(quoted(entity_type)),
        Unresolved::Ambiguous => ExpressionError::AmbiguousType(quoted(entity_type)),
    })?;
    let definition = schema.entity_type(entity_type);
    match &definition.enum_ids {
        Some(ids) if !ids.iter().any(|known| known == id) => Err(ExpressionError::NoSuchId {
            id: quoted(id),
            entity_type: definition.name.clone(),
            expected: quoted_list(ids),
        }),
        Some(_) | None => Ok(EntityUid { entity_type, id: id.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let text = "namespace N { entity Role enum [\"a\"]; entity User; entity Role2; } namespace M { entity User; }";
        Schema::parse(&SourceText::new("s.cedarschema", text)).unwrap().0
    }

    #[test]
    fn variables_paths_and_literals() {
        let schema = schema();
        let role = Value::Entity(EntityUid {
            entity_type: schema.resolve_entity_type("Role").unwrap(),
            id: "a".into(),
        });
        for (text, expected) in [
            ("true", Value::Bool(true)),
            ("-5", Value::Long(-5)),
            (r#""a \"b\"""#, Value::String("a \"b\"".into())),
            (r#"Role::"a""#, role.clone()),
            (r#"N::Role::"a""#, role),
        ] {
            let parsed = ExpressionKind::parse(text, &schema);
            assert!(
                matches!(&parsed, Ok(ExpressionKind::Literal(value)) if *value == expected),
                "{text}: {parsed:?}"
            );
        }
        for (text, root, attributes) in [
            ("principal", Root::Principal, &[] as &[&str]),
            ("resource.customer", Root::Resource, &["customer"]),
            (r#"context.a["b c"]"#, Root::Context, &["a", "b c"]),
        ] {
            let parsed = ExpressionKind::parse(text, &schema);
            let same = matches!(&parsed, Ok(ExpressionKind::Path(found, path)) if *found == root && path == attributes);
            assert!(same, "{text}: {parsed:?}");
        }
    }

    #[test]
    fn texts_that_are_no_expressions_of_a_change() {
        let deep = "(".repeat(500);
        let long = "a".repeat(2_000);
        for (text, message) in [
            ("contoso", "`contoso` is not a value"),
            ("", "`` is not a value"),
            (deep.as_str(), "is not a value"),
            (long.as_str(), "longer than 1024 bytes"),
            ("action", "a change knows no `action`"),
            ("resource.a + 1", "`resource.a + 1` is more than a value"),
            ("[principal]", "`[principal]` is more than a value"),
            (r#"ip("::1")"#, "is more than a value"),
            (r#"User::"a""#, "`User` is in several namespaces"),
            (r#"Group::"a""#, "the schema has no entity type `Group`"),
            (r#"Role::"b""#, "`b` is not a valid `N::Role`: expected one of `a`"),
        ] {
            let error = ExpressionKind::parse(text, &schema()).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
