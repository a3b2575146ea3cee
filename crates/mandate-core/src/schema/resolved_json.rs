//! The resolved form of a schema, as Cedar writes it in JSON. `resolved.rs` turns it into tables.

use std::collections::BTreeMap;

use serde::Deserialize;
use smol_str::SmolStr;

pub type Fragment = BTreeMap<String, Namespace>;

/// The values of annotations, by name.
pub type Annotations = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    #[serde(default)]
    pub common_types: BTreeMap<String, ResolvedType>,
    #[serde(default)]
    pub entity_types: BTreeMap<String, EntityType>,
    #[serde(default)]
    pub actions: BTreeMap<String, Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityType {
    #[serde(default)]
    pub member_of_types: Vec<String>,
    pub shape: Option<ResolvedType>,
    pub tags: Option<ResolvedType>,
    pub r#enum: Option<Vec<SmolStr>>,
    #[serde(default)]
    pub annotations: Annotations,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    pub applies_to: Option<AppliesTo>,
    #[serde(default)]
    pub member_of: Vec<ActionName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliesTo {
    #[serde(default)]
    pub principal_types: Vec<String>,
    #[serde(default)]
    pub resource_types: Vec<String>,
    pub context: Option<ResolvedType>,
}

#[derive(Deserialize)]
pub struct ActionName {
    pub id: String,
    pub r#type: Option<String>,
}

#[derive(Deserialize)]
pub struct ResolvedType {
    pub r#type: String,
    pub name: Option<String>,
    pub element: Option<Box<ResolvedType>>,
    #[serde(default)]
    pub attributes: BTreeMap<SmolStr, ResolvedAttribute>,
}

#[derive(Deserialize)]
pub struct ResolvedAttribute {
    #[serde(flatten)]
    pub ty: ResolvedType,
    #[serde(default = "default_true")]
    pub required: bool,
    #[serde(default)]
    pub annotations: Annotations,
}

fn default_true() -> bool {
    true
}
