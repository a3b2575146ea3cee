//! Entities and request, with or without a repair applied. It shares the entity index and replaces only the
//! modified entities and the context; decisions on it work as on any snapshot. Which repairs are tried is
//! decided in `repair_search`.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::edit::{edit_record, modified_value};
use super::repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
use mandate_core::decide::{DecideError, decide};
use mandate_core::decision::Decision;
use mandate_core::entities::{Entities, Entity, EntityData, Origin};
use mandate_core::policies::{CandidatePolicies, Policies};
use mandate_core::reachable::extend_with_reachable;
use mandate_core::request::Request;
use mandate_core::schema::{Attribute, EntityUid, EntityUidRef, RecordType, Schema, Type};
use mandate_core::slice::{Slice, gather};
use mandate_core::value::{Record, Value};
use smol_str::SmolStr;

pub struct Hypothesis<'a> {
    policies: &'a Policies,
    pub candidates: &'a CandidatePolicies,
    pub entities: Entities,
    pub request: Request,
    /// Pairs (member, parent) where `parent` has `@only_member` and names `member`. Empty unless
    /// [`Self::with_reserved_parents`] was called.
    parents_reserved_for: Vec<(EntityUid, EntityUid)>,
}

impl<'a> Hypothesis<'a> {
    /// # Errors
    /// An internal error: no policy can match such a request, which parsing it should have excluded.
    pub fn new(policies: &'a Policies, entities: &Entities, request: &Request) -> Result<Self, DecideError> {
        let candidates = policies.candidates(request.environment()).ok_or(DecideError::Environment)?;
        let (entities, request) = (entities.clone(), request.clone());
        Ok(Self { policies, candidates, entities, request, parents_reserved_for: Vec::new() })
    }

    /// Scans all entities for those whose `@only_member` names an entity of the request, so that a membership
    /// in them can be proposed.
    #[must_use]
    pub fn with_reserved_parents(mut self) -> Self {
        let schema = self.schema();
        let about: Vec<EntityUid> =
            self.slice().entities.iter().map(|loaded| loaded.uid.to_owned()).collect();
        let parents_reserved_for = self.entities.iter().filter_map(|entity| {
            let rule = schema.entity_type(entity.uid().entity_type).rules.only_member.as_ref()?;
            let named = entity.entity_attribute(rule, schema)?;
            let about = about.iter().find(|about| about.as_uid_ref() == named)?;
            Some((about.clone(), entity.uid().to_owned()))
        });
        self.parents_reserved_for = parents_reserved_for.collect();
        self
    }

    /// The entities whose only possible member is this one.
    pub fn parents_reserved_for(&self, member: &EntityUid) -> impl Iterator<Item = &EntityUid> {
        self.parents_reserved_for.iter().filter(move |(only, _)| only == member).map(|(_, entity)| entity)
    }

    pub fn schema(&self) -> &'a Schema {
        self.policies.schema()
    }

    pub fn slice(&self) -> Slice<'_> {
        gather(&self.entities, &self.request, self.schema(), self.candidates.level)
    }

    /// # Errors
    /// As for [`decide`].
    pub fn decide(&self) -> Result<Decision, DecideError> {
        decide(self.policies, &self.request, &self.slice())
    }

    /// Whether an entity is one of the others or a descendant of one.
    pub fn is_in(&self, entity: &EntityUid, of: &[EntityUid]) -> bool {
        let parents = |uid| self.parents(uid).map(Ok::<_, Infallible>);
        let mut at = vec![entity.as_uid_ref()];
        let Ok(_) = extend_with_reachable(&mut at, parents(entity.as_uid_ref()), |uid| Some(parents(uid)));
        at.iter().any(|at| of.iter().any(|of| of.as_uid_ref() == *at))
    }

    /// The direct parents of an entity that count when the request is asked.
    pub fn parents(&self, uid: EntityUidRef<'_>) -> impl Iterator<Item = EntityUidRef<'_>> {
        self.entities.parents_at(uid, self.request.asked_at, self.schema())
    }

    /// The schema's definition of an attribute.
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
            AttributeOwner::Context => &self.schema().action(self.request.action).context_type,
            AttributeOwner::Entity(entity) => &self.schema().entity_type(entity.entity_type).attributes,
        }
    }

    /// This hypothesis with a repair applied. Where the repair leaves a value open, `example_index` chooses
    /// one. `None` if no entities that keep the rules could be like that.
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
                RepairLocation::Value(AttributePath { owner, path })
                | RepairLocation::Element(AttributePath { owner, path }, _) => {
                    let record = match owner {
                        AttributeOwner::Context => &mut request.context,
                        AttributeOwner::Entity(entity) => {
                            &mut self.description_mut(entity, &mut changed)?.attributes
                        }
                    };
                    let edit = |ty: &Type, before: Option<&Value>| {
                        modified_value((location, modification), example_index, ty, before, schema)
                    };
                    *record = edit_record(record, path, self.record_type(owner), &edit).ok()?;
                }
            }
        }
        let described = |entity: &EntityUid, before: Option<Record>| {
            before.map(|before| changed.get(entity).map_or(before, |draft| draft.attributes.clone()))
        };
        request.principal_properties = described(&request.principal, request.principal_properties.take());
        request.resource_properties = described(&request.resource, request.resource_properties.take());
        let pack = |draft: &EntityData| Entity::pack(draft, Origin::default(), schema);
        let entities = self.entities.with_unchecked(changed.values().map(pack));
        let hypothesis =
            Self { entities, request, parents_reserved_for: self.parents_reserved_for.clone(), ..*self };
        repair
            .iter()
            .all(|(location, modification)| hypothesis.is_allowed_by_rules(location, modification, self))
            .then_some(hypothesis)
    }

    /// The entity as decisions read it, including the properties that the caller sent, for editing. `None` if
    /// it does not exist, because creating an entity is not a single modification.
    fn description_mut<'d>(
        &self,
        entity: &EntityUid,
        changed: &'d mut BTreeMap<EntityUid, EntityData>,
    ) -> Option<&'d mut EntityData> {
        if !changed.contains_key(entity) {
            let request = &self.request;
            let asked = [
                (&request.principal, &request.principal_properties),
                (&request.resource, &request.resource_properties),
            ];
            let described: Vec<&Record> = asked
                .into_iter()
                .filter(|(asked, _)| *asked == entity)
                .filter_map(|(_, it)| it.as_ref())
                .collect();
            let stored =
                self.entities.get(entity.as_uid_ref()).map(|stored| stored.entity.unpack(self.schema()));
            let nothing = || EntityData {
                uid: entity.clone(),
                attributes: Record::default(),
                tags: Record::default(),
                parents: Vec::new(),
            };
            let mut draft = stored.or_else(|| (!described.is_empty()).then(nothing))?;
            draft.attributes = described.into_iter().fold(draft.attributes, |all, it| all.with_overrides(it));
            changed.insert(entity.clone(), draft);
        }
        changed.get_mut(entity)
    }

    /// Adds or removes a membership. If `@member_of_one` allows one parent of that type, the new parent
    /// replaces the old one.
    fn set_membership(&self, child: &mut EntityData, parent: &EntityUid, modification: &Modification) {
        let only_one = self
            .schema()
            .entity_type(child.uid.entity_type)
            .rules
            .member_of_one
            .contains(&parent.entity_type);
        let add = *modification == Modification::Add;
        child.parents.retain(|it| it != parent && !(add && only_one && it.entity_type == parent.entity_type));
        if add {
            child.parents.push(parent.clone());
            child.parents.sort();
        }
    }

    /// Whether the rules of the schema allow a modification that was applied in this hypothesis. `before` is
    /// the hypothesis without it.
    fn is_allowed_by_rules(
        &self,
        location: &RepairLocation,
        modification: &Modification,
        before: &Self,
    ) -> bool {
        let schema = self.schema();
        match location {
            RepairLocation::Membership(child, parent) => match modification {
                Modification::Add => {
                    schema.can_be_in(child.entity_type, parent.entity_type)
                        && self.allows_member(parent, child)
                        && !self.is_in(parent, std::slice::from_ref(child))
                }
                Modification::Remove
                | Modification::SetTo(_)
                | Modification::SetToAnyExcept(_)
                | Modification::Unset => {
                    !schema.entity_type(child.entity_type).rules.member_of_one.contains(&parent.entity_type)
                }
            },
            RepairLocation::Value(AttributePath { owner: AttributeOwner::Entity(entity), path }) => {
                let rules = &schema.entity_type(entity.entity_type).rules;
                let is = |rule: &Option<SmolStr>| {
                    path.first().is_some_and(|name| path.len() == 1 && Some(name) == rule.as_ref())
                };
                let breaks_only_member = is(&rules.only_member) && before.has_named_member(entity);
                let unset = *modification == Modification::Unset;
                let breaks_member_requires = unset && is(&rules.member_requires) && before.has_member(entity);
                !breaks_only_member && !breaks_member_requires
            }
            RepairLocation::Value(AttributePath { owner: AttributeOwner::Context, .. })
            | RepairLocation::Element(..) => true,
        }
    }

    /// Whether `@only_member` lets an entity be in another: it is the named member, or can be in that one.
    fn allows_member(&self, parent: &EntityUid, child: &EntityUid) -> bool {
        let schema = self.schema();
        self.named_only_member(parent).is_none_or(|named| {
            let mut parent_types = schema.entity_type(child.entity_type).parent_types.iter();
            named == *child
                || parent_types.any(|entity_type| schema.can_be_in(*entity_type, named.entity_type))
        })
    }

    fn has_named_member(&self, parent: &EntityUid) -> bool {
        let member = self.named_only_member(parent).and_then(|named| self.entities.get(named.as_uid_ref()));
        member.is_some_and(|member| member.entity.parents().any(|it| it == parent.as_uid_ref()))
    }

    fn has_member(&self, parent: &EntityUid) -> bool {
        let of_type = |entity_type| {
            self.entities.members(Some(parent.as_uid_ref()), entity_type, None, self.schema()).next()
        };
        self.schema().entity_types().any(|(entity_type, _)| of_type(entity_type).is_some())
    }

    fn named_only_member(&self, parent: &EntityUid) -> Option<EntityUid> {
        let rule = self.schema().entity_type(parent.entity_type).rules.only_member.as_ref()?;
        let stored = self.entities.get(parent.as_uid_ref())?;
        stored.entity.entity_attribute(rule, self.schema()).map(EntityUidRef::to_owned)
    }
}
