//! Edits of values: what stands in a record if a fact holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::repair::{Modification, RepairLocation};
use mandate_core::schema::{Attribute, EntityUid, Extension, RecordType, Schema, Type};
use mandate_core::value::{Record, Value};

/// A fact that no value of the type can make true, or that is true already.
pub struct ImpossibleRepair;

/// What stands at a place, before and after an edit.
type Edit<'e> = &'e dyn Fn(&Type, Option<&Value>) -> Result<Option<Value>, ImpossibleRepair>;

/// A record with an edit of what stands at a path.
pub fn edit_record(
    record: &Record,
    path: &[SmolStr],
    ty: &RecordType,
    edit: Edit<'_>,
) -> Result<Record, ImpossibleRepair> {
    let (name, rest) = path.split_first().ok_or(ImpossibleRepair)?;
    let attribute = ty.get(name).ok_or(ImpossibleRepair)?;
    let value = match (rest, record.get(name), &attribute.ty) {
        ([], there, ty) => edit(ty, there)?,
        (rest, Some(Value::Record(inner)), Type::Record(ty)) => {
            Some(Value::Record(edit_record(inner, rest, ty, edit)?))
        }
        _ => return Err(ImpossibleRepair),
    };
    if value.is_none() && attribute.required {
        return Err(ImpossibleRepair);
    }
    let others = record.iter().filter(|(other, _)| *other != name);
    let others = others.map(|(name, value)| (name.clone(), value.clone()));
    Ok(Record::new(others.chain(value.map(|value| (name.clone(), value)))))
}

/// What stands at a place after a change, if anything does. Of values that will do, it is the one of
/// the number.
pub fn modified_value(
    (location, modification): (&RepairLocation, &Modification),
    example_index: usize,
    ty: &Type,
    there: Option<&Value>,
    schema: &Schema,
) -> Result<Option<Value>, ImpossibleRepair> {
    match (location, modification) {
        (_, Modification::SetTo(value)) => Ok(Some(value.clone())),
        (_, Modification::Unset) => Ok(None),
        (_, Modification::SetToAnyExcept(not)) => {
            example_except(ty, not, example_index, schema).map(Some).ok_or(ImpossibleRepair)
        }
        (RepairLocation::Element(_, element), Modification::Add | Modification::Remove) => {
            let comes = *modification == Modification::Add;
            let mut items: BTreeSet<Value> = match there {
                Some(Value::Set(items)) => items.iter().cloned().collect(),
                None => BTreeSet::new(),
                Some(_) => return Err(ImpossibleRepair),
            };
            let changes = if comes { items.insert(element.clone()) } else { items.remove(element) };
            changes
                .then(|| Some(Value::Set(items.into_iter().collect::<Arc<[Value]>>())))
                .ok_or(ImpossibleRepair)
        }
        _ => Err(ImpossibleRepair),
    }
}

/// Some value of a type that is none of these, by its number among them; of few, the last.
fn example_except(ty: &Type, not: &BTreeSet<Value>, example_index: usize, schema: &Schema) -> Option<Value> {
    let all = (0..=not.len() + example_index).filter_map(|n| nth_example(ty, n, schema));
    all.filter(|value| !not.contains(value)).take(example_index + 1).last()
}

fn nth_example(ty: &Type, n: usize, schema: &Schema) -> Option<Value> {
    match ty {
        Type::Bool => Some(Value::Bool(n == 1)),
        Type::Long => i64::try_from(n).ok().map(Value::Long),
        Type::String => Some(Value::String(format_smolstr!("value-{n}"))),
        Type::Entity(entity_type) => {
            // An attribute may name an entity that is not there: it grants nothing.
            let made_up = || Some(format_smolstr!("value-{n}"));
            let enumerated = schema.entity_type(*entity_type).enum_ids.as_ref();
            let id = enumerated.map_or_else(made_up, |ids| ids.get(n).cloned())?;
            Some(Value::Entity(EntityUid { entity_type: *entity_type, id }))
        }
        Type::Set(_) => (n == 0).then(|| Value::Set(Arc::default())),
        Type::Record(record) => {
            let required = record.iter().filter(|(_, attribute)| attribute.required);
            let member = |(name, attribute): (&SmolStr, &Attribute)| {
                let value = nth_example(&attribute.ty, n, schema);
                Some((name.clone(), value.or_else(|| nth_example(&attribute.ty, 0, schema))?))
            };
            required.map(member).collect::<Option<_>>().map(Value::Record)
        }
        Type::Extension(extension) => {
            let text = match extension {
                Extension::Ip => "0.0.0.0",
                Extension::Decimal => "0.0",
                Extension::DateTime => "1970-01-01",
                Extension::Duration => "0ms",
            };
            (n == 0).then(|| Value::Extension(*extension, text.into()))
        }
    }
}
