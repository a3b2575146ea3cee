//! A JSON tree that is strict where callers and files could deceive: keys are unique at every depth, also in
//! ignored fields. Strings without escapes are borrowed from the input. It is not a general JSON library: it
//! only reads. `value/reader.rs` reads values from it by their types.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value whose objects have unique keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number that fits Cedar's `Long`.
    Long(i64),
    /// Any other number: a fraction, an exponent, or out of `Long`'s range.
    OtherNumber,
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The members of a JSON object, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The value of `key`, if the object has it.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.0.iter().find_map(|(k, v)| (k == key).then_some(v))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every member, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(k, v)| (k.as_ref(), v))
    }
}

/// For members whose keys differ.
impl<'a> FromIterator<(Cow<'a, str>, Json<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Json<'a>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<'a> Json<'a> {
    /// The most levels of arrays and objects that can be read: the parser's own recursion limit.
    pub const MAX_DEPTH: usize = 127;

    /// Reads one JSON document with at most `levels` levels of arrays and objects.
    ///
    /// # Errors
    /// As for [`Self::parse`], or the text has more levels.
    pub fn parse_with_max_depth(text: &'a [u8], levels: usize) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let json = DepthLimit { left: levels, all: levels }.deserialize(&mut reader)?;
        reader.end().map(|()| json)
    }

    /// Reads one JSON document; anything after it is an error.
    ///
    /// # Errors
    /// The text is not JSON, nests deeper than [`Self::MAX_DEPTH`] levels, or repeats a key.
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        Self::parse_with_max_depth(text, Self::MAX_DEPTH)
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(bool) => Json::Bool(bool),
            Self::Long(long) => Json::Long(long),
            Self::OtherNumber => Json::OtherNumber,
            Self::String(text) => Json::String(Cow::Owned(text.into_owned())),
            Self::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(object) => Json::Object(
                object
                    .0
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The type of this value, with its article, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Long(_) => "a whole number",
            Self::OtherNumber => "a number that is not a 64-bit whole number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DepthLimit { left: Self::MAX_DEPTH, all: Self::MAX_DEPTH }.deserialize(deserializer)
    }
}

/// Reads a value with a limited number of levels.
#[derive(Clone, Copy)]
struct DepthLimit {
    left: usize,
    all: usize,
}

impl DepthLimit {
    /// The limit inside of an array or an object.
    fn nested<E: de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("more than {} levels", self.all)))?;
        Ok(Self { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for DepthLimit {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DepthLimit {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Long(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Long))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inside = self.nested()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inside = self.nested()?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        let mut seen = SeenKeys::default();
        while let Some(Key(key)) = map.next_key()? {
            if seen.is_duplicate(&members, &key) {
                return Err(de::Error::custom(format_args!("duplicate key {}", quoted(&key))));
            }
            members.push((key, map.next_value_seed(inside)?));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// Finds repeated keys: compares all while they are few, and uses a set from then on, so that a hostile
/// object of many keys does not take quadratic time.
#[derive(Default)]
struct SeenKeys(HashSet<String>);

impl SeenKeys {
    const MAX_LINEAR: usize = 16;

    fn is_duplicate(&mut self, members: &[(Cow<'_, str>, Json<'_>)], key: &str) -> bool {
        if members.len() < Self::MAX_LINEAR {
            return members.iter().any(|(k, _)| k == key);
        }
        if self.0.is_empty() {
            self.0.extend(members.iter().map(|(k, _)| k.to_string()));
        }
        !self.0.insert(key.to_owned())
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A caller's text for a message: in backticks, without control characters, cut if it is long.
pub fn quoted(text: &str) -> String {
    format!("`{}`", escape_and_truncate(text, 64))
}

/// Names for a message: each in backticks, with commas between them.
pub fn quoted_list<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A text from outside, without control characters, and cut after `longest` characters.
pub fn escape_and_truncate(text: &str, longest: usize) -> String {
    let mut shown: String = text.chars().take(longest).flat_map(escape_control).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

fn escape_control(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let error = Json::parse(text.as_bytes()).expect_err("must be refused").to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_depth() {
        refused(r#"{"a":1,"a":2}"#, "duplicate key `a` at line 1 column");
        refused(r#"{"x":[{"b":{"c":1,"\u0063":2}}]}"#, "duplicate key `c`");
    }

    #[test]
    fn duplicate_keys_are_found_among_many() {
        let many: Vec<String> = (0..40).map(|n| format!(r#""k{n}":{n}"#)).collect();
        assert!(Json::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        refused(&format!("{{{},\"k3\":0}}", many.join(",")), "duplicate key `k3`");
        refused(&format!("{{{},\"k39\":0}}", many.join(",")), "duplicate key `k39`");
    }

    #[test]
    fn depth_is_limited() {
        refused(&"[".repeat(100_000), "recursion limit");
        let within = |levels: usize, most| {
            let text = "[".repeat(levels - 1) + "{}" + &"]".repeat(levels - 1);
            Json::parse_with_max_depth(text.as_bytes(), most).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!((within(127, 127), within(3, 3), within(1, 1)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(within(4, 3), Err("more than 3 levels at line 1 column 5".to_owned()));
        assert!(within(128, 127).is_err());
    }

    #[test]
    fn only_whole_64_bit_numbers_are_longs() {
        let json = Json::parse(b"[1,-9223372036854775808,9223372036854775808,1.0,1e2]").unwrap();
        let numbers =
            [Json::Long(1), Json::Long(i64::MIN), Json::OtherNumber, Json::OtherNumber, Json::OtherNumber];
        assert_eq!(json, Json::Array(numbers.to_vec()));
    }

    #[test]
    fn quoting_cuts_and_escapes() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"é".repeat(70)), format!("`{}…`", "é".repeat(64)));
    }
}
