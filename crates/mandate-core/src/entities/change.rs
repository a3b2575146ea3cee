//! A change of entities, as sources hand it over. It is only data: `transaction.rs` stages it against a
//! store, and `apply.rs` decides whether it is accepted.

use super::packed::Entity;
use crate::diagnostics::SourceSpan;
use crate::schema::EntityUid;

/// An entity to insert or replace, and where it was read.
#[derive(Debug, Clone)]
pub struct EntityUpsert {
    pub entity: Entity,
    pub span: Option<SourceSpan>,
}

/// Entities to insert or replace, and entities to remove. Both are applied together; if an entity is in both
/// lists, it stays, as inserted.
///
/// ```
/// use mandate_core::diagnostics::SourceText;
/// use mandate_core::entities::{Entities, EntityChanges, LoadProgress, Origin, parse_entity_file};
/// use mandate_core::schema::Schema;
///
/// let text = SourceText::new("schema.cedarschema", "entity Team; entity User in [Team];");
/// let (schema, _warnings) = Schema::parse(&text)?;
/// let file = SourceText::new(
///     "staff.json",
///     r#"[{ "uid": { "type": "Team", "id": "a" }, "attrs": {}, "parents": [] },
///         { "uid": { "type": "User", "id": "eve" }, "attrs": {}, "parents": [{ "type": "Team", "id": "a" }] }]"#,
/// );
/// let upserts = parse_entity_file(&file, Origin(0), &schema, &LoadProgress::default())?;
/// let (team, user) = (upserts[0].entity.uid().to_owned(), upserts[1].entity.uid().to_owned());
/// let entities = Entities::default().apply(&EntityChanges { upserts, removals: Vec::new() }, &schema)?;
/// assert_eq!(entities.len(), 2);
///
/// // A change is accepted as a whole or not at all: the user would be left without its team.
/// let only_team = EntityChanges { upserts: Vec::new(), removals: vec![team.clone()] };
/// assert!(entities.apply(&only_team, &schema).is_err());
/// let both = EntityChanges { upserts: Vec::new(), removals: vec![team, user] };
/// assert!(entities.apply(&both, &schema)?.is_empty());
/// # Ok::<(), mandate_core::diagnostics::Diagnostics>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct EntityChanges {
    pub upserts: Vec<EntityUpsert>,
    pub removals: Vec<EntityUid>,
}
