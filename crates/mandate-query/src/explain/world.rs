//! The world as it is, or as it would be if some facts held: the same entities but for a few, and the
//! same request but for its context. What is asked of it, is asked as of any other.

use std::collections::BTreeMap;

use super::budget::Meter;
use super::edit::{edited, with};
use super::fact::{Change, Facts, Holder, Place, Spot};
use super::hierarchy::chain;
use super::ways::Reader;
use mandate_core::decide::{DecideError, decide, reading};
use mandate_core::decision::Decision;
use mandate_core::entities::{Description, Entities, Entity, Origin};
use mandate_core::policies::{Candidates, Policies};
use mandate_core::request::Request;
use mandate_core::schema::{Attribute, EntityRef, Name, RecordType, Schema, Type};
use mandate_core::slice::{Slice, gather};
use mandate_core::value::{Record, Value};

pub struct World<'a> {
    policies: &'a Policies,
    pub candidates: &'a Candidates,
    pub entities: Entities,
    pub request: Request,
    /// Entities that take only one member, each after that one; only where somebody looked for them.
    open_to: Vec<(EntityRef, EntityRef)>,
}

impl<'a> World<'a> {
    /// # Errors
    /// No policy can match such a request, which reading it rules out.
    pub fn new(policies: &'a Policies, entities: &Entities, request: &Request) -> Result<Self, DecideError> {
        let candidates = policies.candidates(request.environment()).ok_or(DecideError::Environment)?;
        let (entities, request) = (entities.clone(), request.clone());
        Ok(Self { policies, candidates, entities, request, open_to: Vec::new() })
    }

    /// This world, with a look at all entities for those that wait for a member which the request is about.
    #[must_use]
    pub fn scanned(mut self) -> Self {
        let schema = self.schema();
        let about: Vec<EntityRef> = self.slice().loaded.iter().map(|loaded| loaded.name.to_owned()).collect();
        let open_to = self.entities.iter().filter_map(|entity| {
            let rule = schema.kind(entity.name().kind).rules.only_member.as_ref()?;
            let named = entity.entity_attribute(rule, schema)?;
            let about = about.iter().find(|about| about.name() == named)?;
            Some((about.clone(), entity.name().to_owned()))
        });
        self.open_to = open_to.collect();
        self
    }

    /// The entities that take this one as their only member.
    pub fn open_to(&self, member: &EntityRef) -> impl Iterator<Item = &EntityRef> {
        self.open_to.iter().filter(move |(only, _)| only == member).map(|(_, entity)| entity)
    }

    pub fn schema(&self) -> &'a Schema {
        self.policies.schema()
    }

    pub fn slice(&self) -> Slice<'_> {
        gather(&self.entities, &self.request, self.schema(), self.candidates.level)
    }

    /// Reads conditions in this world.
    ///
    /// # Errors
    /// As for [`decide`].
    pub fn read<T>(&self, meter: &Meter, read: impl FnOnce(&Reader<'_>) -> T) -> Result<T, DecideError> {
        let slice = self.slice();
        reading(self.schema(), &self.request, &slice, |value_of| {
            read(&Reader { world: self, slice: &slice, value_of, meter })
        })
    }

    /// # Errors
    /// As for [`decide`].
    pub fn decide(&self) -> Result<Decision, DecideError> {
        decide(self.policies, &self.request, &self.slice())
    }

    pub fn is_in(&self, entity: &EntityRef, of: &[EntityRef]) -> bool {
        chain(&self.entities, entity.name(), of, &Facts::default()).is_some()
    }

    /// The definition of what stands at a spot.
    pub fn attribute(&self, spot: &Spot) -> Option<&'a Attribute> {
        let mut steps = spot.path.iter();
        let mut at = self.record_type(&spot.holder).get(steps.next()?)?;
        for step in steps {
            let Type::Record(inner) = &at.ty else { return None };
            at = inner.get(step)?;
        }
        Some(at)
    }

    fn record_type(&self, holder: &Holder) -> &'a RecordType {
        match holder {
            Holder::Context => &self.schema().action(self.request.action).context,
            Holder::Entity(entity) => &self.schema().kind(entity.kind).attributes,
        }
    }

    /// The world in which these facts hold as well, with one of the values that will do where facts
    /// leave it open; `None` if no entities that load could be so.
    pub fn supposing(&self, facts: &Facts, number: usize) -> Option<Self> {
        let schema = self.schema();
        let mut request = self.request.clone();
        let mut changed = BTreeMap::new();
        for (place, change) in facts.iter() {
            match place {
                Place::Membership(child, parent) => {
                    let child = self.drafted(child, &mut changed)?;
                    self.moved(child, parent, change);
                }
                Place::Value(spot) | Place::Element(spot, _) => {
                    let record = match &spot.holder {
                        Holder::Context => &mut request.context,
                        Holder::Entity(entity) => &mut self.drafted(entity, &mut changed)?.attributes,
                    };
                    let edit =
                        |ty: &Type, there: Option<&Value>| edited((place, change), number, ty, there, schema);
                    *record = with(record, &spot.path, self.record_type(&spot.holder), &edit).ok()?;
                }
            }
        }
        let described = |entity: &EntityRef, before: Option<Record>| {
            before.map(|before| changed.get(entity).map_or(before, |draft| draft.attributes.clone()))
        };
        request.principal_described = described(&request.principal, request.principal_described.take());
        request.resource_described = described(&request.resource, request.resource_described.take());
        let pack = |draft: &Description| Entity::pack(draft, Origin::default(), schema);
        let entities = self.entities.supposing(changed.values().map(pack));
        let world = Self { entities, request, open_to: self.open_to.clone(), ..*self };
        facts.iter().all(|(place, change)| world.could_be(place, change, self)).then_some(world)
    }

    /// An entity as decisions read it, with what its caller says about it, to be changed. It has to
    /// exist: to say that it should, is no single fact.
    fn drafted<'d>(
        &self,
        entity: &EntityRef,
        changed: &'d mut BTreeMap<EntityRef, Description>,
    ) -> Option<&'d mut Description> {
        if !changed.contains_key(entity) {
            let request = &self.request;
            let asked = [
                (&request.principal, &request.principal_described),
                (&request.resource, &request.resource_described),
            ];
            let described: Vec<&Record> = asked
                .into_iter()
                .filter(|(asked, _)| *asked == entity)
                .filter_map(|(_, it)| it.as_ref())
                .collect();
            let stored = self.entities.get(entity.name()).map(|stored| stored.entity.describe(self.schema()));
            let nothing = || Description {
                name: entity.clone(),
                attributes: Record::default(),
                tags: Record::default(),
                parents: Vec::new(),
            };
            let mut draft = stored.or_else(|| (!described.is_empty()).then(nothing))?;
            draft.attributes = described.into_iter().fold(draft.attributes, |all, it| all.overlaid(it));
            changed.insert(entity.clone(), draft);
        }
        changed.get_mut(entity)
    }

    /// A membership that comes or goes. Of a type that allows one parent, the new one is instead.
    fn moved(&self, child: &mut Description, parent: &EntityRef, change: &Change) {
        let only_one = self.schema().kind(child.name.kind).rules.member_of_one.contains(&parent.kind);
        let comes = *change == Change::Comes;
        child.parents.retain(|it| it != parent && !(comes && only_one && it.kind == parent.kind));
        if comes {
            child.parents.push(parent.clone());
            child.parents.sort();
        }
    }

    /// Whether the rules that entities have to keep leave room for a fact that holds in this world,
    /// and did not before.
    fn could_be(&self, place: &Place, change: &Change, before: &Self) -> bool {
        let schema = self.schema();
        match (place, change) {
            (Place::Membership(child, parent), Change::Comes) => {
                schema.can_be_in(child.kind, parent.kind)
                    && self.takes_member(parent, child)
                    && !self.is_in(parent, std::slice::from_ref(child))
            }
            (Place::Membership(child, parent), _) => {
                !schema.kind(child.kind).rules.member_of_one.contains(&parent.kind)
            }
            (Place::Value(Spot { holder: Holder::Entity(entity), path }), _) => {
                let rule = schema.kind(entity.kind).rules.only_member.as_ref();
                let rules = path.first().is_some_and(|name| path.len() == 1 && Some(name) == rule);
                !rules || !before.has_its_member(entity)
            }
            _ => true,
        }
    }

    /// Whether `@only_member` lets an entity be in another, directly or below the one that is named.
    fn takes_member(&self, parent: &EntityRef, child: &EntityRef) -> bool {
        let schema = self.schema();
        self.only_member(parent).is_none_or(|named| {
            let mut above = schema.kind(child.kind).parents.iter();
            named == *child || above.any(|kind| schema.can_be_in(*kind, named.kind))
        })
    }

    fn has_its_member(&self, parent: &EntityRef) -> bool {
        let member = self.only_member(parent).and_then(|named| self.entities.get(named.name()));
        member.is_some_and(|member| member.entity.parents().any(|it| it == parent.name()))
    }

    fn only_member(&self, parent: &EntityRef) -> Option<EntityRef> {
        let rule = self.schema().kind(parent.kind).rules.only_member.as_ref()?;
        let stored = self.entities.get(parent.name())?;
        stored.entity.entity_attribute(rule, self.schema()).map(Name::to_owned)
    }
}
