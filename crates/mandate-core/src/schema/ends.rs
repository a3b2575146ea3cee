//! `@valid_until`: the attribute of an entity type that says until when its entities have members. This finds and checks it
//! in a schema that is read otherwise; `slice.rs` follows it.

use std::sync::Arc;

use smol_str::SmolStr;

use super::annotation_places::{AnnotationPlaces, Owner};
use super::tables::{ActionDef, EntityTypeDef};
use super::types::{Attribute, Extension, Type};
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

/// Sets `valid_until` of the entity types that have it, and reports each `@valid_until` that does not fit.
pub fn read(
    source: &Arc<SourceText>,
    entity_types: &mut [EntityTypeDef],
    actions: &[ActionDef],
    diagnostics: &mut Diagnostics,
) {
    let places = AnnotationPlaces::of(source, "valid_until");
    let mut reader = EndReader { places, diagnostics };
    for (name, span) in std::mem::take(&mut reader.places.declarations) {
        reader.misplaced(&name, Some(span));
    }
    for action in actions {
        let owner = Owner::of_action(action);
        action.context_type.each_attribute(&mut |name, attribute| reader.elsewhere(name, attribute, &owner));
    }
    for entity_type in entity_types {
        entity_type.valid_until = reader.end(entity_type);
    }
}

struct EndReader<'a> {
    places: AnnotationPlaces,
    diagnostics: &'a mut Diagnostics,
}

impl EndReader<'_> {
    fn end(&mut self, entity_type: &EntityTypeDef) -> Option<SmolStr> {
        let owner = Owner::EntityType(entity_type.name.clone());
        if let Some(ty) = &entity_type.tag_type {
            ty.each_attribute(&mut |name, attribute| self.elsewhere(name, attribute, &owner));
        }
        let mut found: Option<SmolStr> = None;
        for (name, attribute) in entity_type.attributes.iter() {
            attribute.ty.each_attribute(&mut |name, attribute| self.elsewhere(name, attribute, &owner));
            if !attribute.is_valid_until {
                continue;
            }
            let span = self.places.of_attribute(&owner, name);
            if attribute.ty != Type::Extension(Extension::DateTime) {
                let message = format!("`@valid_until` on `{name}` needs an attribute of type `datetime`");
                self.diagnostics.push_once(Diagnostic::error(message).at(span));
            } else if let Some(first) = &found {
                let type_name = &entity_type.name;
                let message = format!("`{type_name}` has `@valid_until` on `{first}` and on `{name}`");
                let error = Diagnostic::error(message).help("keep it on one attribute");
                self.diagnostics.push_once(error.at(span));
            } else {
                found = Some(name.clone());
            }
        }
        found
    }

    /// An attribute that is not directly in an entity type.
    fn elsewhere(&mut self, name: &str, attribute: &Attribute, owner: &Owner) {
        if attribute.is_valid_until {
            let span = self.places.of_attribute(owner, name);
            self.misplaced(name, span);
        }
    }

    fn misplaced(&mut self, name: &str, span: Option<SourceSpan>) {
        let message =
            format!("`@valid_until` on `{name}`: only an attribute of an entity type says when it ends");
        let help = "put it on an attribute of type `datetime`, directly in an entity type";
        // Several declarations may share a type, whose mistakes are reported once.
        self.diagnostics.push_once(Diagnostic::error(message).help(help).at(span));
    }
}
