//! The schema as the engine uses it: kinds of entities, actions and types, with prepared Cedar names.
//! It is read from Cedar's own resolved form, so that what a type means is Cedar's word, not ours.
//! The rules that Cedar's schema language cannot say (see [`Rules`]) are read from annotations.

mod declarations;
mod expansion;
mod resolved;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, Entity, EntityType, EntityUID as CedarEntityUid};
pub use declarations::Declarations;
use smol_str::SmolStr;

use super::diagnostics::{Diagnostics, SourceText};
use super::digest::Digest;

/// An entity type, as an index into its schema. Meaningless with any other schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityTypeId(u16);

/// An action, as an index into its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId(u16);

/// An entity's name: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUid {
    pub entity_type: EntityTypeId,
    pub id: SmolStr,
}

/// An entity's name that stands somewhere else, such as in a stored entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUidRef<'a> {
    pub entity_type: EntityTypeId,
    pub id: &'a str,
}

impl EntityUid {
    pub fn as_uid_ref(&self) -> EntityUidRef<'_> {
        EntityUidRef { entity_type: self.entity_type, id: &self.id }
    }
}

impl EntityUidRef<'_> {
    pub fn to_owned(self) -> EntityUid {
        EntityUid { entity_type: self.entity_type, id: SmolStr::new(self.id) }
    }
}

impl EntityTypeId {
    pub fn as_u16(self) -> u16 {
        self.0
    }

    /// The kind of a number that [`Self::number`] gave, in the same schema.
    pub fn from_u16(number: u16) -> Self {
        Self(number)
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    Long,
    String,
    Entity(EntityTypeId),
    Set(Box<Type>),
    Record(RecordType),
    Extension(Extension),
}

/// Cedar's extension types; a value is the text that its constructor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extension {
    Ip,
    Decimal,
    DateTime,
    Duration,
}

impl Extension {
    /// The constructor's name, as it stands in JSON after `__extn.fn`.
    pub fn constructor(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Decimal => "decimal",
            Self::DateTime => "datetime",
            Self::Duration => "duration",
        }
    }
}

/// The attributes of an entity, a record or a context.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordType(BTreeMap<SmolStr, Attribute>);

/// One attribute of a record type.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    pub ty: Type,
    pub required: bool,
}

impl RecordType {
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Attribute)> {
        self.0.iter()
    }
}

/// What loading holds entities to, beyond what Cedar's schema language can say. Both come from
/// annotations on an entity type, so the engine knows no domain.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `@member_of_one("A, B")`: an entity has exactly one parent of each type named.
    pub member_of_one: Vec<EntityTypeId>,
    /// `@only_member("attribute")`: only the entity that the attribute names may be directly in it.
    pub only_member: Option<SmolStr>,
}

/// An entity type's definition.
#[derive(Debug)]
pub struct EntityTypeDef {
    /// The full name, `Namespace::Type`.
    pub name: SmolStr,
    /// Eight bits of the digest of the name: the same wherever the name is.
    pub name_hash: u8,
    pub cedar_type: EntityType,
    /// The types that may be *direct* parents.
    pub parent_types: Vec<EntityTypeId>,
    pub attributes: RecordType,
    pub tag_type: Option<Type>,
    /// The ids of an enumerated type, which exist without being stored.
    pub enum_ids: Option<Vec<SmolStr>>,
    pub rules: Rules,
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
    /// The action and its groups as Cedar entities, for the slice of a decision.
    pub self_and_groups: Vec<Arc<Entity>>,
}

/// A schema: all kinds and actions, by index and by the names that callers use.
#[derive(Debug)]
pub struct Schema {
    digest: Digest,
    cedar: cedar_policy::Schema,
    entity_types: Vec<EntityTypeDef>,
    actions: Vec<ActionDef>,
    /// The names of all attributes of entities, at any depth, sorted.
    symbols: Vec<SmolStr>,
    /// Full names, and short ones where only one namespace has them.
    entity_type_names: NameIndex<EntityTypeId>,
    action_names: NameIndex<ActionId>,
}

type NameIndex<T> = HashMap<SmolStr, NameEntry<T>, foldhash::fast::RandomState>;

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
enum NameEntry<T> {
    Unique(T),
    /// The short name stands in several namespaces, so callers have to write the full one.
    Ambiguous,
}

/// Why a name could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    Unknown,
    Ambiguous,
}

impl Schema {
    /// Reads a schema in Cedar's schema syntax. Warnings come beside it.
    ///
    /// # Errors
    /// Everything that Cedar finds wrong, and every rule annotation that does not fit.
    pub fn parse(source: &Arc<SourceText>) -> Result<(Self, Diagnostics), Diagnostics> {
        resolved::parse(source)
    }

    /// The digest of the text that the schema was read from.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn cedar(&self) -> &cedar_policy::Schema {
        &self.cedar
    }

    #[expect(clippy::indexing_slicing, reason = "a Kind is only made by its schema, from an index in range")]
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

    /// All kinds, by name.
    pub fn entity_types(&self) -> impl Iterator<Item = (EntityTypeId, &EntityTypeDef)> {
        (0..).map(EntityTypeId).zip(&self.entity_types)
    }

    /// All actions, by name.
    pub fn actions(&self) -> impl Iterator<Item = (ActionId, &ActionDef)> {
        (0..).map(ActionId).zip(&self.actions)
    }

    /// The kind that a caller names, with its namespace or without.
    ///
    /// # Errors
    /// No such kind, or several when the namespace is left out.
    pub fn resolve_entity_type(&self, name: &str) -> Result<EntityTypeId, Unresolved> {
        resolve(&self.entity_type_names, name)
    }

    /// The kind with this full name, namespace included.
    pub fn entity_type_by_full_name(&self, name: &str) -> Option<EntityTypeId> {
        self.resolve_entity_type(name).ok().filter(|entity_type| self.entity_type(*entity_type).name == name)
    }

    /// The action that a caller names: by its id, or in full as `Namespace::Action::"id"`.
    ///
    /// # Errors
    /// No such action, or several when the namespace is left out.
    pub fn resolve_action(&self, name: &str) -> Result<ActionId, Unresolved> {
        resolve(&self.action_names, name)
    }

    /// Whether the entity exists by the schema alone, as a value of an enumerated type.
    pub fn is_enumerated(&self, entity: EntityUidRef<'_>) -> bool {
        self.entity_type(entity.entity_type)
            .enum_ids
            .as_ref()
            .is_some_and(|ids| ids.iter().any(|id| id == entity.id))
    }

    /// The entity's Cedar name.
    pub fn cedar_uid(&self, entity: EntityUidRef<'_>) -> CedarEntityUid {
        let ty = self.entity_type(entity.entity_type).cedar_type.clone();
        CedarEntityUid::from_components(ty, Eid::new(entity.id), None)
    }

    /// The entity as Cedar writes it, for messages.
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

    /// Whether an entity of one kind can be in one of another, directly or not; a kind is in itself.
    pub fn can_be_in(&self, entity_type: EntityTypeId, ancestor: EntityTypeId) -> bool {
        let mut reached = vec![entity_type];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            next += 1;
            let parents = self.entity_type(at).parent_types.iter().filter(|parent| !reached.contains(parent));
            let parents: Vec<EntityTypeId> = parents.copied().collect();
            reached.extend(parents);
        }
        reached.contains(&ancestor)
    }
}

fn resolve<T: Copy>(names: &NameIndex<T>, name: &str) -> Result<T, Unresolved> {
    match names.get(name) {
        Some(NameEntry::Unique(it)) => Ok(*it),
        Some(NameEntry::Ambiguous) => Err(Unresolved::Ambiguous),
        None => Err(Unresolved::Unknown),
    }
}
