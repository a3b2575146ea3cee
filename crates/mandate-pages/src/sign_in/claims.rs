//! From the claims of an ID token to entities: as whom somebody may act, and what the store should know of them. A value
//! of a claim becomes a part of an entity's id, so only plain ones are taken.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The claims of a verified ID token.
pub type Claims = Map<String, Value>;

/// An id with claims in it, such as `{oid}@{tid}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(String),
}

/// An entity that somebody who has signed in may act as.
#[derive(Debug, Clone)]
pub struct PrincipalRule {
    pub entity_type: String,
    pub id: Template,
    /// What is written at each sign-in; `None` if the entity has to be there already.
    pub attributes: Option<BTreeMap<String, AttributeRule>>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum AttributeRule {
    /// An entity that has to be there.
    Entity { entity_type: String, id: Template },
    /// A set of entities: what a claim's values stand for. Others are left out.
    Mapped { claim: String, entity_type: String, map: BTreeMap<String, String> },
}

/// Why a claim cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("the claim `{0}` is missing")]
    Missing(String),
    #[error(
        "the claim `{0}` has to be 1 to 128 letters, digits and `.`, `_`, `@` or `-`, to be part of an id"
    )]
    NotPlain(String),
}

const MAX_LENGTH: usize = 128;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "has to be an id with claims in braces, such as `{oid}@{tid}`";
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) = after.split_once('}').ok_or(WRONG)?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            if claim.is_empty() || !claim.bytes().all(is_name) {
                return Err(WRONG);
            }
            pieces.extend([Piece::Text(before.to_owned()), Piece::Claim(claim.to_owned())]);
            rest = after;
        }
        if rest.contains('}') || text.is_empty() {
            return Err(WRONG);
        }
        // Everybody would be the same entity.
        if pieces.is_empty() {
            return Err("names no claim: write one in braces, such as `{oid}`");
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The id for these claims.
    ///
    /// # Errors
    /// A claim is missing, or cannot be part of an id.
    pub fn fill(&self, claims: &Claims) -> Result<String, ClaimError> {
        let mut id = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => id.push_str(text),
                Piece::Claim(name) => id.push_str(plain(name, claims)?),
            }
        }
        Ok(id)
    }
}

fn plain<'c>(name: &str, claims: &'c Claims) -> Result<&'c str, ClaimError> {
    let value = claims.get(name).ok_or_else(|| ClaimError::Missing(name.to_owned()))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    let fits = |text: &&str| (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_plain);
    value.as_str().filter(fits).ok_or_else(|| ClaimError::NotPlain(name.to_owned()))
}

/// The ids that the values of a claim stand for.
pub fn mapped<'m>(claim: &str, map: &'m BTreeMap<String, String>, claims: &Claims) -> Vec<&'m str> {
    let values = match claims.get(claim) {
        Some(Value::Array(values)) => values.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let ids = values.iter().filter_map(|value| map.get(value.as_str()?)).map(String::as_str);
    ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// What somebody is called, by the usual claims.
pub fn shown_name(claims: &Claims) -> Option<String> {
    let text = |name: &str| claims.get(name)?.as_str();
    let found = ["preferred_username", "email", "name"].into_iter().find_map(text)?;
    let shown: String = found.chars().filter(|c| !c.is_control()).take(100).collect();
    Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_made_of_plain_claims() {
        let template = Template::parse("{oid}@{tid}").unwrap();
        let fill =
            |claims: Value| template.fill(claims.as_object().unwrap()).map_err(|error| error.to_string());
        assert_eq!(fill(json!({ "oid": "a-1", "tid": "B.c_d" })), Ok("a-1@B.c_d".to_owned()));
        let wrong = [
            json!({ "oid": "a" }),
            json!({ "oid": "", "tid": "b" }),
            json!({ "oid": "a\"b", "tid": "b" }),
            json!({ "oid": "a b", "tid": "b" }),
            json!({ "oid": "a/b", "tid": "b" }),
            json!({ "oid": "ä", "tid": "b" }),
            json!({ "oid": 1, "tid": "b" }),
            json!({ "oid": ["a"], "tid": "b" }),
            json!({ "oid": "a".repeat(129), "tid": "b" }),
        ];
        for claims in wrong {
            assert!(fill(claims.clone()).is_err(), "{claims}");
        }
    }

    #[test]
    fn templates_name_claims() {
        for wrong in ["", "fixed", "{", "{}", "a}", "{a b}", "{a}{"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_of_claims_stand_for_entities() {
        let map = BTreeMap::from(
            [("62e9", "global-administrator"), ("3a2c", "intune-administrator")]
                .map(|(value, id)| (value.to_owned(), id.to_owned())),
        );
        let cases = [
            (json!({ "wids": ["62e9", "other", "62e9"] }), vec!["global-administrator"]),
            (json!({ "wids": "3a2c" }), vec!["intune-administrator"]),
            (json!({ "wids": [1, null] }), vec![]),
            (json!({}), vec![]),
        ];
        for (claims, expected) in cases {
            assert_eq!(mapped("wids", &map, claims.as_object().unwrap()), expected);
        }
    }
}
