//! Conversion between our uids, values and entities and Cedar's own. It evaluates nothing; that is
//! `decide.rs`.
//!
//! It uses `cedar-policy-core`: the public crate would resolve types, evaluate expressions and close the
//! hierarchy for each request once more, at several times the cost of the decision itself. Both crates are of
//! one version.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy_core::ast::{
    self, Context, EntityType, EntityUID as CedarEntityUid, Literal, PartialValue, ValueKind,
};
use cedar_policy_core::evaluator::EvaluationError;
use smol_str::SmolStr;

use super::extension::extension_value;
use super::schema::{EntityTypeId, EntityUid, Schema};
use super::value::{Record, Value};

type Result<T> = std::result::Result<T, Box<EvaluationError>>;

/// Converts a value to Cedar's.
///
/// # Errors
/// Cedar's constructor refuses the text of an extension value.
pub fn to_cedar_value(value: &Value, schema: &Schema) -> Result<ast::Value> {
    Ok(match value {
        Value::Bool(bool) => literal(Literal::Bool(*bool)),
        Value::Long(long) => literal(Literal::Long(*long)),
        Value::String(text) => literal(Literal::String(text.clone())),
        Value::Entity(entity) => literal(Literal::EntityUID(Arc::new(schema.cedar_uid(entity.as_uid_ref())))),
        Value::Set(items) => {
            let items = items.iter().map(|item| to_cedar_value(item, schema));
            ast::Value::set(items.collect::<Result<Vec<_>>>()?, None)
        }
        Value::Record(record) => ast::Value::record(attribute_values(record, schema)?, None),
        Value::Extension(extension, text) => extension_value(*extension, text)?,
    })
}

fn literal(literal: Literal) -> ast::Value {
    ast::Value { value: ValueKind::Lit(literal), loc: None }
}

fn attribute_values(record: &Record, schema: &Schema) -> Result<Vec<(SmolStr, ast::Value)>> {
    record.iter().map(|(name, value)| Ok((name.clone(), to_cedar_value(value, schema)?))).collect()
}

/// Converts a Cedar value to ours. `None` for extension values: Cedar does not keep their source text.
pub fn from_cedar_value(value: &ast::Value, schema: &Schema) -> Option<Value> {
    Some(match &value.value {
        ValueKind::Lit(Literal::Bool(bool)) => Value::Bool(*bool),
        ValueKind::Lit(Literal::Long(long)) => Value::Long(*long),
        ValueKind::Lit(Literal::String(text)) => Value::String(text.clone()),
        ValueKind::Lit(Literal::EntityUID(uid)) => Value::Entity(entity_uid(uid, schema)?),
        ValueKind::Set(items) => {
            let mut items =
                items.iter().map(|item| from_cedar_value(item, schema)).collect::<Option<Vec<_>>>()?;
            items.sort();
            Value::Set(items.into())
        }
        ValueKind::Record(record) => {
            let members =
                record.iter().map(|(name, value)| Some((name.clone(), from_cedar_value(value, schema)?)));
            Value::Record(Record::new(members.collect::<Option<Vec<_>>>()?))
        }
        ValueKind::ExtensionValue(_) => return None,
    })
}

/// Converts a Cedar uid to ours. `None` for actions and unknown types. A `cedar_policy::EntityUid` comes as
/// its `as_ref()`.
pub fn entity_uid(uid: &CedarEntityUid, schema: &Schema) -> Option<EntityUid> {
    let id: &str = uid.eid().as_ref();
    Some(EntityUid { entity_type: entity_type(uid.entity_type(), schema)?, id: id.into() })
}

/// Converts a Cedar entity type to ours. `None` for types of actions and unknown types.
pub fn entity_type(entity_type: &EntityType, schema: &Schema) -> Option<EntityTypeId> {
    schema.entity_type_by_full_name(&entity_type.to_string())
}

/// The context of a request.
///
/// # Errors
/// As for [`to_cedar_value`].
pub fn context(record: &Record, schema: &Schema) -> Result<Context> {
    Ok(Context::Value(Arc::new(attribute_values(record, schema)?.into_iter().collect())))
}

/// An entity with all its ancestors.
///
/// # Errors
/// As for [`to_cedar_value`].
pub fn entity(
    uid: CedarEntityUid,
    attributes: &Record,
    tags: &Record,
    ancestors: impl IntoIterator<Item = CedarEntityUid>,
    schema: &Schema,
) -> Result<ast::Entity> {
    let values = |record| -> Result<Vec<(SmolStr, PartialValue)>> {
        Ok(attribute_values(record, schema)?.into_iter().map(|(name, value)| (name, value.into())).collect())
    };
    let (attributes, tags) = (values(attributes)?, values(tags)?);
    // Policies cannot tell direct parents from other ancestors.
    Ok(ast::Entity::new_with_attr_partial_value(
        uid,
        attributes,
        ancestors.into_iter().collect(),
        HashSet::new(),
        tags,
    ))
}
