//! Explanations as JSON: the chains of memberships behind a permit, or the facts that are missing for one.
//! They are found in `mandate_query::explain`; the answer around them is in `wire`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use mandate_core::decision::Decision;
use mandate_core::policies::PolicyInfo;
use mandate_core::schema::{EntityUid, Schema};
use mandate_core::value::Value;
use mandate_query::explain::{
    AttributeOwner, AttributePath, Explanation, Modification, Repair, RepairLocation, types_between,
};

/// The reason for a decision, and for a denial the facts that would turn it into a permit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExplanationJson<'d> {
    outcome: &'static str,
    #[serde(serialize_with = "serialize_policy_ids")]
    #[schemars(with = "Vec<String>")]
    policies: &'d [Arc<PolicyInfo>],
    #[serde(flatten)]
    detail: ExplanationDetail,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum ExplanationDetail {
    Permit { chains: Vec<Vec<EntityReference>> },
    Denial { missing: Vec<Vec<Fact>>, complete: bool },
}

#[derive(Debug, Serialize, JsonSchema)]
struct EntityReference {
    r#type: String,
    id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "fact", rename_all = "snake_case")]
enum Fact {
    /// `through` has the types between the two, on the shortest path that the schema allows.
    Member { entity: EntityReference, of: EntityReference, through: Vec<String> },
    /// A direct membership that has to be removed.
    NotMember { entity: EntityReference, of: EntityReference },
    Attribute {
        entity: EntityReference,
        path: String,
        #[serde(flatten)]
        wanted: RequiredValue,
    },
    Context {
        path: String,
        #[serde(flatten)]
        wanted: RequiredValue,
    },
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RequiredValue {
    Value(serde_json::Value),
    /// Any value except these.
    NoneOf(Vec<serde_json::Value>),
    Present(bool),
    Includes(serde_json::Value),
    Excludes(serde_json::Value),
}

impl<'d> ExplanationJson<'d> {
    pub fn new(decision: &'d Decision, explanation: &Explanation, schema: &Schema) -> Self {
        let detail = match explanation {
            Explanation::Permit { chains } => {
                let chain = |chain: &Vec<EntityUid>| chain.iter().map(|it| name(it, schema)).collect();
                ExplanationDetail::Permit { chains: chains.iter().map(chain).collect() }
            }
            Explanation::Denial { missing, complete } => {
                let set = |repair: &Repair| {
                    repair
                        .iter()
                        .map(|(location, modification)| fact(location, modification, schema))
                        .collect()
                };
                ExplanationDetail::Denial { missing: missing.iter().map(set).collect(), complete: *complete }
            }
        };
        Self { outcome: decision.outcome.as_str(), policies: decision.reported_policies(), detail }
    }
}

/// Writes policies as their ids.
pub(super) fn serialize_policy_ids<S: Serializer>(
    policies: &[Arc<PolicyInfo>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(policies.iter().map(|policy| policy.id.as_str()))
}

fn fact(location: &RepairLocation, modification: &Modification, schema: &Schema) -> Fact {
    match location {
        RepairLocation::Membership(entity, of) => {
            let (entity_name, of_name) = (name(entity, schema), name(of, schema));
            if *modification == Modification::Remove {
                return Fact::NotMember { entity: entity_name, of: of_name };
            }
            let through = types_between(schema, entity.entity_type, of.entity_type).into_iter();
            let through =
                through.map(|entity_type| schema.entity_type(entity_type).name.to_string()).collect();
            Fact::Member { entity: entity_name, of: of_name, through }
        }
        RepairLocation::Value(attribute_path) => {
            attribute_fact(attribute_path, required_value(modification, schema), schema)
        }
        RepairLocation::Element(attribute_path, element) => {
            let element = value(element, schema);
            let goes = *modification == Modification::Remove;
            attribute_fact(
                attribute_path,
                if goes { RequiredValue::Excludes(element) } else { RequiredValue::Includes(element) },
                schema,
            )
        }
    }
}

fn attribute_fact(attribute_path: &AttributePath, wanted: RequiredValue, schema: &Schema) -> Fact {
    let path = attribute_path.path.join(".");
    match &attribute_path.owner {
        AttributeOwner::Context => Fact::Context { path, wanted },
        AttributeOwner::Entity(entity) => Fact::Attribute { entity: name(entity, schema), path, wanted },
    }
}

fn required_value(modification: &Modification, schema: &Schema) -> RequiredValue {
    match modification {
        Modification::SetTo(it) => RequiredValue::Value(value(it, schema)),
        Modification::SetToAnyExcept(not) if not.is_empty() => RequiredValue::Present(true),
        Modification::SetToAnyExcept(not) => {
            RequiredValue::NoneOf(not.iter().map(|it| value(it, schema)).collect())
        }
        Modification::Unset | Modification::Add | Modification::Remove => RequiredValue::Present(false),
    }
}

fn name(entity: &EntityUid, schema: &Schema) -> EntityReference {
    EntityReference {
        r#type: schema.entity_type(entity.entity_type).name.to_string(),
        id: entity.id.to_string(),
    }
}

/// A value as a caller writes it in a request.
fn value(of: &Value, schema: &Schema) -> serde_json::Value {
    match of {
        Value::Bool(bool) => (*bool).into(),
        Value::Long(long) => (*long).into(),
        Value::String(text) | Value::Extension(_, text) => text.as_str().into(),
        Value::Entity(entity) if schema.entity_type(entity.entity_type).enum_ids.is_some() => {
            entity.id.as_str().into()
        }
        Value::Entity(entity) => {
            serde_json::json!({ "type": schema.entity_type(entity.entity_type).name.as_str(), "id": entity.id.as_str() })
        }
        Value::Set(items) => items.iter().map(|item| value(item, schema)).collect(),
        Value::Record(record) => {
            record.iter().map(|(name, member)| (name.to_string(), value(member, schema))).collect()
        }
    }
}
