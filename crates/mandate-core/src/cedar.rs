//! What is stored and asked, as Cedar's own values.
//!
//! This builds what Cedar's evaluator reads from parts, with `cedar-policy-core`: the public crate
//! would resolve types, evaluate expressions and close the hierarchy for each request once more, at
//! several times the cost of the decision itself. Both crates are of one version.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{
    self, Context, EntityUID as CedarEntityUid, Literal, Name, PartialValue, RestrictedExpr, ValueKind,
};
use cedar_policy_core::evaluator::{EvaluationError, RestrictedEvaluator};
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::schema::{EntityUid, Extension, Schema};
use super::value::{Record, Value};

type Result<T> = std::result::Result<T, Box<EvaluationError>>;

/// A value as Cedar's.
///
/// # Errors
/// Cedar's constructor does not take the text of an extension's value.
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

/// The value that a Cedar value is; `None` for one of an extension type, whose text Cedar does not keep.
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

/// The entity that a Cedar name names; actions are none.
pub fn entity_uid(uid: &CedarEntityUid, schema: &Schema) -> Option<EntityUid> {
    let entity_type = schema.entity_type_by_full_name(&uid.entity_type().to_string())?;
    let id: &str = uid.eid().as_ref();
    Some(EntityUid { entity_type, id: id.into() })
}

/// The context of a request.
///
/// # Errors
/// As for [`value`].
pub fn context(record: &Record, schema: &Schema) -> Result<Context> {
    Ok(Context::Value(Arc::new(attribute_values(record, schema)?.into_iter().collect())))
}

/// An entity with all that it is in.
///
/// # Errors
/// As for [`value`].
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
    // To be in something directly or not makes no difference to policies.
    Ok(ast::Entity::new_with_attr_partial_value(
        uid,
        attributes,
        ancestors.into_iter().collect(),
        HashSet::new(),
        tags,
    ))
}

/// The value that an extension's constructor makes of a text.
///
/// # Errors
/// The constructor does not take the text.
pub fn extension_value(extension: Extension, text: &str) -> Result<ast::Value> {
    static CONSTRUCTORS: LazyLock<[Option<Name>; 4]> = LazyLock::new(|| {
        [Extension::Ip, Extension::Decimal, Extension::DateTime, Extension::Duration]
            .map(|extension| Name::parse_unqualified_name(extension.constructor()).ok())
    });
    let name = CONSTRUCTORS.get(extension as usize).cloned().flatten();
    let text = RestrictedExpr::val(text);
    let call = match name {
        Some(name) => RestrictedExpr::call_extension_fn(name, [text]),
        None => text,
    };
    RestrictedEvaluator::new(Extensions::all_available()).interpret(call.as_borrowed()).map_err(Box::new)
}
