//! Completes the solver's model to entities that a sidecar could load. The model has only transitive
//! membership: the entities between (such as the consent between a customer and a partner) and the loading
//! rules (`@member_of_one`, `@only_member`, `@member_requires`) are added here. Whether the result still shows what the solver
//! found is not checked here but by the caller, with the engine: see `readable`.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::{SmolStr, format_smolstr};

use super::witness::Witness;
use mandate_core::entities::EntityData;
use mandate_core::schema::{EntityTypeId, EntityUid, Extension, RecordType, Schema, Type};
use mandate_core::value::{Record, Value};

/// How to resolve a violation of `@only_member`: an entity has a parent that names another entity as its
/// only member.
#[derive(Debug, Clone, Copy)]
enum ConflictResolution {
    /// The parent names this entity instead.
    UpdateOnlyMember,
    /// The entity gives up the parent.
    RemoveMembership,
}

/// The witness, completed once for each `ConflictResolution`.
pub fn completions(witness: &Witness, schema: &Schema) -> Vec<Witness> {
    [ConflictResolution::UpdateOnlyMember, ConflictResolution::RemoveMembership]
        .map(|resolution| Completion::of(witness, schema).finish(resolution))
        .into()
}

struct Completion<'s> {
    schema: &'s Schema,
    witness: Witness,
    /// The ancestors that each entity must have, direct or not.
    required_ancestors: BTreeMap<EntityUid, Vec<EntityUid>>,
    created: usize,
}

impl<'s> Completion<'s> {
    fn of(witness: &Witness, schema: &'s Schema) -> Self {
        let entities = &witness.entities;
        let required_ancestors =
            entities.iter().map(|(name, entity)| (name.clone(), entity.parents.clone())).collect();
        let mut completion = Self { schema, witness: witness.clone(), required_ancestors, created: 0 };
        for (name, entity) in &mut completion.witness.entities {
            let direct = &schema.entity_type(name.entity_type).parent_types;
            entity.parents.retain(|parent| direct.contains(&parent.entity_type));
        }
        completion
    }

    fn finish(mut self, resolution: ConflictResolution) -> Witness {
        let request = &self.witness.request;
        let asked = [request.principal.clone(), request.resource.clone()];
        let required_ancestors = std::mem::take(&mut self.required_ancestors);
        for name in asked.iter().chain(required_ancestors.values().flatten()) {
            self.ensure_entity(name, None);
        }
        for (name, mut above) in required_ancestors {
            // The nearest first: the ancestors that come with it need not be added again.
            above.sort_by_key(|ancestor| {
                parent_type_path(name.entity_type, ancestor.entity_type, self.schema).map(|path| path.len())
            });
            for ancestor in above {
                if !self.is_in(&name, &ancestor) {
                    self.connect(&name, &ancestor);
                }
            }
        }
        self.enforce_member_of_one();
        self.enforce_member_requires();
        // Of the entities that the last rule added.
        self.enforce_member_of_one();
        self.enforce_only_member(resolution);
        self.witness
    }

    /// Creates an entity, unless it exists or is enumerated in the schema. `member` becomes its only member.
    fn ensure_entity(&mut self, name: &EntityUid, member: Option<&EntityUid>) {
        let info = self.schema.entity_type(name.entity_type);
        if info.enum_ids.is_some() || self.witness.entities.contains_key(name) {
            return;
        }
        let entity = EntityData {
            uid: name.clone(),
            attributes: Record::default(),
            tags: Record::default(),
            parents: Vec::new(),
        };
        self.witness.entities.insert(name.clone(), entity);
        let mut attributes = self.defaults(&info.attributes);
        if let (Some(attribute), Some(member)) = (&info.rules.only_member, member) {
            let named = Record::new([(attribute.clone(), Value::Entity(member.clone()))]);
            attributes = attributes.with_overrides(&named);
        }
        if let Some(entity) = self.witness.entities.get_mut(name) {
            entity.attributes = attributes;
        }
    }

    fn new_entity(&mut self, entity_type: EntityTypeId, member: Option<&EntityUid>) -> EntityUid {
        self.created += 1;
        let name = EntityUid { entity_type, id: format_smolstr!("made-{}", self.created) };
        self.ensure_entity(&name, member);
        name
    }

    fn defaults(&mut self, ty: &RecordType) -> Record {
        let required = ty.iter().filter(|(_, attribute)| attribute.required);
        required.map(|(name, attribute)| (name.clone(), self.default(&attribute.ty))).collect()
    }

    fn default(&mut self, ty: &Type) -> Value {
        match ty {
            Type::Bool => Value::Bool(false),
            Type::Long => Value::Long(0),
            Type::String => Value::String(SmolStr::default()),
            Type::Set(_) => Value::Set([].into()),
            Type::Record(ty) => Value::Record(self.defaults(ty)),
            Type::Extension(extension) => Value::Extension(*extension, default_literal(*extension)),
            Type::Entity(entity_type) => {
                let first =
                    self.schema.entity_type(*entity_type).enum_ids.as_ref().and_then(|ids| ids.first());
                if let Some(id) = first {
                    return Value::Entity(EntityUid { entity_type: *entity_type, id: id.clone() });
                }
                let there =
                    self.witness.entities.keys().find(|name| name.entity_type == *entity_type).cloned();
                Value::Entity(there.unwrap_or_else(|| self.new_entity(*entity_type, None)))
            }
        }
    }

    /// Makes one entity an ancestor of another, with as few new entities between them as the schema allows.
    fn connect(&mut self, name: &EntityUid, ancestor: &EntityUid) {
        let Some(path) = parent_type_path(name.entity_type, ancestor.entity_type, self.schema) else {
            return;
        };
        let mut below = name.clone();
        for entity_type in path {
            let above = if entity_type == ancestor.entity_type {
                ancestor.clone()
            } else {
                self.new_entity(entity_type, Some(&below))
            };
            if let Some(entity) = self.witness.entities.get_mut(&below) {
                entity.parents.push(above.clone());
                entity.parents.sort();
            }
            below = above;
        }
    }

    fn is_in(&self, name: &EntityUid, ancestor: &EntityUid) -> bool {
        let (mut open, mut seen) = (vec![name], BTreeSet::new());
        while let Some(name) = open.pop() {
            if name == ancestor {
                return true;
            }
            let parents = self.witness.entities.get(name).into_iter().flat_map(|entity| &entity.parents);
            open.extend(parents.filter(|parent| seen.insert(*parent)));
        }
        false
    }

    fn enforce_member_of_one(&mut self) {
        let names: Vec<EntityUid> = self.witness.entities.keys().cloned().collect();
        for name in names {
            let schema = self.schema;
            for entity_type in &schema.entity_type(name.entity_type).rules.member_of_one {
                let has = |entity: &EntityData| {
                    entity.parents.iter().any(|parent| parent.entity_type == *entity_type)
                };
                if self.witness.entities.get(&name).is_some_and(has) {
                    self.keep_one(&name, *entity_type);
                    continue;
                }
                let parent = self.new_entity(*entity_type, Some(&name));
                if let Some(entity) = self.witness.entities.get_mut(&name) {
                    entity.parents.push(parent);
                    entity.parents.sort();
                }
            }
        }
    }

    /// Keeps one parent of a type: the principal or resource of the request, else the first.
    fn keep_one(&mut self, name: &EntityUid, entity_type: EntityTypeId) {
        let request = &self.witness.request;
        let asked = [request.principal.clone(), request.resource.clone()];
        let Some(entity) = self.witness.entities.get_mut(name) else { return };
        let of_type = || entity.parents.iter().filter(|parent| parent.entity_type == entity_type);
        let kept = of_type().find(|parent| asked.contains(parent)).or_else(|| of_type().next()).cloned();
        entity.parents.retain(|parent| parent.entity_type != entity_type || Some(parent) == kept.as_ref());
    }

    /// Gives every entity with members the attribute that it needs for that.
    fn enforce_member_requires(&mut self) {
        let schema = self.schema;
        let entities = self.witness.entities.values();
        let with_members: BTreeSet<EntityUid> =
            entities.flat_map(|entity| entity.parents.iter().cloned()).collect();
        for name in with_members {
            let definition = schema.entity_type(name.entity_type);
            let Some(attribute) = &definition.rules.member_requires else { continue };
            let Some(entity) = self.witness.entities.get(&name) else { continue };
            let is_there = entity.attributes.get(attribute).is_some();
            let Some(ty) = definition.attributes.get(attribute).filter(|_| !is_there) else { continue };
            let added = Record::new([(attribute.clone(), self.default(&ty.ty))]);
            if let Some(entity) = self.witness.entities.get_mut(&name) {
                entity.attributes = entity.attributes.with_overrides(&added);
            }
        }
    }

    /// Resolves every violation of `@only_member`.
    fn enforce_only_member(&mut self, resolution: ConflictResolution) {
        let schema = self.schema;
        let names: Vec<EntityUid> = self.witness.entities.keys().cloned().collect();
        for name in names {
            let Some(attribute) = &schema.entity_type(name.entity_type).rules.only_member else { continue };
            let entities = &mut self.witness.entities;
            let member = entities.values().find(|entity| entity.parents.contains(&name));
            let member = member.map(|entity| entity.uid.clone());
            let Some(entity) = entities.get_mut(&name) else { continue };
            if let (ConflictResolution::UpdateOnlyMember, Some(member)) = (resolution, member) {
                let named = Record::new([(attribute.clone(), Value::Entity(member))]);
                entity.attributes = entity.attributes.with_overrides(&named);
            }
            let Some(Value::Entity(kept)) = entity.attributes.get(attribute).cloned() else { continue };
            for other in entities.values_mut().filter(|other| other.uid != kept) {
                other.parents.retain(|parent| *parent != name);
            }
        }
    }
}

/// The shortest path of direct parent types from one entity type up to another, without the first.
fn parent_type_path(from: EntityTypeId, to: EntityTypeId, schema: &Schema) -> Option<Vec<EntityTypeId>> {
    let (mut paths, mut seen) = (vec![vec![from]], BTreeSet::new());
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        for parent in &schema.entity_type(*path.last()?).parent_types {
            let longer: Vec<EntityTypeId> = path.iter().copied().chain([*parent]).collect();
            if *parent == to {
                return longer.get(1..).map(<[EntityTypeId]>::to_vec);
            }
            if seen.insert(*parent) {
                paths.push(longer);
            }
        }
    }
    None
}

fn default_literal(extension: Extension) -> SmolStr {
    match extension {
        Extension::Ip => "127.0.0.1",
        Extension::Decimal => "0.0",
        Extension::DateTime => "1970-01-01",
        Extension::Duration => "0ms",
    }
    .into()
}
