//! Compares what was denied with what is submitted or asked later: structurally, member by member, as the profile
//! defines it. The order of members and the spelling of numbers do not count; everything else does.

use serde_json::{Map, Number, Value};

/// Whether two values are the same.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => same_members(one, other),
        (one, other) => one == other,
    }
}

/// Whether two objects have the same of these members.
pub fn same_of(names: &[String], (one, other): (&Map<String, Value>, &Map<String, Value>)) -> bool {
    names.iter().all(|name| match (one.get(name), other.get(name)) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    })
}

fn same_members(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let has = |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| same(value, other));
    one.len() == other.len() && one.iter().all(has)
}

/// Whether two subjects are the same, apart from who acts for them: a caller may say that elsewhere.
pub fn same_subject(one: &Value, other: &Value) -> bool {
    same(&without_actor(one), &without_actor(other))
}

/// Numbers are the same if they are in their canonical form (RFC 8785), which is that of a double.
fn same_number(one: &Number, other: &Number) -> bool {
    #[expect(clippy::float_cmp, reason = "equal canonical forms are exactly equal doubles")]
    let same = |one: f64, other: f64| one == other;
    one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| same(one, other))
}

/// A subject without `properties.act`, and without properties if there are no others.
fn without_actor(subject: &Value) -> Value {
    let mut subject = subject.clone();
    if let Some(members) = subject.as_object_mut() {
        let is_empty =
            members.get_mut("properties").and_then(Value::as_object_mut).is_some_and(|properties| {
                properties.remove("act");
                properties.is_empty()
            });
        if is_empty {
            members.remove("properties");
        }
    }
    subject
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{same, same_subject};

    #[track_caller]
    fn check([one, other]: [Value; 2], expected: bool) {
        assert_eq!(same(&one, &other), expected, "{one} {other}");
        assert_eq!(same(&other, &one), expected, "{other} {one}");
    }

    #[test]
    fn values() {
        check([json!({ "a": 1, "b": [1, 2] }), json!({ "b": [1.0, 2e0], "a": 1 })], true);
        check([json!({ "a": 1 }), json!({ "a": 1, "b": null })], false);
        check([json!([1, 2]), json!([2, 1])], false);
        check([json!([1, 2]), json!([1, 2, 3])], false);
        check([json!("1"), json!(1)], false);
        check([json!(null), json!(false)], false);
        check([json!("\u{e9}"), json!("e\u{301}")], false);
        check([json!(1.5), json!(1.25)], false);
    }

    #[test]
    fn only_members_that_count_are_compared() {
        let (one, other) = (json!({ "a": 1, "x": 1 }), json!({ "a": 1, "b": 2, "y": 1 }));
        let members = |value: &Value| value.as_object().unwrap().clone();
        let same = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            super::same_of(&names, (&members(&one), &members(&other)))
        };
        assert!(same(&["a"]) && same(&[]) && same(&["a", "z"]));
        assert!(!same(&["a", "b"]) && !same(&["x"]));
    }

    #[test]
    fn an_actor_may_be_elsewhere() {
        let acting = json!({ "type": "User", "id": "a", "properties": { "act": { "sub": "agent" } } });
        let plain = json!({ "type": "User", "id": "a" });
        assert!(same_subject(&acting, &plain) && same_subject(&plain, &acting));
        let other = json!({ "type": "User", "id": "a", "properties": { "act": {}, "level": 1 } });
        assert!(!same_subject(&other, &plain));
    }
}
