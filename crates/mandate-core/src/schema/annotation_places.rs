//! Where a schema's text has an annotation: Cedar's resolved form does not keep that. It is for diagnostics only, as
//! `declarations.rs` is.

use std::sync::Arc;

use cedar_policy_core::est::Annotations;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::RawName;
use cedar_policy_core::validator::json_schema::{EntityTypeKind, Fragment, Type, TypeVariant};
use smol_str::SmolStr;

use super::names::qualified;
use super::tables::ActionDef;
use crate::diagnostics::{SourceSpan, SourceText};

/// The places of one annotation.
#[derive(Debug, Default)]
pub struct AnnotationPlaces {
    /// The names of the declarations that have it: of namespaces, entity types, actions and common types.
    pub declarations: Vec<(String, SourceSpan)>,
    /// The attributes that have it.
    attributes: Vec<(Owner, SmolStr, SourceSpan)>,
}

/// The declaration that an attribute stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By its full name.
    EntityType(SmolStr),
    /// By its namespace and id.
    Action(SmolStr, SmolStr),
    /// Any type that other declarations name.
    CommonType,
}

impl Owner {
    /// The declaration of an action.
    pub fn of_action(action: &ActionDef) -> Self {
        let entity_type = action.uid.entity_type().to_string();
        let namespace = entity_type.rsplit_once("::").map_or("", |(namespace, _)| namespace);
        Self::Action(namespace.into(), action.name.clone())
    }
}

impl AnnotationPlaces {
    /// The places of an annotation in a schema's text, which parses.
    pub fn of(source: &Arc<SourceText>, name: &str) -> Self {
        // Most schemas have none, and parsing takes long.
        if !source.text.contains(name) {
            return Self::default();
        }
        let extensions = Extensions::all_available();
        let Ok((fragment, _)) = Fragment::<RawName>::from_cedarschema_str(&source.text, extensions) else {
            return Self::default();
        };
        let mut finder = Finder { source, name, found: Self::default() };
        for (namespace, content) in &fragment.0 {
            let namespace = namespace.as_ref().map_or_else(String::new, ToString::to_string);
            finder.declaration(&namespace, &content.annotations);
            for (id, common) in &content.common_types {
                finder.declaration(&id.to_string(), &common.annotations);
                finder.ty(&common.ty, &Owner::CommonType);
            }
            for (id, entity_type) in &content.entity_types {
                finder.declaration(id.as_ref(), &entity_type.annotations);
                let EntityTypeKind::Standard(standard) = &entity_type.kind else { continue };
                let owner = Owner::EntityType(qualified(&namespace, id.as_ref()).into());
                let types = [&standard.shape.0].into_iter().chain(&standard.tags);
                types.for_each(|ty| finder.ty(ty, &owner));
            }
            for (id, action) in &content.actions {
                finder.declaration(id, &action.annotations);
                let owner = Owner::Action(namespace.as_str().into(), id.clone());
                action.applies_to.iter().for_each(|applies| finder.ty(&applies.context.0, &owner));
            }
        }
        finder.found
    }

    /// The place of the annotation on an attribute of this declaration, or of a type that it names.
    pub fn of_attribute(&self, owner: &Owner, attribute: &str) -> Option<SourceSpan> {
        let of = |owner: &Owner| {
            self.attributes.iter().find(|(in_owner, name, _)| in_owner == owner && name == attribute)
        };
        Some(of(owner).or_else(|| of(&Owner::CommonType))?.2.clone())
    }
}

struct Finder<'a> {
    source: &'a Arc<SourceText>,
    name: &'a str,
    found: AnnotationPlaces,
}

impl Finder<'_> {
    fn declaration(&mut self, name: &str, annotations: &Annotations) {
        if let Some(span) = self.span(annotations) {
            self.found.declarations.push((name.to_owned(), span));
        }
    }

    fn ty(&mut self, ty: &Type<RawName>, owner: &Owner) {
        let Type::Type { ty, .. } = ty else { return };
        match ty {
            TypeVariant::Record(record) => {
                for (name, attribute) in &record.attributes {
                    if let Some(span) = self.span(&attribute.annotations) {
                        self.found.attributes.push((owner.clone(), name.clone(), span));
                    }
                    self.ty(&attribute.ty, owner);
                }
            }
            TypeVariant::Set { element } => self.ty(element, owner),
            TypeVariant::String
            | TypeVariant::Long
            | TypeVariant::Boolean
            | TypeVariant::Entity { .. }
            | TypeVariant::EntityOrCommon { .. }
            | TypeVariant::Extension { .. } => {}
        }
    }

    /// The span of the annotation's value, if it is among these. Without a value, it is where the text has the
    /// annotation first.
    fn span(&self, annotations: &Annotations) -> Option<SourceSpan> {
        let (_, found) = annotations.0.iter().find(|(key, _)| key.as_ref() == self.name)?;
        let written = format!("@{}", self.name);
        let loc = found.as_ref().and_then(|annotation| annotation.loc.as_ref());
        let first = || self.source.text.find(&written).map_or((0, 0), |start| (start, start + written.len()));
        let (start, end) = loc.map_or_else(first, |loc| (loc.start(), loc.end()));
        Some(SourceSpan::new(self.source, start, end - start))
    }
}
