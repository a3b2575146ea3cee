//! What people read about a request, in one language. `{requester}`, `{resource}`, `{link}` and `{until}` stand for what
//! the request is about.

use std::collections::BTreeMap;

/// The texts of a rule in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// What is asked for, as a heading.
    pub title: String,
    /// Who asks for what, in a sentence.
    pub question: String,
    /// What accepting means, a sentence each.
    pub points: Vec<String>,
    /// More of these, while the member of the context with the name is true or present.
    pub points_if: BTreeMap<String, Vec<String>>,
    /// More of these, while it is false or missing.
    pub points_unless: BTreeMap<String, Vec<String>>,
    /// How it ends, in a sentence.
    pub ends: String,
    /// What the box says that has to be ticked.
    pub confirm: String,
    /// Who may accept: for those who may not.
    pub who: String,
    /// What the requesters' types are called, by type.
    pub types: BTreeMap<String, String>,
    /// What the members of the context are called, by name.
    pub context: BTreeMap<String, String>,
    /// What `manage` does, by its names.
    pub manage: BTreeMap<String, String>,
    /// The e-mail that brings the link.
    pub email_subject: String,
    pub email_body: String,
}

/// The values of the placeholders of a text.
pub type Placeholders<'a> = [(&'a str, &'a str)];

impl Texts {
    /// No texts.
    pub const fn none() -> Self {
        Self {
            title: String::new(),
            question: String::new(),
            points: Vec::new(),
            points_if: BTreeMap::new(),
            points_unless: BTreeMap::new(),
            ends: String::new(),
            confirm: String::new(),
            who: String::new(),
            types: BTreeMap::new(),
            context: BTreeMap::new(),
            manage: BTreeMap::new(),
            email_subject: String::new(),
            email_body: String::new(),
        }
    }

    /// What accepting means for this context.
    pub fn points_for(&self, context: &serde_json::Map<String, serde_json::Value>) -> Vec<&str> {
        let is_set =
            |name: &String| !matches!(context.get(name), None | Some(serde_json::Value::Bool(false)));
        let some = self.points_if.iter().filter(|(name, _)| is_set(name));
        let others = self.points_unless.iter().filter(|(name, _)| !is_set(name));
        let more = some.chain(others).flat_map(|(_, points)| points);
        self.points.iter().chain(more).map(String::as_str).collect()
    }
}

/// A text with the values of its placeholders. Values are put in once, so a value that looks like a placeholder stays.
///
/// ```
/// let text = mandate_changes::fill("{who} asks {whom} {x}", &[("who", "{whom}"), ("whom", "you")]);
/// assert_eq!(text, "{whom} asks you {x}");
/// ```
pub fn fill(text: &str, values: &Placeholders<'_>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}
