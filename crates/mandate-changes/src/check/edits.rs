//! Whether the edits of a change fit the schema. A change is checked for each pair of types of principal and
//! resource, because the types of its expressions depend on them.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::types::{same_type, type_name, type_of};
use crate::change::Change;
use crate::edit::{AttributeSource, Edit, EditKind, NewId};
use crate::expression::Expression;
use crate::memberships::{Membership, Memberships};
use crate::value_source::ValueSource;
use mandate_core::diagnostics::{Diagnostic, SourceSpan};
use mandate_core::display;
use mandate_core::json::{quoted, quoted_list};
use mandate_core::policies::EnvironmentKey;
use mandate_core::schema::{EntityTypeId, Schema, Type};

pub(super) struct EditChecks<'c> {
    change: &'c Change,
    schema: &'c Schema,
    /// By place and message: what is the same for several pairs of types is reported once.
    errors: BTreeMap<(usize, String), Diagnostic>,
    memberships: Memberships,
}

impl<'c> EditChecks<'c> {
    pub fn new(change: &'c Change, schema: &'c Schema) -> Self {
        Self { change, schema, errors: BTreeMap::new(), memberships: Memberships::default() }
    }

    /// All errors of the change, in the order of their places, and its memberships.
    pub fn into_result(self) -> (impl Iterator<Item = Diagnostic>, Memberships) {
        (self.errors.into_values(), self.memberships)
    }

    pub fn push(&mut self, error: Diagnostic) {
        let offset = error.span.as_ref().map_or(0, |span| span.offset);
        self.errors.insert((offset, error.message.clone()), error);
    }

    fn report(&mut self, span: &SourceSpan, message: impl Into<String>) {
        self.push(Diagnostic::error(message).at(span.clone()));
    }

    /// Checks all edits in one environment.
    pub fn check_for(&mut self, environment: EnvironmentKey) {
        let change = self.change;
        for edit in &change.edits {
            self.edit(edit, environment);
        }
    }

    fn edit(&mut self, edit: &Edit, environment: EnvironmentKey) {
        match &edit.kind {
            EditKind::Create { entity_type, id, attributes, parents } => {
                self.created_type(*entity_type, edit);
                self.id(id, environment);
                self.required_attributes(*entity_type, attributes, &edit.span);
                self.attributes(*entity_type, attributes, environment);
                let joined = self.parents(*entity_type, parents, environment);
                self.memberships.added.extend(joined);
            }
            EditKind::Set { entity, attributes } => {
                let Some(entity_type) = self.entity(entity, environment) else { return };
                self.attributes(entity_type, attributes, environment);
            }
            EditKind::Remove { entity, attributes } => {
                let Some(entity_type) = self.entity(entity, environment) else { return };
                for (name, span) in attributes {
                    self.removed_attribute(entity_type, name, span);
                }
            }
            EditKind::Join { entity, parents } => {
                let Some(entity_type) = self.entity(entity, environment) else { return };
                let joined = self.parents(entity_type, parents, environment);
                self.memberships.added.extend(joined);
            }
            EditKind::Leave { entity, parents } => {
                let Some(entity_type) = self.entity(entity, environment) else { return };
                let left = self.parents(entity_type, parents, environment);
                self.memberships.removed.extend(left);
            }
            EditKind::Delete { entity } => {
                let Some(member) = self.entity(entity, environment) else { return };
                let parents = self.schema.entity_type(member).parent_types.iter();
                self.memberships.removed.extend(parents.map(|parent| Membership { member, parent: *parent }));
            }
        }
    }

    fn created_type(&mut self, entity_type: EntityTypeId, edit: &Edit) {
        if self.schema.entity_type(entity_type).enum_ids.is_some() {
            self.report(&edit.span, self.is_enumerated(entity_type));
        }
    }

    fn id(&mut self, id: &NewId, environment: EnvironmentKey) {
        let NewId::Value(source) = id else { return };
        for expression in &source.alternatives {
            let Some(ty) = self.type_of(expression, environment) else { continue };
            if ty != Type::String {
                let found = type_name(&ty, self.schema);
                self.report(
                    &expression.span,
                    format!("an id has type `String`, and {expression} has type {found}"),
                );
            }
        }
    }

    fn required_attributes(
        &mut self,
        entity_type: EntityTypeId,
        attributes: &[AttributeSource],
        span: &SourceSpan,
    ) {
        let schema = self.schema;
        let required = schema.entity_type(entity_type).attributes.iter().filter(|(_, it)| it.required);
        for (name, attribute) in required {
            let [entity_type, ty] =
                [&Type::Entity(entity_type), &attribute.ty].map(|ty| type_name(ty, schema));
            match attributes.iter().find(|(set, ..)| set == name) {
                None => self.report(
                    span,
                    format!("{entity_type} requires `{name}` of type {ty}, which this change does not set"),
                ),
                Some((_, place, source)) if source.optional => self.report(
                    place,
                    format!("{entity_type} requires `{name}`, so its value cannot be `optional`"),
                ),
                Some(_) => {}
            }
        }
    }

    fn attributes(
        &mut self,
        entity_type: EntityTypeId,
        attributes: &[AttributeSource],
        environment: EnvironmentKey,
    ) {
        let schema = self.schema;
        for (name, span, source) in attributes {
            let Some(attribute) = schema.entity_type(entity_type).attributes.get(name) else {
                self.report(span, self.no_such_attribute(entity_type, name));
                continue;
            };
            for expression in &source.alternatives {
                let Some(ty) = self.type_of(expression, environment) else { continue };
                if !same_type(&ty, &attribute.ty) {
                    let of = type_name(&Type::Entity(entity_type), schema);
                    let [wanted, found] = [&attribute.ty, &ty].map(|ty| type_name(ty, schema));
                    let message =
                        format!("`{name}` of {of} has type {wanted}, and {expression} has type {found}");
                    self.report(&expression.span, message);
                }
            }
        }
    }

    fn removed_attribute(&mut self, entity_type: EntityTypeId, name: &SmolStr, span: &SourceSpan) {
        match self.schema.entity_type(entity_type).attributes.get(name) {
            None => self.report(span, self.no_such_attribute(entity_type, name)),
            Some(attribute) if attribute.required => {
                let of = type_name(&Type::Entity(entity_type), self.schema);
                self.report(span, format!("{of} requires `{name}`, so it cannot be removed"));
            }
            Some(_) => {}
        }
    }

    /// The memberships that parents make.
    fn parents(
        &mut self,
        member: EntityTypeId,
        parents: &[ValueSource],
        environment: EnvironmentKey,
    ) -> Vec<Membership> {
        let schema = self.schema;
        let allowed = &schema.entity_type(member).parent_types;
        let mut memberships = Vec::new();
        for expression in parents.iter().flat_map(|source| &source.alternatives) {
            match self.type_of(expression, environment) {
                None => {}
                Some(Type::Entity(parent)) if allowed.contains(&parent) => {
                    memberships.push(Membership { member, parent });
                }
                Some(ty) => {
                    let [member, found] = [&Type::Entity(member), &ty].map(|ty| type_name(ty, schema));
                    let names = allowed.iter().map(|it| display::entity_type(*it, schema));
                    let expected = if allowed.is_empty() {
                        "it has no parent types".to_owned()
                    } else {
                        format!("expected one of {}", quoted_list(names))
                    };
                    let message = format!(
                        "{member} cannot be directly in {expression}, which has type {found}: {expected}"
                    );
                    self.report(&expression.span, message);
                }
            }
        }
        memberships
    }

    /// The type of the entity that is edited.
    fn entity(&mut self, expression: &Expression, environment: EnvironmentKey) -> Option<EntityTypeId> {
        match self.type_of(expression, environment)? {
            Type::Entity(entity_type) if self.schema.entity_type(entity_type).enum_ids.is_none() => {
                Some(entity_type)
            }
            Type::Entity(entity_type) => {
                self.report(&expression.span, self.is_enumerated(entity_type));
                None
            }
            ty => {
                let found = type_name(&ty, self.schema);
                self.report(&expression.span, format!("{expression} is no entity: it has type {found}"));
                None
            }
        }
    }

    fn type_of(&mut self, expression: &Expression, environment: EnvironmentKey) -> Option<Type> {
        let found = type_of(expression, environment, self.schema);
        found.map_err(|message| self.report(&expression.span, message)).ok()
    }

    fn no_such_attribute(&self, entity_type: EntityTypeId, name: &str) -> String {
        let of = type_name(&Type::Entity(entity_type), self.schema);
        format!("{of} has no attribute {}", quoted(name))
    }

    fn is_enumerated(&self, entity_type: EntityTypeId) -> String {
        let name = type_name(&Type::Entity(entity_type), self.schema);
        format!(
            "{name} is an enumerated type: its entities are declared in the schema, and cannot be changed"
        )
    }
}
