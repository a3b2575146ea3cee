//! Applies one modification to the value of an attribute, inside a record. Which record of which entity is
//! chosen in `hypothesis`; memberships are changed there as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::repair::{Modification, RepairLocation};
use mandate_core::schema::{Attribute, EntityUid, Extension, RecordType, Schema, Type};
use mandate_core::value::{Record, Value};

/// A modification that no value of the type can satisfy, or that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the modification is impossible or changes nothing")]
pub struct ImpossibleRepair;

/// From the type of a location and its value to its new value; `None` stands for no value.
type Edit<'e> = &'e dyn Fn(&Type, Option<&Value>) -> Result<Option<Value>, ImpossibleRepair>;

/// The record with the value at `path` edited.
pub fn edit_record(
    record: &Record,
    path: &[SmolStr],
    ty: &RecordType,
    edit: Edit<'_>,
) -> Result<Record, ImpossibleRepair> {
    let (name, rest) = path.split_first().ok_or(ImpossibleRepair)?;
    let attribute = ty.get(name).ok_or(ImpossibleRepair)?;
    let value = match (rest, record.get(name), &attribute.ty) {
        ([], before, ty) => edit(ty, before)?,
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

/// The value at the location after the modification; `None` if it is removed. If several values would do,
/// `example_index` chooses one.
pub fn modified_value(
    (location, modification): (&RepairLocation, &Modification),
    example_index: usize,
    ty: &Type,
    before: Option<&Value>,
    schema: &Schema,
) -> Result<Option<Value>, ImpossibleRepair> {
    match modification {
        Modification::SetTo(value) => Ok(Some(value.clone())),
        Modification::Unset => Ok(None),
        Modification::SetToAnyExcept(not) => {
            example_except(ty, not, example_index, schema).map(Some).ok_or(ImpossibleRepair)
        }
        Modification::Add => edit_set(location, before, |items, element| items.insert(element.clone())),
        Modification::Remove => edit_set(location, before, BTreeSet::remove),
    }
}

/// The set after `edit`, which returns whether it changed anything.
fn edit_set(
    location: &RepairLocation,
    before: Option<&Value>,
    edit: impl FnOnce(&mut BTreeSet<Value>, &Value) -> bool,
) -> Result<Option<Value>, ImpossibleRepair> {
    let element = match location {
        RepairLocation::Element(_, element) => element,
        RepairLocation::Membership(..) | RepairLocation::Value(_) => return Err(ImpossibleRepair),
    };
    let mut items: BTreeSet<Value> = match before {
        Some(Value::Set(items)) => items.iter().cloned().collect(),
        None => BTreeSet::new(),
        Some(_) => return Err(ImpossibleRepair),
    };
    let changed = edit(&mut items, element);
    changed.then(|| Some(Value::Set(items.into_iter().collect::<Arc<[Value]>>()))).ok_or(ImpossibleRepair)
}

/// A value of the type that is not in `not`: the one at `example_index`, or the last one if there are fewer.
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
            // An attribute may name an entity that does not exist, which grants nothing.
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

#[cfg(test)]
mod tests {
    use super::super::repair::{AttributeOwner, AttributePath, Modification, RepairLocation};
    use super::{ImpossibleRepair, edit_record, modified_value};
    use mandate_core::diagnostics::SourceText;
    use mandate_core::schema::Schema;
    use mandate_core::value::{Record, Value};

    fn schema() -> Schema {
        let text = "entity User; entity Role enum [\"admin\", \"guest\"];
            action see appliesTo { principal: User, resource: User, context: {
              n: Long, words: Set<String>, home: { floor?: Long }, role?: Role,
            } };";
        Schema::parse(&SourceText::new("s.cedarschema", text)).unwrap().0
    }

    fn context() -> Record {
        let words = Value::Set([Value::String("a".into())].into());
        let home = Value::Record(Record::new([("floor".into(), Value::Long(1))]));
        Record::new([("n".into(), Value::Long(0)), ("words".into(), words), ("home".into(), home)])
    }

    /// The context after a modification of the value at a path, or of one element of it.
    fn modified(
        path: &[&str],
        element: Option<Value>,
        modification: &Modification,
        example_index: usize,
    ) -> Result<Record, ImpossibleRepair> {
        let schema = schema();
        let action = schema.action(schema.resolve_action("see").unwrap());
        let path = path.iter().map(|name| (*name).into()).collect();
        let path = AttributePath { owner: AttributeOwner::Context, path };
        let location = match element {
            Some(element) => RepairLocation::Element(path.clone(), element),
            None => RepairLocation::Value(path.clone()),
        };
        edit_record(&context(), &path.path, &action.context_type, &|ty, before| {
            modified_value((&location, modification), example_index, ty, before, &schema)
        })
    }

    #[test]
    fn values_inside_records_are_set_and_removed() {
        let floor = |record: &Record| match record.get("home") {
            Some(Value::Record(home)) => home.get("floor").cloned(),
            _ => None,
        };
        let set = modified(&["home", "floor"], None, &Modification::SetTo(Value::Long(3)), 0).unwrap();
        assert_eq!(floor(&set), Some(Value::Long(3)));
        assert_eq!(floor(&modified(&["home", "floor"], None, &Modification::Unset, 0).unwrap()), None);
        assert_eq!(modified(&["n"], None, &Modification::Unset, 0), Err(ImpossibleRepair), "required");
        assert_eq!(modified(&["nowhere"], None, &Modification::Unset, 0), Err(ImpossibleRepair));
    }

    #[test]
    fn elements_are_added_and_removed_if_that_changes_something() {
        let word = |text: &str| Some(Value::String(text.into()));
        let words = |modification, text| modified(&["words"], word(text), modification, 0);
        let set = |texts: &[&str]| {
            let items: Vec<Value> = texts.iter().map(|text| Value::String((*text).into())).collect();
            Value::Set(items.into())
        };
        assert_eq!(words(&Modification::Add, "b").unwrap().get("words"), Some(&set(&["a", "b"])));
        assert_eq!(words(&Modification::Remove, "a").unwrap().get("words"), Some(&set(&[])));
        assert_eq!(words(&Modification::Add, "a"), Err(ImpossibleRepair));
        assert_eq!(words(&Modification::Remove, "b"), Err(ImpossibleRepair));
    }

    #[test]
    fn open_values_have_several_examples() {
        let except = |numbers: &[i64]| {
            Modification::SetToAnyExcept(numbers.iter().copied().map(Value::Long).collect())
        };
        let number = |example_index| {
            modified(&["n"], None, &except(&[0, 1]), example_index).unwrap().get("n").cloned()
        };
        assert_eq!((number(0), number(1)), (Some(Value::Long(2)), Some(Value::Long(3))));
        let role = modified(&["role"], None, &except(&[]), 5).unwrap();
        assert!(matches!(role.get("role"), Some(Value::Entity(role)) if role.id == "guest"), "{role:?}");
    }
}
