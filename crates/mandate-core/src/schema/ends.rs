//! `@valid_until`: the attribute of an entity type that says until when its entities have members. This finds and checks it
//! in a schema that is read otherwise; `slice.rs` follows it.

use std::sync::Arc;

use smol_str::SmolStr;

use super::annotation_places::{AnnotationPlaces, Owner};
use super::tables::{ActionDef, EntityTypeDef};
use super::types::{Extension, RecordType, Type};
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
        let entity_type = action.uid.entity_type().to_string();
        let namespace = entity_type.rsplit_once("::").map_or("", |(namespace, _)| namespace);
        reader.check_record(&action.context_type, &Owner::Action(namespace.into(), action.name.clone()));
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
        entity_type.tag_type.iter().for_each(|ty| self.check_nested(ty, &owner));
        let mut found: Option<SmolStr> = None;
        for (name, attribute) in entity_type.attributes.iter() {
            self.check_nested(&attribute.ty, &owner);
            if !attribute.is_valid_until {
                continue;
            }
            let span = self.places.of_attribute(&owner, name);
            if attribute.ty != Type::Extension(Extension::DateTime) {
                let message = format!("`@valid_until` on `{name}` needs an attribute of type `datetime`");
                self.report(Diagnostic::error(message), span);
            } else if let Some(first) = &found {
                let type_name = &entity_type.name;
                let message = format!("`{type_name}` has `@valid_until` on `{first}` and on `{name}`");
                self.report(Diagnostic::error(message).help("keep it on one attribute"), span);
            } else {
                found = Some(name.clone());
            }
        }
        found
    }

    fn check_record(&mut self, record: &RecordType, owner: &Owner) {
        for (name, attribute) in record.iter() {
            if attribute.is_valid_until {
                let span = self.places.of_attribute(owner, name);
                self.misplaced(name, span);
            }
            self.check_nested(&attribute.ty, owner);
        }
    }

    fn check_nested(&mut self, ty: &Type, owner: &Owner) {
        match ty {
            Type::Record(record) => self.check_record(record, owner),
            Type::Set(element) => self.check_nested(element, owner),
            Type::Bool | Type::Long | Type::String | Type::Entity(_) | Type::Extension(_) => {}
        }
    }

    fn misplaced(&mut self, name: &str, span: Option<SourceSpan>) {
        let message =
            format!("`@valid_until` on `{name}`: only an attribute of an entity type says when it ends");
        let help = "put it on an attribute of type `datetime`, directly in an entity type";
        self.report(Diagnostic::error(message).help(help), span);
    }

    /// Several declarations may share a type, whose mistakes are reported once.
    fn report(&mut self, diagnostic: Diagnostic, span: Option<SourceSpan>) {
        let offset = |span: &Option<SourceSpan>| span.as_ref().map(|span| span.offset);
        let is_known = |reported: &Diagnostic| {
            reported.message == diagnostic.message && offset(&reported.span) == offset(&span)
        };
        if !self.diagnostics.iter().any(is_known) {
            self.diagnostics.push(diagnostic.at(span));
        }
    }
}
