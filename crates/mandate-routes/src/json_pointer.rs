//! JSON pointers (RFC 6901), as routes use them. They refuse a value that another decoder might read
//! differently: a key in two spellings, or one item of several. The documents are read in `request_values`.

use std::fmt;

use mandate_core::json::{Json, Object, quoted};

/// The keys on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPointer(Vec<String>);

/// A text that is not a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a JSON pointer: it has to begin with `/`, as in `/partner/id`", quoted(.0))]
pub(crate) struct InvalidPointer(String);

/// Why it is not certain what another decoder finds at a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    #[error("is ambiguous: a key differs only in upper and lower case, or in its form of a letter")]
    OtherSpelling,
    #[error("is ambiguous: the array has more than one item")]
    SeveralItems,
    #[error("cannot be found: the array has no such item")]
    NoSuchItem,
    #[error("cannot be found: it has to be in an object, found {0}")]
    NotInAnObject(&'static str),
}

impl JsonPointer {
    pub fn parse(text: &str) -> Result<Self, InvalidPointer> {
        let keys = text.strip_prefix('/').ok_or_else(|| InvalidPointer(text.to_owned()))?;
        Ok(Self(keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// The value in a document that the client sent; `None` if an object on the way does not have the key.
    ///
    /// # Errors
    /// A key is present in another spelling, or an index chooses one of several items: the service behind the
    /// gateway may ignore case, and acts on all items of an array. Or there is no object that could have the
    /// key: the service may then read the document in another way.
    pub fn resolve<'j, 'a>(&self, json: &'j Json<'a>) -> Result<Option<&'j Json<'a>>, PointerError> {
        let mut at = json;
        for key in &self.0 {
            match step(at, key)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The value in an object that the gateway made, by the exact keys.
    pub fn resolve_exactly<'j, 'a>(&self, object: &'j Object<'a>) -> Option<&'j Json<'a>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(object.get(first)?, |json, key| json.as_object()?.get(key))
    }
}

fn step<'j, 'a>(json: &'j Json<'a>, key: &str) -> Result<Option<&'j Json<'a>>, PointerError> {
    match json {
        Json::Object(object) => {
            if object.iter().any(|(other, _)| other != key && is_equal_ignoring_case(other, key)) {
                return Err(PointerError::OtherSpelling);
            }
            Ok(object.get(key))
        }
        Json::Array(items) => match (key.parse::<usize>(), items.as_slice()) {
            (Ok(0), [only]) => Ok(Some(only)),
            (Ok(index), _) if index < items.len() => Err(PointerError::SeveralItems),
            (Ok(_), _) => Err(PointerError::NoSuchItem),
            (Err(_), _) => Err(PointerError::NotInAnObject(json.describe())),
        },
        Json::Null | Json::Bool(_) | Json::Long(_) | Json::OtherNumber | Json::String(_) => {
            Err(PointerError::NotInAnObject(json.describe()))
        }
    }
}

/// Whether a decoder that ignores case may treat two keys as the same.
fn is_equal_ignoring_case(one: &str, other: &str) -> bool {
    folded(one).eq(folded(other))
}

/// The key in upper and then in lower case, which makes ASCII letters of the long s, the dotless i and the
/// Kelvin sign. Fullwidth letters become ASCII as well, and the dot is removed that `İ` leaves behind.
fn folded(key: &str) -> impl Iterator<Item = char> {
    const COMBINING_DOT_ABOVE: char = '\u{307}';
    let cases = key.chars().map(narrow).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    cases.filter(|c| *c != COMBINING_DOT_ABOVE)
}

/// The ASCII character of a fullwidth one.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|key| write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonPointer, PointerError};
    use mandate_core::json::Json;

    #[track_caller]
    fn check(pointer: &str, json: &str, expected: Result<Option<&str>, PointerError>) {
        let json = Json::parse(json.as_bytes()).unwrap();
        let pointer = JsonPointer::parse(pointer).unwrap();
        let found = pointer.resolve(&json);
        let expected = expected.map(|text| text.map(|text| Json::String(text.into())));
        assert_eq!(found, expected.as_ref().map(Option::as_ref).map_err(|error| *error), "{pointer}");
    }

    #[test]
    fn keys_are_unescaped_and_shown_as_they_were_written() {
        check("/a~1b/~0", r#"{"a/b":{"~":"x"}}"#, Ok(Some("x")));
        check("/~01", r#"{"~1":"x"}"#, Ok(Some("x")));
        assert_eq!(JsonPointer::parse("/a~1b/~01").unwrap().to_string(), "/a~1b/~01");
        let error = JsonPointer::parse("a/b").unwrap_err().to_string();
        assert_eq!(error, "`a/b` is not a JSON pointer: it has to begin with `/`, as in `/partner/id`");
    }

    #[test]
    fn a_value_is_absent_only_in_an_object() {
        for json in [r#"{"b":"x"}"#, r#"{"a":{}}"#] {
            check("/a/b", json, Ok(None));
        }
        for (json, found) in [
            (r#""a""#, "a string"),
            ("[]", "an array"),
            ("null", "null"),
            (r#"{"a":"x"}"#, "a string"),
            (r#"[{"a":{"b":"x"}}]"#, "an array"),
        ] {
            check("/a/b", json, Err(PointerError::NotInAnObject(found)));
        }
    }

    #[test]
    fn keys_in_two_spellings_are_ambiguous() {
        let spelling = Err(PointerError::OtherSpelling);
        check("/is-key", r#"{"is-key":"x","IS-key":"y"}"#, spelling);
        check("/is-key", r#"{"IS-KEY":"y"}"#, spelling);
        check("/is-key", "{\"i\u{17f}-key\":\"y\"}", spelling);
        check("/is-key", "{\"is-\u{212a}ey\":\"y\"}", spelling);
        for other in
            ["\u{131}s-key", "\u{130}s-key", "I\u{307}s-key", "\u{ff49}s-key", "\u{ff29}S-\u{ff2b}EY"]
        {
            check("/is-key", &format!("{{\"{other}\":\"y\"}}"), spelling);
        }
        check("/STRASSE", "{\"stra\u{df}e\":\"y\"}", spelling);
        check("/is-key", r#"{"is-key":"x","is_key":"y"}"#, Ok(Some("x")));
    }

    #[test]
    fn an_index_counts_only_in_an_array_of_one_item() {
        check("/0", r#"["x"]"#, Ok(Some("x")));
        check("/1", r#"["x"]"#, Err(PointerError::NoSuchItem));
        check("/0", "[]", Err(PointerError::NoSuchItem));
        check("/0", r#"["x","y"]"#, Err(PointerError::SeveralItems));
        check("/1", r#"["x","y"]"#, Err(PointerError::SeveralItems));
        check("/2", r#"["x","y"]"#, Err(PointerError::NoSuchItem));
    }

    #[test]
    fn what_the_gateway_made_is_found_by_exact_keys() {
        let json = Json::parse(br#"{"a":{"b":"x","B":"y"}}"#).unwrap();
        let found = |pointer| JsonPointer::parse(pointer).unwrap().resolve_exactly(json.as_object().unwrap());
        assert_eq!(found("/a/b"), Some(&Json::String("x".into())));
        assert_eq!((found("/A/b"), found("/a/b/c")), (None, None));
    }
}
