//! The bodies of requests that are reviewed by link, and what they ask for. The command line makes the same.

use mandate_core::display;
use mandate_core::json::quoted;
use mandate_core::schema::Unresolved;
use mandate_pdp::review_operation::{NewRequest, ReviewOperation};
use mandate_pdp::{Asked, View};
use mandate_store::EntityName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A request to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskBody {
    pub subject: EntityName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<EntityName>,
    #[serde(default)]
    pub context: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// A time such as `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<String>,
    /// Two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Who reviews a request, or takes it back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    pub subject: EntityName,
}

/// An action on what was accepted, by the name that people call it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManageBody {
    pub subject: EntityName,
    pub resource: EntityName,
    #[serde(rename = "do")]
    pub name: String,
}

impl AskBody {
    /// The operation that it asks for.
    ///
    /// # Errors
    /// What is wrong, for its sender.
    pub fn operation(self, view: &View<'_>) -> Result<ReviewOperation, String> {
        let Self { subject, resource, context, rule, valid_for, language } = self;
        let valid_for = valid_for.map(|text| {
            let wrong = "valid_for: has to be a time such as `7d` or `12h`, of at most 10 years";
            mandate_changes::parse_duration(&text).ok_or(wrong)
        });
        let is_language =
            |text: &String| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        if language.as_ref().is_some_and(|language| !is_language(language)) {
            return Err("language: has to be two letters, such as `de`".to_owned());
        }
        Ok(ReviewOperation::Ask(NewRequest {
            rule,
            requester: full_name(view, subject)?,
            resource: resource.map(|resource| full_name(view, resource)).transpose()?,
            context,
            valid_for: valid_for.transpose()?,
            language,
        }))
    }
}

impl ReviewBody {
    /// The operation that it asks for; `None` if there is no such verb.
    ///
    /// # Errors
    /// What is wrong, for its sender.
    pub fn operation(
        self,
        view: &View<'_>,
        link: &str,
        verb: &str,
    ) -> Result<Option<ReviewOperation>, String> {
        let (link, by) = (link.to_owned(), full_name(view, self.subject)?);
        Ok(Some(match verb {
            "accept" => ReviewOperation::Accept { link, reviewer: by },
            "decline" => ReviewOperation::Decline { link, reviewer: by },
            "withdraw" => ReviewOperation::Withdraw { link, by },
            _ => return Ok(None),
        }))
    }
}

impl ManageBody {
    /// The question that it asks.
    ///
    /// # Errors
    /// No rule of requests has an action of that name for the resource, or something else that is wrong.
    pub fn asked(self, view: &View<'_>) -> Result<Asked, String> {
        let schema = view.snapshot().schema();
        let (subject, resource) = (full_name(view, self.subject)?, full_name(view, self.resource)?);
        let created = schema.entity_type_by_full_name(&resource.entity_type);
        let rules = view.changes().requests().iter();
        let mut rules = rules.filter(|rule| created.is_some_and(|created| rule.created.contains(&created)));
        let action = rules.find_map(|rule| rule.managing(&self.name)).ok_or_else(|| {
            let (name, resource) = (quoted(&self.name), quoted(&resource.entity_type));
            format!("no rule of requests has {name} under `manage` for a {resource}")
        })?;
        Ok(Asked::new(subject, display::action(action, schema), resource))
    }
}

/// The name with the full type, by which requests are found.
///
/// # Errors
/// The schema has no such type, or several.
pub fn full_name(view: &View<'_>, name: EntityName) -> Result<EntityName, String> {
    let schema = view.snapshot().schema();
    let entity_type = schema.resolve_entity_type(&name.entity_type).map_err(|error| {
        let name = quoted(&name.entity_type);
        match error {
            Unresolved::Unknown => format!("the schema has no entity type {name}"),
            Unresolved::Ambiguous => {
                format!("several namespaces have an entity type {name}: write it with its namespace")
            }
        }
    })?;
    Ok(EntityName { entity_type: schema.entity_type(entity_type).name.to_string(), id: name.id })
}

/// The entity that a text such as `Customer::contoso` names.
///
/// # Errors
/// It is malformed, or as for [`full_name`].
pub fn named(view: &View<'_>, text: &str) -> Result<EntityName, String> {
    let (entity_type, id) = display::parse_type_and_id(text).map_err(|error| error.to_string())?;
    full_name(view, EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() })
}
