//! The schema's tables: all entity types and actions, by index and by name. It does not read the text; that
//! is `resolved.rs`.

use std::convert::Infallible;
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, Entity, EntityType, EntityUID as CedarEntityUid};
use smol_str::SmolStr;

use super::names::{NameIndex, Unresolved};
use super::types::{ClockAttribute, RecordType, Type};
use super::uid::{ActionId, EntityTypeId, EntityUid, EntityUidRef};
use crate::digest::Digest;
use crate::reachable::extend_with_reachable;
use crate::reason::Reason;

/// Constraints on entities that Cedar's schema language cannot express; checked when entities are loaded.
/// They come from annotations on an entity type, so the engine knows no domain.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `@member_of_one("A, B")`: an entity has exactly one parent of each of these types.
    pub member_of_one: Vec<EntityTypeId>,
    /// `@only_member("attribute")`: only the entity that the attribute names may be a direct member.
    pub only_member: Option<SmolStr>,
    /// `@member_requires("attribute")`: an entity that has direct members has this optional attribute.
    pub member_requires: Option<SmolStr>,
}

/// An entity type's definition.
#[derive(Debug)]
pub struct EntityTypeDef {
    /// The full name, `Namespace::Type`.
    pub name: SmolStr,
    /// Eight bits of the digest of the name: the same on every machine.
    pub name_hash: u8,
    pub cedar_type: EntityType,
    /// The types that may be *direct* parents.
    pub parent_types: Vec<EntityTypeId>,
    pub attributes: RecordType,
    pub tag_type: Option<Type>,
    /// The ids of an enumerated type, which exist without being stored.
    pub enum_ids: Option<Vec<SmolStr>>,
    pub rules: Rules,
    /// `@valid_until` on an attribute: from the time that it has, an entity has no members.
    pub valid_until: Option<SmolStr>,
    /// The `@reason`: the sentence for a denial because an entity of this type is not a member of what a
    /// clause demands.
    pub reason: Option<Reason>,
}

/// An action's definition.
#[derive(Debug)]
pub struct ActionDef {
    /// The id, as callers write it.
    pub name: SmolStr,
    pub uid: CedarEntityUid,
    pub principal_types: Vec<EntityTypeId>,
    pub resource_types: Vec<EntityTypeId>,
    pub context_type: RecordType,
    /// The attributes of the context that tell the time, and are never sent by callers.
    pub clocks: Vec<ClockAttribute>,
    /// The action and its groups as Cedar entities, for the slice of a decision.
    pub self_and_groups: Vec<Arc<Entity>>,
}

/// A schema: all entity types and actions, by index and by the names that callers use.
///
/// ```
/// use mandate_core::diagnostics::SourceText;
/// use mandate_core::schema::{Schema, Unresolved};
///
/// let text = "namespace Files {
///     entity User;
///     entity Folder in [Folder];
///     action read appliesTo { principal: User, resource: Folder };
/// }";
/// let (schema, warnings) = Schema::parse(&SourceText::new("schema.cedarschema", text))?;
/// assert!(warnings.is_empty());
///
/// let user = schema.resolve_entity_type("User").expect("only one namespace has `User`");
/// assert_eq!(schema.entity_type(user).name, "Files::User");
/// assert_eq!(schema.resolve_entity_type("Group"), Err(Unresolved::Unknown));
/// let read = schema.resolve_action("read").expect("the schema declares `read`");
/// assert_eq!(schema.action(read).principal_types, [user]);
/// # Ok::<(), mandate_core::diagnostics::Diagnostics>(())
/// ```
#[derive(Debug)]
pub struct Schema {
    pub(super) digest: Digest,
    pub(super) cedar: cedar_policy::Schema,
    pub(super) entity_types: Vec<EntityTypeDef>,
    pub(super) actions: Vec<ActionDef>,
    /// The names of all attributes of entities, at any depth, sorted.
    pub(super) symbols: Vec<SmolStr>,
    pub(super) has_clocks: bool,
    pub(super) has_ends: bool,
    pub(super) entity_type_names: NameIndex<EntityTypeId>,
    pub(super) action_names: NameIndex<ActionId>,
}

impl Schema {
    /// The digest of the text that the schema was read from.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn cedar(&self) -> &cedar_policy::Schema {
        &self.cedar
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an EntityTypeId is only made by its schema, from an index in range"
    )]
    pub fn entity_type(&self, entity_type: EntityTypeId) -> &EntityTypeDef {
        &self.entity_types[usize::from(entity_type.0)]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an ActionId is only made by its schema, from an index in range"
    )]
    pub fn action(&self, action: ActionId) -> &ActionDef {
        &self.actions[usize::from(action.0)]
    }

    /// All entity types, by name.
    pub fn entity_types(&self) -> impl Iterator<Item = (EntityTypeId, &EntityTypeDef)> {
        (0..).map(EntityTypeId).zip(&self.entity_types)
    }

    /// Whether any context has an attribute that tells the time.
    pub fn has_clocks(&self) -> bool {
        self.has_clocks
    }

    /// Whether entities of any type end to have members at a time of their own.
    pub fn has_ends(&self) -> bool {
        self.has_ends
    }

    pub fn entity_type_count(&self) -> usize {
        self.entity_types.len()
    }

    /// All actions, by name.
    pub fn actions(&self) -> impl Iterator<Item = (ActionId, &ActionDef)> {
        (0..).map(ActionId).zip(&self.actions)
    }

    /// The entity type that a caller names, with its namespace or without.
    ///
    /// # Errors
    /// There is no such type, or several if the namespace is left out.
    pub fn resolve_entity_type(&self, name: &str) -> Result<EntityTypeId, Unresolved> {
        self.entity_type_names.resolve(name)
    }

    /// The entity type with this full name, namespace included.
    pub fn entity_type_by_full_name(&self, name: &str) -> Option<EntityTypeId> {
        self.resolve_entity_type(name).ok().filter(|entity_type| self.entity_type(*entity_type).name == name)
    }

    /// The action that a caller names: by its id, or in full as `Namespace::Action::"id"`.
    ///
    /// # Errors
    /// There is no such action, or several if the namespace is left out.
    pub fn resolve_action(&self, name: &str) -> Result<ActionId, Unresolved> {
        self.action_names.resolve(name)
    }

    /// Whether the entity exists by the schema alone, as a value of an enumerated type.
    pub fn is_enumerated(&self, entity: EntityUidRef<'_>) -> bool {
        self.entity_type(entity.entity_type)
            .enum_ids
            .as_ref()
            .is_some_and(|ids| ids.iter().any(|id| id == entity.id))
    }

    /// All entities of an enumerated type; `None` for other types.
    pub fn enumerated_entities(
        &self,
        entity_type: EntityTypeId,
    ) -> Option<impl Iterator<Item = EntityUid> + use<'_>> {
        let ids = self.entity_type(entity_type).enum_ids.as_ref()?.iter();
        Some(ids.map(move |id| EntityUid { entity_type, id: id.clone() }))
    }

    /// The entity's uid as Cedar's own.
    pub fn cedar_uid(&self, entity: EntityUidRef<'_>) -> CedarEntityUid {
        let ty = self.entity_type(entity.entity_type).cedar_type.clone();
        CedarEntityUid::from_components(ty, Eid::new(entity.id), None)
    }

    /// The entity's uid as Cedar writes it, for messages.
    pub fn uid_string(&self, entity: EntityUidRef<'_>) -> String {
        self.cedar_uid(entity).to_string()
    }

    /// The number of an attribute's name, the same for the same name at any depth of any type.
    pub fn symbol(&self, name: &str) -> Option<usize> {
        self.symbols.binary_search_by(|symbol| symbol.as_str().cmp(name)).ok()
    }

    pub fn symbol_name(&self, symbol: usize) -> Option<&SmolStr> {
        self.symbols.get(symbol)
    }

    /// Whether an entity of one type can be in one of another, directly or not; every type can be in itself.
    pub fn can_be_in(&self, entity_type: EntityTypeId, ancestor: EntityTypeId) -> bool {
        let parents =
            |entity_type| self.entity_type(entity_type).parent_types.iter().copied().map(Ok::<_, Infallible>);
        let mut above = Vec::new();
        let Ok(_) = extend_with_reachable(&mut above, parents(entity_type), |it| Some(parents(it)));
        entity_type == ancestor || above.contains(&ancestor)
    }
}
