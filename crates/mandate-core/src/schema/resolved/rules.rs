//! The rules that annotations on entity types state, read from the schema.

use smol_str::SmolStr;

use super::super::names::qualified;
use super::super::resolved_json::{Annotations, EntityType};
use super::super::tables::Rules;
use super::super::types::{RecordType, Type};
use super::super::uid::EntityTypeId;
use super::{Reader, find_span, reason};
use crate::diagnostics::Diagnostic;
use crate::reason::Reason;
use crate::suggestion::closest;

impl Reader<'_> {
    pub(super) fn rules(
        &mut self,
        entity_type: &str,
        namespace: &str,
        ty: &EntityType,
        attributes: &RecordType,
    ) -> Rules {
        let mut rules = Rules::default();
        for (key, value) in &ty.annotations {
            let value = value.as_deref().unwrap_or_default();
            match key.as_str() {
                "member_of_one" => rules.member_of_one = self.member_of_one(namespace, ty, value),
                "only_member" => rules.only_member = self.only_member(entity_type, attributes, value),
                "member_requires" => {
                    rules.member_requires = self.member_requires(entity_type, attributes, value);
                }
                // `clocks.rs` and `ends.rs` report where these cannot be.
                "reason" | "reason_de" | "doc" | "clock" | "valid_until" => {}
                _ => self.report_annotation(
                    key,
                    entity_type,
                    "`@member_of_one`, `@only_member`, `@member_requires`, `@reason` and, for readers, `@doc`",
                ),
            }
        }
        rules
    }

    /// The `@reason` of an attribute. A type that several entity types share is read several times, and its
    /// mistakes are reported once.
    pub(super) fn attribute_reason(&mut self, attribute: &str, annotations: &Annotations) -> Option<Reason> {
        for key in annotations
            .keys()
            .filter(|key| !["clock", "valid_until", "reason", "reason_de", "doc"].contains(&key.as_str()))
        {
            self.report_annotation(
                key,
                attribute,
                "`@reason`, `@clock`, `@valid_until` and, for readers, `@doc`",
            );
        }
        reason(annotations)
    }

    pub(super) fn report_annotation(&mut self, key: &str, on: &str, supported: &str) {
        let message = format!("unknown annotation `@{key}` on `{on}`");
        if self.diagnostics.iter().all(|reported| reported.message != message) {
            let unknown = Diagnostic::error(message).help(format!("supported annotations here: {supported}"));
            // Comments may name it, too, but without a value.
            let with_value = find_span(self.source, &format!("@{key}("));
            let span = with_value.or_else(|| find_span(self.source, &format!("@{key}")));
            self.diagnostics.push(unknown.at(span));
        }
    }

    fn member_of_one(&mut self, namespace: &str, ty: &EntityType, value: &str) -> Vec<EntityTypeId> {
        let mut entity_types = Vec::new();
        for name in value.split(',').map(str::trim) {
            let parent = ty
                .member_of_types
                .iter()
                .find(|parent| **parent == name || **parent == qualified(namespace, name));
            match parent.and_then(|parent| self.entity_types.get(parent)) {
                Some(entity_type) => entity_types.push(*entity_type),
                None => self.report(
                    format!("`@member_of_one` names `{name}`, which is not a parent type of this type"),
                    value,
                ),
            }
        }
        entity_types
    }

    fn only_member(&mut self, entity_type: &str, attributes: &RecordType, value: &str) -> Option<SmolStr> {
        let attribute = attributes.get(value);
        let fits =
            attribute.is_some_and(|attribute| attribute.required && matches!(attribute.ty, Type::Entity(_)));
        if !fits {
            let message = format!(
                "`@only_member` on `{entity_type}` must name a required attribute of an entity type, not `{value}`"
            );
            self.report(message, value);
        }
        fits.then(|| value.into())
    }

    fn member_requires(
        &mut self,
        entity_type: &str,
        attributes: &RecordType,
        value: &str,
    ) -> Option<SmolStr> {
        let problem = match attributes.get(value) {
            Some(attribute) if !attribute.required => return Some(value.into()),
            Some(_) => "is required anyway: the annotation is for an optional attribute, so remove it",
            None => "is not an attribute of the type",
        };
        let message = format!("`@member_requires` on `{entity_type}` names `{value}`, which {problem}");
        let optional = attributes.iter().filter(|(_, attribute)| !attribute.required);
        let optional: Vec<&str> = optional.map(|(name, _)| name.as_str()).collect();
        let help = closest(value, &optional).map(|meant| format!("did you mean `{meant}`?"));
        let annotation = find_span(self.source, &format!("@member_requires(\"{value}\")"));
        let at = annotation.or_else(|| find_span(self.source, value));
        self.diagnostics.push(Diagnostic { help, ..Diagnostic::error(message).at(at) });
        None
    }
}
