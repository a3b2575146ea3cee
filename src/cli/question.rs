//! A question from the command line, and why a sidecar on the same folder would deny it.

use std::path::Path;

use crate::error::CliError;
use mandate_core::decision::Suspension;
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity};
use mandate_sources::deny_all::DenyAllFile;

/// Calls `ask` with the question that arguments describe: `TYPE::ID`, the name of an action, and `NAME=VALUE` pairs.
///
/// # Errors
/// An argument is malformed, or those of `ask`.
pub fn with_question<T>(
    (principal, action, resource): (&str, &str, &str),
    context: &[String],
    ask: impl FnOnce(&Question<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let context = context_json(context)?;
    let context = Json::parse(context.as_bytes()).map_err(CliError::message)?;
    let named = |text| {
        let (entity_type, id) = display::parse_type_and_id(text).map_err(CliError::message)?;
        Ok::<_, CliError>(QuestionEntity { entity_type, id, properties: None })
    };
    let (principal, resource) = (named(principal)?, named(resource)?);
    let context = context.as_object();
    ask(&Question { principal, action, action_properties: None, resource, context })
}

/// The context as JSON, from `name=value` pairs.
pub fn context_json(pairs: &[String]) -> Result<String, CliError> {
    let mut object = serde_json::Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| CliError::message(format!("`{pair}` has to be `name=value`")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if object.insert(name.to_owned(), value).is_some() {
            return Err(CliError::message(format!("the context's `{name}` is given twice")));
        }
    }
    Ok(serde_json::Value::Object(object).to_string())
}

/// Why a sidecar on this policy folder would deny everything.
pub fn suspension(policies: &Path) -> Option<Suspension> {
    DenyAllFile::find(policies).reason(policies, None).map(|reason| Suspension::DenyAll(reason.into()))
}
