//! JSON in one spelling: the members of objects are in the order of their names, and there are no spaces. So texts are
//! equal where values are, whatever the order in which somebody wrote them.

use serde_json::{Map, Value};

/// The value in one spelling.
///
/// ```
/// let text = |json: &str| mandate_pdp::canonical_json(&serde_json::from_str(json).expect("JSON"));
/// assert_eq!(text(r#"{ "b": [1, {}], "a": "é" }"#), r#"{"a":"é","b":[1,{}]}"#);
/// ```
pub fn canonical_json(value: &Value) -> String {
    sorted(value).to_string()
}

/// As [`canonical_json`], for the members of an object.
pub(crate) fn canonical_object(members: &Map<String, Value>) -> String {
    Value::Object(sorted_members(members)).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(members) => Value::Object(sorted_members(members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn sorted_members(members: &Map<String, Value>) -> Map<String, Value> {
    let mut names: Vec<&String> = members.keys().collect();
    names.sort();
    names.into_iter().filter_map(|name| Some((name.clone(), sorted(members.get(name)?)))).collect()
}
