//! The schema as the engine uses it: kinds of entities, actions and types, with prepared Cedar names.
//! It is read from Cedar's own resolved form, so that what a type means is Cedar's word, not ours.
//! The rules that Cedar's schema language cannot say (see [`Rules`]) are read from annotations.

mod declarations;
mod expansion;
mod resolved;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, Entity, EntityType, EntityUID};
pub use declarations::Declarations;
use smol_str::SmolStr;

use super::digest::Digest;
use super::fault::{Faults, SourceText};

/// An entity type, as an index into its schema. Meaningless with any other schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u16);

/// An action, as an index into its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId(u16);

/// An entity's name: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    pub kind: Kind,
    pub id: SmolStr,
}

/// An entity's name that stands somewhere else, such as in a stored entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<'a> {
    pub kind: Kind,
    pub id: &'a str,
}

impl EntityRef {
    pub fn name(&self) -> Name<'_> {
        Name { kind: self.kind, id: &self.id }
    }
}

impl Name<'_> {
    pub fn to_owned(self) -> EntityRef {
        EntityRef { kind: self.kind, id: SmolStr::new(self.id) }
    }
}

impl Kind {
    pub fn number(self) -> u16 {
        self.0
    }

    /// The kind of a number that [`Self::number`] gave, in the same schema.
    pub fn of_number(number: u16) -> Self {
        Self(number)
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    Long,
    String,
    Entity(Kind),
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
    pub member_of_one: Vec<Kind>,
    /// `@only_member("attribute")`: only the entity that the attribute names may be directly in it.
    pub only_member: Option<SmolStr>,
}

/// An entity type's definition.
#[derive(Debug)]
pub struct KindInfo {
    /// The full name, `Namespace::Type`.
    pub name: SmolStr,
    /// Eight bits of the digest of the name: the same wherever the name is.
    pub mark: u8,
    pub ty: EntityType,
    /// The types that may be *direct* parents.
    pub parents: Vec<Kind>,
    pub attributes: RecordType,
    pub tags: Option<Type>,
    /// The ids of an enumerated type, which exist without being stored.
    pub enumerated: Option<Vec<SmolStr>>,
    pub rules: Rules,
}

/// An action's definition.
#[derive(Debug)]
pub struct ActionInfo {
    /// The id, as callers write it.
    pub name: SmolStr,
    pub uid: EntityUID,
    pub principals: Vec<Kind>,
    pub resources: Vec<Kind>,
    pub context: RecordType,
    /// The action and its groups as Cedar entities, for the slice of a decision.
    pub entities: Vec<Arc<Entity>>,
}

/// A schema: all kinds and actions, by index and by the names that callers use.
#[derive(Debug)]
pub struct Schema {
    digest: Digest,
    cedar: cedar_policy::Schema,
    kinds: Vec<KindInfo>,
    actions: Vec<ActionInfo>,
    /// The names of all attributes of entities, at any depth, sorted.
    symbols: Vec<SmolStr>,
    /// Full names, and short ones where only one namespace has them.
    kind_names: Names<Kind>,
    action_names: Names<ActionId>,
}

type Names<T> = HashMap<SmolStr, Named<T>, foldhash::fast::RandomState>;

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
enum Named<T> {
    One(T),
    /// The short name stands in several namespaces, so callers have to write the full one.
    Several,
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
    pub fn parse(source: &Arc<SourceText>) -> Result<(Self, Faults), Faults> {
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
    pub fn kind(&self, kind: Kind) -> &KindInfo {
        &self.kinds[usize::from(kind.0)]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an ActionId is only made by its schema, from an index in range"
    )]
    pub fn action(&self, action: ActionId) -> &ActionInfo {
        &self.actions[usize::from(action.0)]
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, &KindInfo)> {
        (0..).map(Kind).zip(&self.kinds)
    }

    /// All actions, by name.
    pub fn actions(&self) -> impl Iterator<Item = (ActionId, &ActionInfo)> {
        (0..).map(ActionId).zip(&self.actions)
    }

    /// The kind that a caller names, with its namespace or without.
    ///
    /// # Errors
    /// No such kind, or several when the namespace is left out.
    pub fn kind_named(&self, name: &str) -> Result<Kind, Unresolved> {
        resolve(&self.kind_names, name)
    }

    /// The kind with this full name, namespace included.
    pub fn kind_of_full_name(&self, name: &str) -> Option<Kind> {
        self.kind_named(name).ok().filter(|kind| self.kind(*kind).name == name)
    }

    /// The action that a caller names: by its id, or in full as `Namespace::Action::"id"`.
    ///
    /// # Errors
    /// No such action, or several when the namespace is left out.
    pub fn action_named(&self, name: &str) -> Result<ActionId, Unresolved> {
        resolve(&self.action_names, name)
    }

    /// Whether the entity exists by the schema alone, as a value of an enumerated type.
    pub fn enumerates(&self, entity: Name<'_>) -> bool {
        self.kind(entity.kind).enumerated.as_ref().is_some_and(|ids| ids.iter().any(|id| id == entity.id))
    }

    /// The entity's Cedar name.
    pub fn uid(&self, entity: Name<'_>) -> EntityUID {
        let ty = self.kind(entity.kind).ty.clone();
        EntityUID::from_components(ty, Eid::new(entity.id), None)
    }

    /// The entity as Cedar writes it, for messages.
    pub fn show(&self, entity: Name<'_>) -> String {
        self.uid(entity).to_string()
    }

    /// The number of an attribute's name, the same for the same name at any depth of any type.
    pub fn symbol(&self, name: &str) -> Option<usize> {
        self.symbols.binary_search_by(|symbol| symbol.as_str().cmp(name)).ok()
    }

    pub fn symbol_name(&self, symbol: usize) -> Option<&SmolStr> {
        self.symbols.get(symbol)
    }

    /// Whether an entity of one kind can be in one of another, directly or not; a kind is in itself.
    pub fn can_be_in(&self, kind: Kind, ancestor: Kind) -> bool {
        let mut reached = vec![kind];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            next += 1;
            let parents = self.kind(at).parents.iter().filter(|parent| !reached.contains(parent));
            let parents: Vec<Kind> = parents.copied().collect();
            reached.extend(parents);
        }
        reached.contains(&ancestor)
    }
}

fn resolve<T: Copy>(names: &Names<T>, name: &str) -> Result<T, Unresolved> {
    match names.get(name) {
        Some(Named::One(it)) => Ok(*it),
        Some(Named::Several) => Err(Unresolved::Ambiguous),
        None => Err(Unresolved::Unknown),
    }
}
