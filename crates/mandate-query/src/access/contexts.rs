//! All contexts that a request for an action can have. An attribute has every value if its type has few:
//! booleans and entities of enumerated types. Other attributes have to be given, or are absent if they are
//! optional.

use smol_str::SmolStr;

use mandate_core::json::{Object, quoted};
use mandate_core::schema::{ActionDef, ActionId, Attribute, Schema, Type};
use mandate_core::value::{Completeness, Dialect, Record, Value, ValueReader};

/// The most contexts of one action.
const MAX_CONTEXTS: usize = 1_024;

/// The contexts of an action.
#[derive(Debug, Clone)]
pub struct ActionContexts {
    pub action: ActionId,
    pub contexts: Vec<Record>,
    /// The optional attributes with too many values to try all. They are absent in all contexts.
    pub untried: Vec<SmolStr>,
}

/// Why the contexts of an action cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The attribute has any number of values.
    #[error("the context of `{action}` has `{attribute}`, {expected}, so it has too many values to try all")]
    Open { action: SmolStr, attribute: SmolStr, expected: String },
    #[error("the context of `{action}` has more than {MAX_CONTEXTS} combinations of values")]
    TooMany { action: SmolStr },
    /// A given value does not fit the schema.
    #[error("the context of `{action}`, `{path}`: {message}")]
    Mismatch { action: SmolStr, path: String, message: String },
    /// No action has the attribute.
    #[error("no action has {0} in its context")]
    Unknown(String),
}

impl ActionContexts {
    /// The contexts of these actions. Attributes that are given have only the given value; optional attributes with
    /// too many values are absent unless they are given, and untried if no context is given at all.
    ///
    /// # Errors
    /// All attributes that have to be given, and all given values that do not fit.
    pub fn all(
        actions: &[ActionId],
        given: Option<&Object<'_>>,
        schema: &Schema,
    ) -> Result<Vec<Self>, Vec<ContextError>> {
        let (mut found, mut errors) = (Vec::new(), unknown_attributes(given, schema));
        for action in actions {
            match contexts(schema.action(*action), given, schema) {
                Ok((contexts, untried)) => found.push(Self { action: *action, contexts, untried }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }
}

fn unknown_attributes(given: Option<&Object<'_>>, schema: &Schema) -> Vec<ContextError> {
    let names = given.into_iter().flat_map(Object::iter).map(|(name, _)| name);
    let is_unknown =
        |name: &&str| schema.actions().all(|(_, action)| action.context_type.get(name).is_none());
    names.filter(is_unknown).map(|name| ContextError::Unknown(quoted(name))).collect()
}

fn contexts(
    action: &ActionDef,
    given: Option<&Object<'_>>,
    schema: &Schema,
) -> Result<(Vec<Record>, Vec<SmolStr>), ContextError> {
    let (mut contexts, mut untried) = (vec![given_values(action, given, schema)?], Vec::new());
    for (name, attribute) in action.context_type.iter() {
        if given.is_some_and(|given| given.get(name).is_some()) {
            continue;
        }
        let Some(values) = all_values(&attribute.ty, schema) else {
            if attribute.required {
                return Err(open(action, name, attribute, schema));
            }
            // Whoever gives a context has thought of the optional attributes.
            untried.extend(given.is_none().then(|| name.clone()));
            continue;
        };
        let absent = (!attribute.required).then_some(None);
        let values: Vec<Option<Value>> = values.into_iter().map(Some).chain(absent).collect();
        if contexts.len() * values.len() > MAX_CONTEXTS {
            return Err(ContextError::TooMany { action: action.name.clone() });
        }
        let with = |context: &Record, value: &Option<Value>| {
            context.with_overrides(&value.iter().map(|value| (name.clone(), value.clone())).collect())
        };
        contexts =
            contexts.iter().flat_map(|context| values.iter().map(|value| with(context, value))).collect();
    }
    Ok((contexts, untried))
}

fn given_values(
    action: &ActionDef,
    given: Option<&Object<'_>>,
    schema: &Schema,
) -> Result<Record, ContextError> {
    let Some(given) = given else { return Ok(Record::default()) };
    let mut reader = ValueReader::new(schema, Dialect::Request, "");
    let record = reader.record(given, &action.context_type, Completeness::Partial);
    reader.mismatches.into_iter().next().map_or(Ok(record), |mismatch| {
        let (path, message) = (mismatch.path, mismatch.message);
        Err(ContextError::Mismatch { action: action.name.clone(), path, message })
    })
}

/// All values of a type, if there are few.
fn all_values(ty: &Type, schema: &Schema) -> Option<Vec<Value>> {
    match ty {
        Type::Bool => Some([false, true].map(Value::Bool).to_vec()),
        Type::Entity(entity_type) => {
            Some(schema.enumerated_entities(*entity_type)?.map(Value::Entity).collect())
        }
        Type::Long | Type::String | Type::Set(_) | Type::Record(_) | Type::Extension(_) => None,
    }
}

fn open(action: &ActionDef, name: &SmolStr, attribute: &Attribute, schema: &Schema) -> ContextError {
    let expected = ValueReader::new(schema, Dialect::Request, "").expected(&attribute.ty);
    ContextError::Open { action: action.name.clone(), attribute: name.clone(), expected }
}

#[cfg(test)]
mod tests {
    use mandate_core::diagnostics::SourceText;
    use mandate_core::display;
    use mandate_core::json::Json;

    use super::*;

    /// The contexts of the first action of a schema, as people write them, or the errors.
    fn contexts(attributes: &str, given: Option<&str>) -> Result<Vec<String>, Vec<String>> {
        let text = format!(
            "entity U; entity Channel enum [\"api\", \"ui\"];
             action act appliesTo {{ principal: U, resource: U, context: {{ {attributes} }} }};"
        );
        let schema = Schema::parse(&SourceText::new("s.cedarschema", text)).unwrap().0;
        let given = given.map(|given| Json::parse(given.as_bytes()).unwrap());
        let actions: Vec<ActionId> = schema.actions().map(|(action, _)| action).collect();
        let all = ActionContexts::all(&actions, given.as_ref().and_then(Json::as_object), &schema);
        let show = |context: &Record| display::record(context, &schema);
        let shown = |all: &ActionContexts| {
            let untried = all.untried.iter().map(|name| [", untried: ", name].concat());
            let untried = untried.collect::<Vec<_>>().concat();
            all.contexts.iter().map(|context| show(context) + &untried).collect()
        };
        all.map(|all| shown(&all[0])).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(attributes: &str, given: Option<&str>, expected: &[&str]) {
        assert_eq!(contexts(attributes, given).unwrap(), expected);
    }

    #[track_caller]
    fn refused(attributes: &str, given: Option<&str>, expected: &[&str]) {
        assert_eq!(contexts(attributes, given).unwrap_err(), expected);
    }

    #[test]
    fn every_combination_of_few_values_is_listed() {
        check("", None, &[""]);
        check("channel: Channel", None, &["channel: api", "channel: ui"]);
        check("urgent?: Bool", None, &["urgent: false", "urgent: true", ""]);
        let both = ["channel: api, urgent: false", "channel: api, urgent: true"];
        check("channel: Channel, urgent: Bool", Some(r#"{"channel": "api"}"#), &both);
    }

    #[test]
    fn attributes_with_many_values_have_to_be_given() {
        let open = |attribute, expected| {
            format!(
                "the context of `act` has `{attribute}`, {expected}, so it has too many values to try all"
            )
        };
        refused("by: U", Some("{}"), &[&open("by", "an entity of type `U`")]);
        check("note?: String", None, &[", untried: note"]);
        check("note?: String, urgent: Bool", Some("{}"), &["urgent: false", "urgent: true"]);
        check("amount: Long", Some(r#"{"amount": 5}"#), &["amount: 5"]);
    }

    #[test]
    fn errors_are_all_found() {
        refused(
            "amount: Long",
            Some(r#"{"x": 1, "amount": "y"}"#),
            &[
                "no action has `x` in its context",
                "the context of `act`, `.amount`: expected a 64-bit whole number, found a string",
            ],
        );
        let many = (0..11).map(|n| format!("a{n}: Bool")).collect::<Vec<_>>().join(", ");
        refused(&many, None, &["the context of `act` has more than 1024 combinations of values"]);
    }
}
