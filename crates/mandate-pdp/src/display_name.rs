//! What an entity is called for people.

use mandate_core::Snapshot;
use mandate_core::schema::EntityUid;
use mandate_core::value::Value;
use mandate_store::EntityName;

/// The attribute with the name for people.
const ATTRIBUTE: &str = "displayName";

/// The longest name that is shown, in characters.
const MAX_LENGTH: usize = 100;

/// The attribute `displayName` of an entity if it has one, or else its id. Characters that are not shown, or that change
/// the direction of a text, are left out, so that a name cannot look like another text.
pub fn display_name(snapshot: &Snapshot, name: &EntityName) -> String {
    let schema = snapshot.schema();
    let find = || {
        let entity_type = schema.resolve_entity_type(&name.entity_type).ok()?;
        let uid = EntityUid { entity_type, id: name.id.as_str().into() };
        let data = snapshot.entities().get(uid.as_uid_ref())?.entity.unpack(schema);
        match data.attributes.get(ATTRIBUTE)? {
            Value::String(text) => Some(text.to_string()),
            _ => None,
        }
    };
    let shown = find().map(|text| plain(&text)).filter(|text| !text.is_empty());
    shown.unwrap_or_else(|| plain(&name.id))
}

/// A text without characters that are not shown.
fn plain(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control() && !is_format(*c)).take(MAX_LENGTH).collect();
    shown.trim().to_owned()
}

/// Whether a character only says how others are to be shown: marks of direction, joiners, tags.
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}'
            | '\u{061C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_cannot_turn_texts_around() {
        assert_eq!(plain("Fabrikam \u{202E}gnp.exe"), "Fabrikam gnp.exe");
        assert_eq!(plain(" \u{200B}a\u{0}b\n "), "ab");
        assert_eq!(plain("Zoë's “Café” <b>"), "Zoë's “Café” <b>");
        assert_eq!(plain(&"x".repeat(500)).len(), 100);
    }
}
