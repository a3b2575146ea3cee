//! Reads a schema's text: Cedar parses and resolves it, this turns the resolved form into tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, EntityType as CedarType, EntityUID};
use serde::Deserialize;
use smol_str::{SmolStr, format_smolstr};

use super::{
    ActionId, ActionInfo, Attribute, Extension, Kind, KindInfo, Named, Names, RecordType, Rules, Schema,
    Type, expansion,
};
use crate::depth;
use crate::digest::Digest;
use crate::fault::{Fault, Faults, Place, SourceText};
use crate::findings;

type Fragment = BTreeMap<String, Namespace>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Namespace {
    #[serde(default)]
    common_types: BTreeMap<String, ResolvedType>,
    #[serde(default)]
    entity_types: BTreeMap<String, EntityType>,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntityType {
    #[serde(default)]
    member_of_types: Vec<String>,
    shape: Option<ResolvedType>,
    tags: Option<ResolvedType>,
    r#enum: Option<Vec<SmolStr>>,
    #[serde(default)]
    annotations: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Action {
    applies_to: Option<AppliesTo>,
    #[serde(default)]
    member_of: Vec<ActionName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppliesTo {
    #[serde(default)]
    principal_types: Vec<String>,
    #[serde(default)]
    resource_types: Vec<String>,
    context: Option<ResolvedType>,
}

#[derive(Deserialize)]
struct ActionName {
    id: String,
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct ResolvedType {
    r#type: String,
    name: Option<String>,
    element: Option<Box<ResolvedType>>,
    #[serde(default)]
    attributes: BTreeMap<SmolStr, ResolvedAttribute>,
}

#[derive(Deserialize)]
struct ResolvedAttribute {
    #[serde(flatten)]
    ty: ResolvedType,
    #[serde(default = "yes")]
    required: bool,
}

fn yes() -> bool {
    true
}

pub(super) fn parse(source: &Arc<SourceText>) -> Result<(Schema, Faults), Faults> {
    depth::of_schema(source).into_result()?;
    expansion::check(source)?;
    let (cedar, warnings) = cedar_policy::Schema::from_cedarschema_str(&source.text)
        .map_err(|error| findings::errors(&error, source))?;
    let mut faults = Faults::default();
    for warning in warnings {
        faults.push(findings::warning(&warning, source));
    }
    let (json, _) = cedar_policy::schema_str_to_json_with_resolved_types(&source.text)
        .map_err(|error| findings::errors(&error, source))?;
    let fragment: Fragment = serde_json::from_value(json).map_err(|error| unreadable(&error, source))?;
    let mut reader = Reader { source, fragment: &fragment, kinds: kind_index(&fragment)?, faults };
    let kinds = reader.kinds_of();
    let actions = reader.actions_of(&cedar);
    let faults = reader.faults.into_result()?;
    let schema = Schema {
        digest: Digest::of([source.text.as_bytes()]),
        kind_names: short_and_full(
            (0..).map(Kind).zip(kinds.iter().map(|k| (k.name.clone(), last_part(&k.name)))),
        ),
        action_names: short_and_full(
            (0..).map(ActionId).zip(actions.iter().map(|a| (a.uid.to_string().into(), a.name.clone()))),
        ),
        symbols: symbols(&kinds),
        cedar,
        kinds,
        actions,
    };
    Ok((schema, faults))
}

/// The names of all attributes of entities, at any depth, sorted.
fn symbols(kinds: &[KindInfo]) -> Vec<SmolStr> {
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
    for kind in kinds {
        of_record(&kind.attributes, &mut found);
        kind.tags.iter().for_each(|ty| of_type(ty, &mut found));
    }
    found.into_iter().collect()
}

fn unreadable(error: &dyn std::fmt::Display, source: &Arc<SourceText>) -> Faults {
    Fault::error(format!("cannot use this schema: {error}")).at(Place::new(source, 0, 0)).into()
}

fn kind_index(fragment: &Fragment) -> Result<HashMap<String, Kind>, Faults> {
    let names = fragment.iter().flat_map(|(namespace, content)| {
        content.entity_types.keys().map(move |name| qualified(namespace, name))
    });
    let index: HashMap<String, Kind> = (0..).map(Kind).zip(names).map(|(kind, name)| (name, kind)).collect();
    let types: usize = fragment.values().map(|content| content.entity_types.len()).sum();
    let actions: usize = fragment.values().map(|content| content.actions.len()).sum();
    if types.max(actions) > usize::from(u16::MAX) {
        return Err(Fault::error(format!("too many entity types or actions: at most {}", u16::MAX)).into());
    }
    Ok(index)
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    fragment: &'a Fragment,
    kinds: HashMap<String, Kind>,
    faults: Faults,
}

impl<'a> Reader<'a> {
    fn kinds_of(&mut self) -> Vec<KindInfo> {
        let fragment: &'a Fragment = self.fragment;
        let types =
            fragment.iter().flat_map(|(ns, content)| content.entity_types.iter().map(move |t| (ns, t)));
        types.filter_map(|(namespace, (name, ty))| self.kind_of(namespace, name, ty)).collect()
    }

    fn kind_of(&mut self, namespace: &str, name: &str, ty: &EntityType) -> Option<KindInfo> {
        let name = qualified(namespace, name);
        let attributes = ty.shape.as_ref().map_or(Some(RecordType::default()), |shape| self.record(shape))?;
        let tags = match &ty.tags {
            Some(tags) => Some(self.ty(tags)?),
            None => None,
        };
        Some(KindInfo {
            ty: self.checked(CedarType::from_normalized_str(&name))?,
            parents: ty.member_of_types.iter().filter_map(|parent| self.kind(parent)).collect(),
            rules: self.rules(&name, namespace, ty, &attributes),
            attributes,
            tags,
            enumerated: ty.r#enum.clone(),
            mark: Digest::of([name.as_bytes()]).as_bytes().first().copied().unwrap_or_default(),
            name: name.into(),
        })
    }

    fn actions_of(&mut self, cedar: &cedar_policy::Schema) -> Vec<ActionInfo> {
        let entities = cedar.action_entities();
        let Some(entities) = self.checked(entities) else { return Vec::new() };
        let fragment: &'a Fragment = self.fragment;
        let actions = fragment.iter().flat_map(|(ns, content)| content.actions.iter().map(move |a| (ns, a)));
        actions
            .filter_map(|(namespace, (id, action))| self.action_of(namespace, id, action, &entities))
            .collect()
    }

    fn action_of(
        &mut self,
        namespace: &str,
        id: &str,
        action: &Action,
        entities: &cedar_policy::Entities,
    ) -> Option<ActionInfo> {
        let uid = self.action_uid(namespace, id)?;
        let applies = action.applies_to.as_ref();
        let context = applies.and_then(|applies| applies.context.as_ref());
        let types = |names: Option<&Vec<String>>| -> Vec<Kind> {
            names.into_iter().flatten().filter_map(|name| self.kinds.get(name).copied()).collect()
        };
        let (principals, resources) =
            (types(applies.map(|a| &a.principal_types)), types(applies.map(|a| &a.resource_types)));
        let groups = self.groups_of(namespace, action);
        Some(ActionInfo {
            name: id.into(),
            context: context.map_or(Some(RecordType::default()), |context| self.record(context))?,
            entities: groups
                .iter()
                .chain([&uid])
                .filter_map(|uid| entities.get(&uid.clone().into()))
                .map(|entity| Arc::new(entity.as_ref().clone()))
                .collect(),
            principals,
            resources,
            uid,
        })
    }

    /// The groups that an action is in, directly or not.
    fn groups_of(&mut self, namespace: &str, action: &Action) -> Vec<EntityUID> {
        let fragment: &'a Fragment = self.fragment;
        let parents = |namespace: &str, action: &Action| -> Vec<(String, String)> {
            let namespace_of = |parent: &ActionName| {
                let ty = parent.r#type.as_deref().map(|ty| ty.strip_suffix("Action").unwrap_or(ty));
                ty.map_or(namespace, |ty| ty.trim_end_matches("::")).to_owned()
            };
            action.member_of.iter().map(|parent| (namespace_of(parent), parent.id.clone())).collect()
        };
        let mut found: BTreeSet<(String, String)> = BTreeSet::new();
        let mut open = parents(namespace, action);
        while let Some((namespace, id)) = open.pop() {
            if found.insert((namespace.clone(), id.clone()))
                && let Some(group) = fragment.get(&namespace).and_then(|content| content.actions.get(&id))
            {
                open.extend(parents(&namespace, group));
            }
        }
        found.into_iter().filter_map(|(namespace, id)| self.action_uid(&namespace, &id)).collect()
    }

    fn action_uid(&mut self, namespace: &str, id: &str) -> Option<EntityUID> {
        let ty = self.checked(CedarType::from_normalized_str(&qualified(namespace, "Action")))?;
        Some(EntityUID::from_components(ty, Eid::new(id), None))
    }

    fn kind(&mut self, name: &str) -> Option<Kind> {
        let kind = self.kinds.get(name).copied();
        if kind.is_none() {
            self.fault(format!("unknown entity type `{name}`"), name);
        }
        kind
    }

    fn record(&mut self, ty: &ResolvedType) -> Option<RecordType> {
        let read = self.ty(ty)?;
        if let Type::Record(record) = read {
            return Some(record);
        }
        self.fault("a shape and a context have to be records".to_owned(), &ty.r#type);
        None
    }

    fn ty(&mut self, ty: &ResolvedType) -> Option<Type> {
        let name = ty.name.as_deref().unwrap_or_default();
        match (ty.r#type.as_str(), &ty.element) {
            ("Record", _) => self.attributes(&ty.attributes),
            ("Set", Some(element)) => Some(Type::Set(Box::new(self.ty(element)?))),
            ("Entity", _) => self.kind(name).map(Type::Entity),
            ("Extension", _) => self.named_type(name),
            (common, _) => self.named_type(common),
        }
    }

    fn attributes(&mut self, attributes: &BTreeMap<SmolStr, ResolvedAttribute>) -> Option<Type> {
        let mut read = BTreeMap::new();
        for (name, attribute) in attributes {
            let ty = self.ty(&attribute.ty)?;
            read.insert(name.clone(), Attribute { ty, required: attribute.required });
        }
        Some(Type::Record(RecordType(read)))
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
                self.fault(format!("unknown type `{name}`"), short);
                None
            }
        }
    }

    fn rules(&mut self, kind: &str, namespace: &str, ty: &EntityType, attributes: &RecordType) -> Rules {
        let mut rules = Rules::default();
        for (key, value) in &ty.annotations {
            let value = value.as_deref().unwrap_or_default();
            match key.as_str() {
                "member_of_one" => rules.member_of_one = self.member_of_one(namespace, ty, value),
                "only_member" => rules.only_member = self.only_member(kind, attributes, value),
                "doc" => {}
                _ => self.faults.push(
                    Fault::error(format!("the annotation `@{key}` on `{kind}` means nothing here"))
                        .help("the rules are `@member_of_one` and `@only_member`; `@doc` is for readers")
                        .at(find(self.source, &format!("@{key}"))),
                ),
            }
        }
        rules
    }

    fn member_of_one(&mut self, namespace: &str, ty: &EntityType, value: &str) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for name in value.split(',').map(str::trim) {
            let parent = ty
                .member_of_types
                .iter()
                .find(|parent| **parent == name || **parent == qualified(namespace, name));
            match parent.and_then(|parent| self.kinds.get(parent)) {
                Some(kind) => kinds.push(*kind),
                None => self
                    .fault(format!("`@member_of_one` names `{name}`, which is no parent type here"), value),
            }
        }
        kinds
    }

    fn only_member(&mut self, kind: &str, attributes: &RecordType, value: &str) -> Option<SmolStr> {
        let attribute = attributes.get(value);
        let fits =
            attribute.is_some_and(|attribute| attribute.required && matches!(attribute.ty, Type::Entity(_)));
        if !fits {
            self.fault(format!("`@only_member` on `{kind}` has to name a required attribute that holds an entity, `{value}` is none"), value);
        }
        fits.then(|| value.into())
    }

    fn fault(&mut self, message: String, near: &str) {
        self.faults.push(Fault::error(message).at(find(self.source, near)));
    }

    fn checked<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.faults.extend(unreadable(&error, self.source))).ok()
    }
}

/// Where a text stands first; Cedar's resolved form carries no positions.
fn find(source: &Arc<SourceText>, needle: &str) -> Option<Place> {
    source.text.find(needle).map(|offset| Place::new(source, offset, needle.len()))
}

fn qualified(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}::{name}") }
}

fn last_part(name: &str) -> SmolStr {
    format_smolstr!("{}", name.rsplit("::").next().unwrap_or(name))
}

fn short_and_full<T: Copy>(names: impl Iterator<Item = (T, (SmolStr, SmolStr))>) -> Names<T> {
    let names: Vec<_> = names.collect();
    let mut index: Names<T> = Names::default();
    for (it, (_, short)) in &names {
        index.entry(short.clone()).and_modify(|named| *named = Named::Several).or_insert(Named::One(*it));
    }
    // A full name always means itself, also where it equals another's short one.
    index.extend(names.into_iter().map(|(it, (full, _))| (full, Named::One(it))));
    index
}
