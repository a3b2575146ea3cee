//! Shrinks a witness: leaves out every entity, parent, attribute and value that does not matter, so that
//! people have less to read. It does not rename entities; that is `readable`.

use super::witness::Witness;
use mandate_core::schema::{EntityUid, RecordType, Schema};
use mandate_core::value::{Record, Value};

/// One thing to leave out. If the witness no longer has it, nothing happens, so the order does not matter.
type Reduction = Box<dyn Fn(&mut Witness)>;

/// A smaller version of a value or record.
type Shrink<T> = Box<dyn Fn(&T) -> T>;

/// The smallest witness found that still `holds`. It ends because every step that is kept makes the
/// witness smaller.
pub fn shrink(mut witness: Witness, schema: &Schema, holds: &dyn Fn(&Witness) -> bool) -> Witness {
    loop {
        let before = witness.clone();
        for step in reductions(&witness, schema) {
            let mut simpler = witness.clone();
            step(&mut simpler);
            if simpler != witness && holds(&simpler) {
                witness = simpler;
            }
        }
        if witness == before {
            return witness;
        }
    }
}

/// Everything that can be left out, the largest first.
fn reductions(witness: &Witness, schema: &Schema) -> Vec<Reduction> {
    let asked = [&witness.request.principal, &witness.request.resource];
    let others = witness.entities.keys().filter(|name| !asked.contains(name));
    let mut reductions: Vec<Reduction> = others.cloned().map(without_entity).collect();
    for (name, entity) in &witness.entities {
        reductions.extend(entity.parents.iter().map(|parent| without_parent(name.clone(), parent.clone())));
        for change in shrunk_records(&entity.attributes, &schema.entity_type(name.entity_type).attributes) {
            let name = name.clone();
            reductions.push(Box::new(move |witness| {
                if let Some(entity) = witness.entities.get_mut(&name) {
                    entity.attributes = change(&entity.attributes);
                }
            }));
        }
        for (tag, _) in entity.tags.iter() {
            let (name, tag) = (name.clone(), tag.clone());
            reductions.push(Box::new(move |witness| {
                if let Some(entity) = witness.entities.get_mut(&name) {
                    entity.tags = without(&entity.tags, &tag);
                }
            }));
        }
    }
    for change in
        shrunk_records(&witness.request.context, &schema.action(witness.request.action).context_type)
    {
        reductions.push(Box::new(move |witness| witness.request.context = change(&witness.request.context)));
    }
    reductions
}

fn without_entity(name: EntityUid) -> Reduction {
    Box::new(move |witness| {
        witness.entities.remove(&name);
        witness.entities.values_mut().for_each(|entity| entity.parents.retain(|parent| *parent != name));
    })
}

fn without_parent(name: EntityUid, parent: EntityUid) -> Reduction {
    Box::new(move |witness| {
        if let Some(entity) = witness.entities.get_mut(&name) {
            entity.parents.retain(|it| *it != parent);
        }
    })
}

/// The ways to make a record smaller: without an optional attribute, without an element of a set, with an
/// empty string, with 0 for a number.
fn shrunk_records(record: &Record, ty: &RecordType) -> Vec<Shrink<Record>> {
    let mut changes: Vec<Shrink<Record>> = Vec::new();
    for (name, value) in record.iter() {
        if ty.get(name).is_some_and(|attribute| !attribute.required) {
            let name = name.clone();
            changes.push(Box::new(move |record| without(record, &name)));
        }
        for smaller in shrunk_values(value) {
            let name = name.clone();
            changes.push(Box::new(move |record| {
                let value = record.get(&name).map(&smaller);
                value.map_or_else(
                    || record.clone(),
                    |value| record.with_overrides(&Record::new([(name.clone(), value)])),
                )
            }));
        }
    }
    changes
}

fn shrunk_values(value: &Value) -> Vec<Shrink<Value>> {
    match value {
        Value::Set(items) => items.iter().cloned().map(without_element).collect(),
        Value::String(_) => vec![Box::new(|_| Value::String("".into()))],
        Value::Long(_) => vec![Box::new(|_| Value::Long(0))],
        Value::Bool(_) | Value::Entity(_) | Value::Record(_) | Value::Extension(..) => Vec::new(),
    }
}

fn without_element(element: Value) -> Shrink<Value> {
    Box::new(move |value| match value {
        Value::Set(items) => Value::Set(items.iter().filter(|item| **item != element).cloned().collect()),
        other => other.clone(),
    })
}

fn without(record: &Record, name: &str) -> Record {
    let kept = record.iter().filter(|(other, _)| *other != name);
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
