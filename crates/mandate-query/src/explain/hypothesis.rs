//! The world as it is, or as it would be if some facts held: the same entities but for a few, and the
//! same request but for its context. What is asked of it, is asked as of any other.

use std::collections::BTreeMap;

use super::alternatives::ConditionAnalyzer;
use super::budget::Meter;
use super::edit::{edit_record, modified_value};
use super::hierarchy::shortest_chain;
use super::repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
use mandate_core::decide::{DecideError, decide, reading};
use mandate_core::decision::Decision;
use mandate_core::entities::{Description, Entities, Entity, Origin};
use mandate_core::policies::{Candidates, Policies};
use mandate_core::request::Request;
use mandate_core::schema::{Attribute, EntityRef, Name, RecordType, Schema, Type};
use mandate_core::slice::{Slice, gather};
use mandate_core::value::{Record, Value};

pub struct Hypothesis<'a> {
    policies: &'a Policies,
    pub candidates: &'a Candidates,
    pub entities: Entities,
    pub request: Request,
    /// Entities that take only one member, each after that one; only where somebody looked for them.
    parents_reserved_for: Vec<(EntityRef, EntityRef)>,
}

impl<'a> Hypothesis<'a> {
    /// # Errors
    /// No policy can match such a request, which reading it rules out.
    pub fn new(policies: &'a Policies, entities: &Entities, request: &Request) -> Result<Self, DecideError> {
        let candidates = policies.candidates(request.environment()).ok_or(DecideError::Environment)?;
        let (entities, request) = (entities.clone(), request.clone());
        Ok(Self { policies, candidates, entities, request, parents_reserved_for: Vec::new() })
    }

    /// This world, with a look at all entities for those that wait for a member which the request is about.
    #[must_use]
    pub fn with_reserved_parents(mut self) -> Self {
        let schema = self.schema();
        let about: Vec<EntityRef> = self.slice().loaded.iter().map(|loaded| loaded.name.to_owned()).collect();
        let parents_reserved_for = self.entities.iter().filter_map(|entity| {
            let rule = schema.kind(entity.name().kind).rules.only_member.as_ref()?;
            let named = entity.entity_attribute(rule, schema)?;
            let about = about.iter().find(|about| about.name() == named)?;
            Some((about.clone(), entity.name().to_owned()))
        });
        self.parents_reserved_for = parents_reserved_for.collect();
        self
    }

    /// The entities that take this one as their only member.
    pub fn parents_reserved_for(&self, member: &EntityRef) -> impl Iterator<Item = &EntityRef> {
        self.parents_reserved_for.iter().filter(move |(only, _)| only == member).map(|(_, entity)| entity)
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
    pub fn analyze<T>(
        &self,
        meter: &Meter,
        read: impl FnOnce(&ConditionAnalyzer<'_>) -> T,
    ) -> Result<T, DecideError> {
        let slice = self.slice();
        reading(self.schema(), &self.request, &slice, |evaluate| {
            read(&ConditionAnalyzer { hypothesis: self, slice: &slice, evaluate, meter })
        })
    }

    /// # Errors
    /// As for [`decide`].
    pub fn decide(&self) -> Result<Decision, DecideError> {
        decide(self.policies, &self.request, &self.slice())
    }

    pub fn is_in(&self, entity: &EntityRef, of: &[EntityRef]) -> bool {
        shortest_chain(&self.entities, entity.name(), of, &Repair::default()).is_some()
    }

    /// The definition of what stands at a spot.
    pub fn attribute_definition(&self, attribute_path: &AttributePath) -> Option<&'a Attribute> {
        let mut steps = attribute_path.path.iter();
        let mut at = self.record_type(&attribute_path.owner).get(steps.next()?)?;
        for step in steps {
            let Type::Record(inner) = &at.ty else { return None };
            at = inner.get(step)?;
        }
        Some(at)
    }

    fn record_type(&self, owner: &AttributeOwner) -> &'a RecordType {
        match owner {
            AttributeOwner::Context => &self.schema().action(self.request.action).context,
            AttributeOwner::Entity(entity) => &self.schema().kind(entity.kind).attributes,
        }
    }

    /// The world in which these facts hold as well, with one of the values that will do where facts
    /// leave it open; `None` if no entities that load could be so.
    pub fn with_repair(&self, repair: &Repair, example_index: usize) -> Option<Self> {
        let schema = self.schema();
        let mut request = self.request.clone();
        let mut changed = BTreeMap::new();
        for (location, modification) in repair.iter() {
            match location {
                RepairLocation::Membership(child, parent) => {
                    let child = self.description_mut(child, &mut changed)?;
                    self.set_membership(child, parent, modification);
                }
                RepairLocation::Value(attribute_path) | RepairLocation::Element(attribute_path, _) => {
                    let record = match &attribute_path.owner {
                        AttributeOwner::Context => &mut request.context,
                        AttributeOwner::Entity(entity) => {
                            &mut self.description_mut(entity, &mut changed)?.attributes
                        }
                    };
                    let edit = |ty: &Type, there: Option<&Value>| {
                        modified_value((location, modification), example_index, ty, there, schema)
                    };
                    *record = edit_record(
                        record,
                        &attribute_path.path,
                        self.record_type(&attribute_path.owner),
                        &edit,
                    )
                    .ok()?;
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
        let hypothesis =
            Self { entities, request, parents_reserved_for: self.parents_reserved_for.clone(), ..*self };
        repair
            .iter()
            .all(|(location, modification)| hypothesis.is_allowed_by_rules(location, modification, self))
            .then_some(hypothesis)
    }

    /// An entity as decisions read it, with what its caller says about it, to be changed. It has to
    /// exist: to say that it should, is no single fact.
    fn description_mut<'d>(
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
    fn set_membership(&self, child: &mut Description, parent: &EntityRef, modification: &Modification) {
        let only_one = self.schema().kind(child.name.kind).rules.member_of_one.contains(&parent.kind);
        let comes = *modification == Modification::Add;
        child.parents.retain(|it| it != parent && !(comes && only_one && it.kind == parent.kind));
        if comes {
            child.parents.push(parent.clone());
            child.parents.sort();
        }
    }

    /// Whether the rules that entities have to keep leave room for a fact that holds in this world,
    /// and did not before.
    fn is_allowed_by_rules(
        &self,
        location: &RepairLocation,
        modification: &Modification,
        before: &Self,
    ) -> bool {
        let schema = self.schema();
        match (location, modification) {
            (RepairLocation::Membership(child, parent), Modification::Add) => {
                schema.can_be_in(child.kind, parent.kind)
                    && self.allows_member(parent, child)
                    && !self.is_in(parent, std::slice::from_ref(child))
            }
            (RepairLocation::Membership(child, parent), _) => {
                !schema.kind(child.kind).rules.member_of_one.contains(&parent.kind)
            }
            (RepairLocation::Value(AttributePath { owner: AttributeOwner::Entity(entity), path }), _) => {
                let rule = schema.kind(entity.kind).rules.only_member.as_ref();
                let rules = path.first().is_some_and(|name| path.len() == 1 && Some(name) == rule);
                !rules || !before.has_named_member(entity)
            }
            _ => true,
        }
    }

    /// Whether `@only_member` lets an entity be in another, directly or below the one that is named.
    fn allows_member(&self, parent: &EntityRef, child: &EntityRef) -> bool {
        let schema = self.schema();
        self.named_only_member(parent).is_none_or(|named| {
            let mut above = schema.kind(child.kind).parents.iter();
            named == *child || above.any(|kind| schema.can_be_in(*kind, named.kind))
        })
    }

    fn has_named_member(&self, parent: &EntityRef) -> bool {
        let member = self.named_only_member(parent).and_then(|named| self.entities.get(named.name()));
        member.is_some_and(|member| member.entity.parents().any(|it| it == parent.name()))
    }

    fn named_only_member(&self, parent: &EntityRef) -> Option<EntityRef> {
        let rule = self.schema().kind(parent.kind).rules.only_member.as_ref()?;
        let stored = self.entities.get(parent.name())?;
        stored.entity.entity_attribute(rule, self.schema()).map(Name::to_owned)
    }
}
