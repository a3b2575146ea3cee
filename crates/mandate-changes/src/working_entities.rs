//! The entities while a change is computed: those of the snapshot, with the edits so far over them.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::change_error::ChangeError;
use crate::edit::{AttributeSource, EditKind, NewId};
use crate::expression::{Expression, ExpressionKind, Root};
use crate::value_source::ValueSource;
use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::{Entity, EntityChanges, EntityData, EntityUpsert, Origin};
use mandate_core::request::{Request, RequestLimits};
use mandate_core::schema::EntityUid;
use mandate_core::value::{Record, Value};

/// What a change does to entities.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// Empty if the entities are already as the change makes them.
    pub changes: EntityChanges,
    /// The new entities, in the order in which they are written.
    pub created: Vec<EntityUid>,
}

pub(crate) struct WorkingEntities<'a> {
    request: &'a Request,
    snapshot: &'a Snapshot,
    /// The entities that were edited; `None` if deleted.
    edited: BTreeMap<EntityUid, Option<EntityData>>,
    created: Vec<EntityUid>,
}

impl<'a> WorkingEntities<'a> {
    pub fn new(request: &'a Request, snapshot: &'a Snapshot) -> Self {
        Self { request, snapshot, edited: BTreeMap::new(), created: Vec::new() }
    }

    /// Makes one edit.
    pub fn edit(&mut self, edit: &EditKind, make_id: &mut dyn FnMut() -> String) -> Result<(), ChangeError> {
        match edit {
            EditKind::Create { entity_type, id, attributes, parents } => {
                let uid = EntityUid { entity_type: *entity_type, id: self.new_id(id, make_id)? };
                self.create(uid, attributes, parents)
            }
            EditKind::Set { entity, attributes } => {
                let mut data = self.existing(entity)?;
                data.attributes = data.attributes.with_overrides(&self.attributes(attributes)?);
                self.put(data);
                Ok(())
            }
            EditKind::Remove { entity, attributes } => {
                let mut data = self.existing(entity)?;
                let is_removed = |name: &SmolStr| attributes.iter().any(|(removed, _)| removed == name);
                let kept = data.attributes.iter().filter(|(name, _)| !is_removed(name));
                data.attributes = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.put(data);
                Ok(())
            }
            EditKind::Join { entity, parents } => {
                let mut data = self.existing(entity)?;
                data.parents.extend(self.parents(parents)?);
                self.put(data);
                Ok(())
            }
            EditKind::Leave { entity, parents } => {
                let mut data = self.existing(entity)?;
                let left = self.parents(parents)?;
                data.parents.retain(|parent| !left.contains(parent));
                self.put(data);
                Ok(())
            }
            EditKind::Delete { entity } => {
                let uid = self.existing(entity)?.uid;
                self.edited.insert(uid, None);
                Ok(())
            }
        }
    }

    /// What became of the entities. Entities that are as before are not part of it.
    pub fn into_edits(self) -> Edits {
        let schema = self.snapshot.schema();
        let mut changes = EntityChanges::default();
        for (uid, data) in &self.edited {
            let stored = self.snapshot.entities().get(uid.as_uid_ref()).map(|stored| &stored.entity);
            match data {
                Some(data) => {
                    let origin = stored.map_or(Origin::STORE, Entity::origin);
                    let entity = Entity::pack(data, origin, schema);
                    if !stored.is_some_and(|stored| stored.same_content(&entity)) {
                        changes.upserts.push(EntityUpsert { entity, span: None });
                    }
                }
                None if stored.is_some() => changes.removals.push(uid.clone()),
                None => {}
            }
        }
        let is_there = |uid: &EntityUid| self.edited.get(uid).is_some_and(Option::is_some);
        Edits { changes, created: self.created.into_iter().filter(is_there).collect() }
    }

    fn new_id(&self, id: &NewId, make_id: &mut dyn FnMut() -> String) -> Result<SmolStr, ChangeError> {
        let NewId::Value(source) = id else { return Ok(make_id().into()) };
        let longest = RequestLimits::DEFAULT_MAX_ID_BYTES;
        let unusable = |problem: String| ChangeError::UnusableId { path: source_text(source), problem };
        match self.value(source)? {
            Some(Value::String(id)) if id.is_empty() => Err(unusable("empty".to_owned())),
            Some(Value::String(id)) if id.len() > longest => {
                Err(unusable(format!("longer than {longest} bytes")))
            }
            Some(Value::String(id)) => Ok(id),
            Some(_) => Err(other_schema(source)),
            None => Ok(make_id().into()),
        }
    }

    fn create(
        &mut self,
        uid: EntityUid,
        attributes: &[AttributeSource],
        parents: &[ValueSource],
    ) -> Result<(), ChangeError> {
        if self.entity(&uid).is_some() {
            let name = display::uid(uid.as_uid_ref(), self.snapshot.schema());
            return Err(ChangeError::ExistsAlready { entity: uid, name });
        }
        let (attributes, parents) = (self.attributes(attributes)?, self.parents(parents)?);
        if !self.created.contains(&uid) {
            self.created.push(uid.clone());
        }
        self.put(EntityData { uid, attributes, tags: Record::default(), parents });
        Ok(())
    }

    fn put(&mut self, mut data: EntityData) {
        data.parents.sort();
        data.parents.dedup();
        self.edited.insert(data.uid.clone(), Some(data));
    }

    fn attributes(&self, attributes: &[AttributeSource]) -> Result<Record, ChangeError> {
        let mut values = Vec::with_capacity(attributes.len());
        for (name, _, source) in attributes {
            values.extend(self.value(source)?.map(|value| (name.clone(), value)));
        }
        Ok(Record::new(values))
    }

    fn parents(&self, sources: &[ValueSource]) -> Result<Vec<EntityUid>, ChangeError> {
        let mut parents = Vec::with_capacity(sources.len());
        for source in sources {
            match self.value(source)? {
                Some(Value::Entity(parent)) => parents.push(parent),
                Some(_) => return Err(other_schema(source)),
                None => {}
            }
        }
        Ok(parents)
    }

    /// The entity that an edit is of.
    fn existing(&self, expression: &Expression) -> Result<EntityData, ChangeError> {
        match self.expression(expression)? {
            Some(Value::Entity(uid)) => self.entity(&uid).ok_or_else(|| self.no_such_entity(uid, expression)),
            Some(_) => Err(ChangeError::OtherSchema { path: expression.to_string() }),
            None => Err(ChangeError::MissingValue { path: expression.to_string() }),
        }
    }

    /// The value of a source; `None` if it is optional and not there.
    fn value(&self, source: &ValueSource) -> Result<Option<Value>, ChangeError> {
        for expression in &source.alternatives {
            if let Some(value) = self.expression(expression)? {
                return Ok(Some(value));
            }
        }
        if source.optional { Ok(None) } else { Err(ChangeError::MissingValue { path: source_text(source) }) }
    }

    /// The value of an expression; `None` if an attribute on the way is not there.
    fn expression(&self, expression: &Expression) -> Result<Option<Value>, ChangeError> {
        let (root, attributes) = match &expression.kind {
            ExpressionKind::Literal(value) => return Ok(Some(value.clone())),
            ExpressionKind::Path(root, attributes) => (root, attributes),
        };
        let mut value = match root {
            Root::Principal => Value::Entity(self.request.principal.clone()),
            Root::Resource => Value::Entity(self.request.resource.clone()),
            Root::Context => Value::Record(self.request.context.clone()),
        };
        for attribute in attributes {
            let next = match value {
                Value::Record(record) => record.get(attribute).cloned(),
                Value::Entity(uid) => match self.entity(&uid) {
                    Some(data) => data.attributes.get(attribute).cloned(),
                    None => return Err(self.no_such_entity(uid, expression)),
                },
                Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Set(_) | Value::Extension(..) => {
                    return Err(ChangeError::OtherSchema { path: expression.to_string() });
                }
            };
            let Some(next) = next else { return Ok(None) };
            value = next;
        }
        Ok(Some(value))
    }

    /// An entity as it is after the edits so far.
    fn entity(&self, uid: &EntityUid) -> Option<EntityData> {
        self.edited.get(uid).cloned().unwrap_or_else(|| {
            let stored = self.snapshot.entities().get(uid.as_uid_ref());
            stored.map(|stored| stored.entity.unpack(self.snapshot.schema()))
        })
    }

    fn no_such_entity(&self, entity: EntityUid, expression: &Expression) -> ChangeError {
        let name = display::uid(entity.as_uid_ref(), self.snapshot.schema());
        ChangeError::NoSuchEntity { entity, name, path: expression.to_string() }
    }
}

/// The expressions of a source, as written in the file.
fn source_text(source: &ValueSource) -> String {
    let texts = source.alternatives.iter().map(ToString::to_string);
    texts.collect::<Vec<_>>().join(" or ")
}

fn other_schema(source: &ValueSource) -> ChangeError {
    ChangeError::OtherSchema { path: source_text(source) }
}
