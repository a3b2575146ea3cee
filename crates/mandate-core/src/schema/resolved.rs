//! Reads a schema's text: Cedar parses and resolves it, and [`Schema::parse`] turns the resolved form into
//! tables (`tables.rs`). Start reading at [`Schema::parse`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, EntityType as CedarType, EntityUID as CedarEntityUid};
use smol_str::{SmolStr, format_smolstr};

use super::clocks::ClockReader;
use super::ends;
use super::expansion;
use super::names::{NameIndex, qualified};
use super::resolved_json::{Action, Annotations, EntityType, Fragment, ResolvedAttribute, ResolvedType};
use super::tables::{ActionDef, EntityTypeDef, Schema};
use super::types::{Attribute, Extension, RecordType, Type};
use super::uid::{ActionId, EntityTypeId};
use crate::cedar_diagnostics;
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use crate::digest::Digest;
use crate::reachable::extend_with_reachable;
use crate::reason::Reason;
use crate::text_limits;

mod rules;

impl Schema {
    /// Reads a schema in Cedar's schema syntax. Warnings come beside it.
    ///
    /// # Errors
    /// Everything that Cedar reports, and every rule annotation that does not fit.
    pub fn parse(source: &Arc<SourceText>) -> Result<(Self, Diagnostics), Diagnostics> {
        text_limits::check_schema(source).into_result()?;
        expansion::check(source)?;
        let (cedar, warnings) = cedar_policy::Schema::from_cedarschema_str(&source.text)
            .map_err(|error| cedar_diagnostics::errors(&error, source))?;
        let mut diagnostics = Diagnostics::default();
        for warning in warnings {
            diagnostics.push(cedar_diagnostics::warning(&warning, source));
        }
        let (json, _) = cedar_policy::schema_str_to_json_with_resolved_types(&source.text)
            .map_err(|error| cedar_diagnostics::errors(&error, source))?;
        let fragment: Fragment =
            serde_json::from_value(json).map_err(|error| unusable_schema(&error, source))?;
        let mut reader =
            Reader { source, fragment: &fragment, entity_types: entity_type_index(&fragment)?, diagnostics };
        let mut entity_types = reader.entity_type_defs();
        let mut actions = reader.action_defs(&cedar);
        reader.clocks(&entity_types, &mut actions);
        reader.ends(&mut entity_types, &actions);
        let diagnostics = reader.diagnostics.into_result()?;
        let schema = Self {
            digest: Digest::of([source.text.as_bytes()]),
            entity_type_names: NameIndex::new(
                (0..)
                    .map(EntityTypeId)
                    .zip(entity_types.iter().map(|k| (k.name.clone(), short_name(&k.name)))),
            ),
            action_names: NameIndex::new(
                (0..).map(ActionId).zip(actions.iter().map(|a| (a.uid.to_string().into(), a.name.clone()))),
            ),
            symbols: symbols(&entity_types),
            has_ends: entity_types.iter().any(|entity_type| entity_type.valid_until.is_some()),
            has_clocks: actions.iter().any(|action| !action.clocks.is_empty()),
            cedar,
            entity_types,
            actions,
        };
        Ok((schema, diagnostics))
    }
}

/// The names of all attributes of entities, at any depth, sorted.
fn symbols(entity_types: &[EntityTypeDef]) -> Vec<SmolStr> {
    fn of_type(ty: &Type, found: &mut BTreeSet<SmolStr>) {
        match ty {
            Type::Set(element) => of_type(element, found),
            Type::Record(record) => of_record(record, found),
            Type::Bool | Type::Long | Type::String | Type::Entity(_) | Type::Extension(_) => {}
        }
    }
    fn of_record(record: &RecordType, found: &mut BTreeSet<SmolStr>) {
        for (name, attribute) in record.iter() {
            found.insert(name.clone());
            of_type(&attribute.ty, found);
        }
    }
    let mut found = BTreeSet::new();
    for entity_type in entity_types {
        of_record(&entity_type.attributes, &mut found);
        entity_type.tag_type.iter().for_each(|ty| of_type(ty, &mut found));
    }
    found.into_iter().collect()
}

fn unusable_schema(error: &dyn std::fmt::Display, source: &Arc<SourceText>) -> Diagnostics {
    Diagnostic::error(format!("cannot use this schema: {error}")).at(SourceSpan::new(source, 0, 0)).into()
}

fn entity_type_index(fragment: &Fragment) -> Result<HashMap<String, EntityTypeId>, Diagnostics> {
    let names = fragment.iter().flat_map(|(namespace, content)| {
        content.entity_types.keys().map(move |name| qualified(namespace, name))
    });
    let index: HashMap<String, EntityTypeId> =
        (0..).map(EntityTypeId).zip(names).map(|(entity_type, name)| (name, entity_type)).collect();
    let types: usize = fragment.values().map(|content| content.entity_types.len()).sum();
    let actions: usize = fragment.values().map(|content| content.actions.len()).sum();
    if types.max(actions) > usize::from(u16::MAX) {
        return Err(
            Diagnostic::error(format!("too many entity types or actions: at most {}", u16::MAX)).into()
        );
    }
    Ok(index)
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    fragment: &'a Fragment,
    entity_types: HashMap<String, EntityTypeId>,
    diagnostics: Diagnostics,
}

impl<'a> Reader<'a> {
    fn entity_type_defs(&mut self) -> Vec<EntityTypeDef> {
        let fragment: &'a Fragment = self.fragment;
        let types =
            fragment.iter().flat_map(|(ns, content)| content.entity_types.iter().map(move |t| (ns, t)));
        types.filter_map(|(namespace, (name, ty))| self.entity_type_def(namespace, name, ty)).collect()
    }

    fn entity_type_def(&mut self, namespace: &str, name: &str, ty: &EntityType) -> Option<EntityTypeDef> {
        let name = qualified(namespace, name);
        let attributes = ty.shape.as_ref().map_or(Some(RecordType::default()), |shape| self.record(shape))?;
        let tags = match &ty.tags {
            Some(tags) => Some(self.ty(tags)?),
            None => None,
        };
        Some(EntityTypeDef {
            cedar_type: self.ok_or_report(CedarType::from_normalized_str(&name))?,
            parent_types: ty.member_of_types.iter().filter_map(|parent| self.entity_type(parent)).collect(),
            reason: reason(&ty.annotations),
            rules: self.rules(&name, namespace, ty, &attributes),
            valid_until: None,
            attributes,
            tag_type: tags,
            enum_ids: ty.r#enum.clone(),
            name_hash: Digest::of([name.as_bytes()]).to_bytes()[0],
            name: name.into(),
        })
    }

    fn action_defs(&mut self, cedar: &cedar_policy::Schema) -> Vec<ActionDef> {
        let entities = cedar.action_entities();
        let Some(entities) = self.ok_or_report(entities) else { return Vec::new() };
        let fragment: &'a Fragment = self.fragment;
        let actions = fragment.iter().flat_map(|(ns, content)| content.actions.iter().map(move |a| (ns, a)));
        actions
            .filter_map(|(namespace, (id, action))| self.action_def(namespace, id, action, &entities))
            .collect()
    }

    fn action_def(
        &mut self,
        namespace: &'a str,
        id: &str,
        action: &'a Action,
        entities: &cedar_policy::Entities,
    ) -> Option<ActionDef> {
        let uid = self.action_uid(namespace, id)?;
        let applies = action.applies_to.as_ref();
        let context = applies.and_then(|applies| applies.context.as_ref());
        let types = |names: Option<&Vec<String>>| -> Vec<EntityTypeId> {
            names.into_iter().flatten().filter_map(|name| self.entity_types.get(name).copied()).collect()
        };
        let (principals, resources) =
            (types(applies.map(|a| &a.principal_types)), types(applies.map(|a| &a.resource_types)));
        let groups = self.action_groups(namespace, action);
        Some(ActionDef {
            name: id.into(),
            context_type: context.map_or(Some(RecordType::default()), |context| self.record(context))?,
            self_and_groups: groups
                .iter()
                .chain([&uid])
                .filter_map(|uid| entities.get(&uid.clone().into()))
                .map(|entity| Arc::new(entity.as_ref().clone()))
                .collect(),
            principal_types: principals,
            resource_types: resources,
            clocks: Vec::new(),
            uid,
        })
    }

    /// Reads every `@clock`, once all types are known.
    fn clocks(&mut self, entity_types: &[EntityTypeDef], actions: &mut [ActionDef]) {
        // Finding their places reads the text once more. A type that could not be read is reported already.
        if !self.source.text.contains("@clock") || entity_types.len() != self.entity_types.len() {
            return;
        }
        let mut clocks = ClockReader::new(self.source, entity_types, &mut self.diagnostics);
        clocks.check_other_places();
        for action in actions {
            action.clocks = clocks.clocks(action);
        }
    }

    /// Reads every `@valid_until`.
    fn ends(&mut self, entity_types: &mut [EntityTypeDef], actions: &[ActionDef]) {
        if self.source.text.contains("@valid_until") {
            ends::read(self.source, entity_types, actions, &mut self.diagnostics);
        }
    }

    /// The groups that an action is in, directly or not.
    fn action_groups(&mut self, namespace: &'a str, action: &'a Action) -> Vec<CedarEntityUid> {
        let fragment: &'a Fragment = self.fragment;
        let parents = |namespace: &'a str, action: &'a Action| {
            action.member_of.iter().map(move |parent| {
                let ty = parent.r#type.as_deref().map(|ty| ty.strip_suffix("Action").unwrap_or(ty));
                let namespace = ty.map_or(namespace, |ty| ty.trim_end_matches("::"));
                Ok::<_, Infallible>((namespace, parent.id.as_str()))
            })
        };
        let mut groups: Vec<(&str, &str)> = Vec::new();
        let Ok(_) = extend_with_reachable(&mut groups, parents(namespace, action), |(namespace, id)| {
            Some(parents(namespace, fragment.get(namespace)?.actions.get(id)?))
        });
        groups.sort_unstable();
        groups.into_iter().filter_map(|(namespace, id)| self.action_uid(namespace, id)).collect()
    }

    fn action_uid(&mut self, namespace: &str, id: &str) -> Option<CedarEntityUid> {
        let ty = self.ok_or_report(CedarType::from_normalized_str(&qualified(namespace, "Action")))?;
        Some(CedarEntityUid::from_components(ty, Eid::new(id), None))
    }

    fn entity_type(&mut self, name: &str) -> Option<EntityTypeId> {
        let entity_type = self.entity_types.get(name).copied();
        if entity_type.is_none() {
            self.report(format!("unknown entity type `{name}`"), name);
        }
        entity_type
    }

    fn record(&mut self, ty: &ResolvedType) -> Option<RecordType> {
        let read = self.ty(ty)?;
        if let Type::Record(record) = read {
            return Some(record);
        }
        self.report(
            "the shape of an entity and the context of an action must be records".to_owned(),
            &ty.r#type,
        );
        None
    }

    fn ty(&mut self, ty: &ResolvedType) -> Option<Type> {
        let name = ty.name.as_deref().unwrap_or_default();
        match (ty.r#type.as_str(), &ty.element) {
            ("Record", _) => self.attributes(&ty.attributes),
            ("Set", Some(element)) => Some(Type::Set(Box::new(self.ty(element)?))),
            ("Entity", _) => self.entity_type(name).map(Type::Entity),
            ("Extension", _) => self.named_type(name),
            (common, _) => self.named_type(common),
        }
    }

    fn attributes(&mut self, attributes: &BTreeMap<SmolStr, ResolvedAttribute>) -> Option<Type> {
        let read = attributes.iter().map(|(name, attribute)| {
            let ty = self.ty(&attribute.ty)?;
            let reason = self.attribute_reason(name, &attribute.annotations);
            let clock =
                attribute.annotations.get("clock").map(|text| text.as_deref().unwrap_or_default().into());
            let is_valid_until = attribute.annotations.contains_key("valid_until");
            Some((
                name.clone(),
                Attribute { ty, required: attribute.required, reason, clock, is_valid_until },
            ))
        });
        read.collect::<Option<RecordType>>().map(Type::Record)
    }

    fn named_type(&mut self, name: &str) -> Option<Type> {
        let (namespace, short) = name.rsplit_once("::").unwrap_or(("", name));
        let fragment: &'a Fragment = self.fragment;
        if let Some(common) = fragment.get(namespace).and_then(|content| content.common_types.get(short)) {
            return self.ty(common);
        }
        match short {
            "Bool" | "Boolean" => Some(Type::Bool),
            "Long" => Some(Type::Long),
            "String" => Some(Type::String),
            "ipaddr" => Some(Type::Extension(Extension::Ip)),
            "decimal" => Some(Type::Extension(Extension::Decimal)),
            "datetime" => Some(Type::Extension(Extension::DateTime)),
            "duration" => Some(Type::Extension(Extension::Duration)),
            _ => {
                self.report(format!("unknown type `{name}`"), short);
                None
            }
        }
    }

    fn report(&mut self, message: String, near: &str) {
        self.diagnostics.push(Diagnostic::error(message).at(find_span(self.source, near)));
    }

    fn ok_or_report<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.diagnostics.extend(unusable_schema(&error, self.source))).ok()
    }
}

/// The `@reason`, with its `@reason_de`.
fn reason(annotations: &Annotations) -> Option<Reason> {
    let [english, german] =
        Reason::ANNOTATIONS.map(|name| annotations.get(name).and_then(|text| text.as_deref()));
    Reason::new(english, german)
}

/// Where a text occurs first: Cedar's resolved form has no positions.
fn find_span(source: &Arc<SourceText>, needle: &str) -> Option<SourceSpan> {
    source.text.find(needle).map(|offset| SourceSpan::new(source, offset, needle.len()))
}

fn short_name(name: &str) -> SmolStr {
    format_smolstr!("{}", name.rsplit("::").next().unwrap_or(name))
}
