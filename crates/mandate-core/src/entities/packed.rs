//! One entity in one allocation: its uid, parents, attributes and tags as bytes, because millions of them
//! have to fit in memory. Equal bytes are equal entities. The bytes are never written to a file or the
//! network: they hold the schema's numbers of entity types and attribute names. `codec.rs` reads and writes
//! them.

use std::fmt;

use triomphe::ThinArc;

use super::codec::{CorruptEntity, Packer, Parents, Unpacker};
use crate::digest::Digest;
use crate::moment::Moment;
use crate::schema::{EntityTypeId, EntityUid, EntityUidRef, Schema};
use crate::value::Record;

/// The source (for example, the file) that an entity came from. Two origins may not define the same uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Origin(pub u32);

impl Origin {
    /// The origin of entities that no file defines: those of a store, which is the only source then.
    pub const STORE: Self = Self(0);
}

/// An entity as people write it, to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityData {
    pub uid: EntityUid,
    pub attributes: Record,
    pub tags: Record,
    /// Direct parents; sorted, without repetition.
    pub parents: Vec<EntityUid>,
}

/// An entity as it is stored. Only [`Entity::pack`] makes one, and nothing changes its bytes.
///
/// What decisions read of it returns [`CorruptEntity`] if the bytes cannot be decoded, so that the decision
/// fails. The other functions rely on `pack`, and panic instead of inventing a value.
#[derive(Clone)]
pub struct Entity(ThinArc<Header, u8>);

#[derive(Clone, Copy)]
struct Header {
    entity_type: EntityTypeId,
    origin: Origin,
}

impl Entity {
    /// Packs an entity that was read by this schema. Attributes that no entity type of the schema has are
    /// left out: no policy can read them.
    pub fn pack(entity: &EntityData, origin: Origin, schema: &Schema) -> Self {
        let mut packer = Packer::new(schema);
        packer.text(&entity.uid.id);
        packer.parents(&entity.parents);
        packer.record(&entity.attributes);
        packer.tags(&entity.tags);
        Self::from_bytes(entity.uid.entity_type, origin, &packer.bytes)
    }

    /// Bytes that [`Packer`] wrote.
    fn from_bytes(entity_type: EntityTypeId, origin: Origin, bytes: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice(Header { entity_type, origin }, bytes))
    }

    /// The entity as people write it.
    pub fn unpack(&self, schema: &Schema) -> EntityData {
        let parents = self.parents().map(EntityUidRef::to_owned).collect();
        let (attributes, tags) = as_packed(self.attributes_and_tags(schema));
        EntityData { uid: self.uid().to_owned(), attributes, tags, parents }
    }

    /// The attributes and the tags.
    ///
    /// # Errors
    /// The bytes cannot be decoded by this schema.
    pub fn attributes_and_tags(&self, schema: &Schema) -> Result<(Record, Record), CorruptEntity> {
        let mut bytes = self.skip_to_attributes(schema)?;
        let attributes = bytes.record(schema)?;
        let tags = bytes.tags(schema)?;
        bytes.end().map(|()| (attributes, tags))
    }

    pub fn uid(&self) -> EntityUidRef<'_> {
        let id = as_packed(Unpacker::new(&self.0.slice).text());
        EntityUidRef { entity_type: self.0.header.header.entity_type, id }
    }

    /// Whether this is its uid; faster than comparing with [`Self::uid`].
    pub(super) fn has_uid(&self, uid: EntityUidRef<'_>) -> bool {
        let mut bytes = Unpacker::new(&self.0.slice);
        self.0.header.header.entity_type == uid.entity_type && bytes.text_bytes() == Ok(uid.id.as_bytes())
    }

    pub fn origin(&self) -> Origin {
        self.0.header.header.origin
    }

    /// Whether both are the same entity with the same content, wherever they come from.
    pub fn same_content(&self, other: &Self) -> bool {
        self.0.header.header.entity_type == other.0.header.header.entity_type && self.0.slice == other.0.slice
    }

    /// Whether both have the same attributes and tags.
    pub(super) fn same_values(&self, other: &Self, schema: &Schema) -> bool {
        let [own, others] = [self, other].map(|entity| as_packed(entity.skip_to_attributes(schema)).rest());
        own == others
    }

    /// Direct parents; sorted, without repetition.
    pub fn parents(&self) -> impl Iterator<Item = EntityUidRef<'_>> {
        Parents::of(Unpacker::new(&self.0.slice)).map(as_packed)
    }

    /// Direct parents, for decisions: a parent that cannot be decoded by this schema is an error, and the
    /// last item.
    pub(crate) fn try_parents(&self, schema: &Schema) -> Parents<'_> {
        Parents::of(Unpacker::with_schema(&self.0.slice, schema))
    }

    /// The entity that an attribute names; `None` if the attribute is absent or holds no entity.
    pub fn entity_attribute(&self, name: &str, schema: &Schema) -> Option<EntityUidRef<'_>> {
        as_packed(self.try_entity_attribute(name, schema))
    }

    /// From when on the entity has no members, by the attribute that its type has for that; `None` if it always has
    /// them.
    ///
    /// # Errors
    /// The bytes cannot be decoded by this schema.
    pub(crate) fn try_end(&self, schema: &Schema) -> Result<Option<Moment>, CorruptEntity> {
        let of_type = schema.entity_type(self.0.header.header.entity_type);
        let symbol = of_type.valid_until.as_ref().and_then(|name| schema.symbol(name));
        let Some(symbol) = symbol else { return Ok(None) };
        let mut bytes = self.skip_to_attributes(schema)?;
        for _ in 0..bytes.varint()? {
            if bytes.varint()? == symbol {
                let end = bytes.date_time()?;
                return Moment::from_cedar(end).map(Some).ok_or(CorruptEntity);
            }
            bytes.skip_value(&mut |_| {})?;
        }
        Ok(None)
    }

    fn try_entity_attribute(
        &self,
        name: &str,
        schema: &Schema,
    ) -> Result<Option<EntityUidRef<'_>>, CorruptEntity> {
        let Some(symbol) = schema.symbol(name) else { return Ok(None) };
        let mut bytes = self.skip_to_attributes(schema)?;
        if bytes.skip_to_attribute(symbol)? { bytes.entity_value() } else { Ok(None) }
    }

    /// Whether the entity has an attribute.
    pub fn has_attribute(&self, name: &str, schema: &Schema) -> bool {
        as_packed(self.try_has_attribute(name, schema))
    }

    fn try_has_attribute(&self, name: &str, schema: &Schema) -> Result<bool, CorruptEntity> {
        let Some(symbol) = schema.symbol(name) else { return Ok(false) };
        let mut bytes = self.skip_to_attributes(schema)?;
        bytes.skip_to_attribute(symbol)
    }

    /// Calls `found` for every entity that attributes and tags name, at any depth.
    ///
    /// # Errors
    /// The bytes cannot be decoded by this schema.
    pub fn for_each_reference<'a>(
        &'a self,
        schema: &Schema,
        found: &mut impl FnMut(EntityUidRef<'a>),
    ) -> Result<(), CorruptEntity> {
        let mut bytes = self.skip_to_attributes(schema)?;
        bytes.skip_record(found)?;
        for _ in 0..bytes.varint()? {
            bytes.text_bytes()?;
            bytes.skip_value(found)?;
        }
        Ok(())
    }

    /// The digest of the content: the same on every machine that has the same schema.
    pub(super) fn digest(&self, schema: &Schema) -> Digest {
        let name = &schema.entity_type(self.0.header.header.entity_type).name;
        Digest::of([name.as_bytes(), &self.0.slice])
    }

    fn skip_to_attributes(&self, schema: &Schema) -> Result<Unpacker<'_>, CorruptEntity> {
        let mut bytes = Unpacker::with_schema(&self.0.slice, schema);
        bytes.text_bytes()?;
        for _ in 0..bytes.varint()? {
            bytes.uid()?;
        }
        Ok(bytes)
    }
}

/// What [`Entity::pack`] wrote can be read.
#[expect(
    clippy::panic,
    reason = "only `pack` makes the bytes; an invented value would be worse than a crash"
)]
fn as_packed<T>(read: Result<T, CorruptEntity>) -> T {
    match read {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entity({:?})", self.uid())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decide::DecideError;
    use crate::diagnostics::SourceText;
    use crate::entities::{Entities, EntityChanges, EntityUpsert};
    use crate::json::Json;
    use crate::policies::Policies;
    use crate::request::{Question, QuestionEntity};
    use crate::snapshot::{RequestConfig, Snapshot};

    const SCHEMA: &str = r#"
        entity Role enum ["a", "b"];
        entity Team in [Team];
        entity User in [Team] = {
            name: String, on: Bool, age: Long, boss: User, roles: Set<Role>, home: { no: Long, street: String },
            ip: ipaddr, worth: decimal, born: datetime, shift: duration,
        } tags Set<String>;
        action see appliesTo { principal: User, resource: Team };
    "#;

    fn schema() -> Arc<Schema> {
        Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0)
    }

    fn user(schema: &Schema) -> EntityData {
        let name = "n".repeat(200);
        let text = format!(
            r#"{{ "uid": {{ "type": "User", "id": "eve" }}, "parents": [{{ "type": "Team", "id": "t" }}], "attrs": {{
                "name": "{name}", "on": true, "age": -3, "boss": {{ "type": "User", "id": "bob" }},
                "roles": [{{ "type": "Role", "id": "a" }}, {{ "type": "Role", "id": "b" }}],
                "home": {{ "no": 7, "street": "s" }}, "ip": "::1", "worth": "1.5", "born": "2026-11-24",
                "shift": "8h" }}, "tags": {{ "x": ["1", "2"] }} }}"#
        );
        crate::entities::parse_entity_json(&Json::parse(text.as_bytes()).unwrap(), schema).unwrap()
    }

    /// Bytes like those of the entity, with one byte flipped in every way, and cut at every length.
    fn broken(entity: &Entity) -> impl Iterator<Item = Vec<u8>> + use<> {
        let bytes = entity.0.slice.to_vec();
        let flips = (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
        let whole = bytes.clone();
        let flipped = flips.map(move |(at, bit)| {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            flipped
        });
        let longer = [bytes.as_slice(), &[0]].concat();
        flipped.chain((0..bytes.len()).map(move |length| bytes[..length].to_vec())).chain([longer])
    }

    fn try_unpack(entity: &Entity, schema: &Schema) -> Result<EntityData, CorruptEntity> {
        Unpacker::new(&entity.0.slice).text()?;
        let parents = entity.try_parents(schema).map(|parent| parent.map(EntityUidRef::to_owned));
        let parents = parents.collect::<Result<_, _>>()?;
        let (attributes, tags) = entity.attributes_and_tags(schema)?;
        Ok(EntityData { uid: entity.uid().to_owned(), attributes, tags, parents })
    }

    #[test]
    fn unpacks_what_was_packed() {
        let (schema, mut found) = (schema(), Vec::new());
        let data = user(&schema);
        let entity = Entity::pack(&data, Origin(3), &schema);
        assert_eq!(entity.unpack(&schema), data);
        assert_eq!(entity.origin(), Origin(3));
        assert!(entity.has_uid(data.uid.as_uid_ref()));
        assert_eq!(entity.parents().map(EntityUidRef::to_owned).collect::<Vec<_>>(), data.parents);
        assert_eq!(entity.entity_attribute("boss", &schema).map(|boss| boss.id), Some("bob"));
        for other in ["name", "home", "absent"] {
            assert_eq!(entity.entity_attribute(other, &schema), None, "{other}");
            assert_eq!(entity.has_attribute(other, &schema), other != "absent", "{other}");
        }
        entity.for_each_reference(&schema, &mut |uid| found.push(uid.id.to_owned())).unwrap();
        assert_eq!(found, ["bob", "a", "b"]);
    }

    #[test]
    fn corrupt_bytes_are_errors_or_other_bytes_of_an_entity_but_never_invented() {
        let schema = schema();
        let entity = Entity::pack(&user(&schema), Origin(0), &schema);
        let mut errors = 0;
        for bytes in broken(&entity) {
            let broken = Entity::from_bytes(entity.0.header.header.entity_type, Origin(0), &bytes);
            let references = broken.for_each_reference(&schema, &mut |_| {});
            match try_unpack(&broken, &schema) {
                // What can be read is exactly what the bytes say: a flipped bit in a text is another text.
                Ok(data) => assert_eq!(Entity::pack(&data, Origin(0), &schema).0.slice, bytes),
                Err(CorruptEntity) => errors += 1,
            }
            if bytes.len() < entity.0.slice.len() {
                assert!(
                    try_unpack(&broken, &schema).is_err() && references.is_err(),
                    "cut at {}",
                    bytes.len()
                );
            }
        }
        assert!(errors > entity.0.slice.len(), "{errors}");
    }

    #[test]
    fn no_decision_is_made_on_a_corrupt_entity() {
        let schema = schema();
        let policies = "permit (principal, action, resource);
            forbid (principal, action, resource) when { principal in resource };";
        let policies = [SourceText::new("p.cedar", policies)];
        let policies = Arc::new(Policies::parse(&policies, Arc::clone(&schema)).unwrap().0);
        let data = user(&schema);
        let entity = Entity::pack(&data, Origin(0), &schema);
        let team = EntityData {
            uid: data.parents[0].clone(),
            attributes: Record::default(),
            tags: Record::default(),
            parents: Vec::new(),
        };
        let upserts = [Entity::pack(&team, Origin(0), &schema), entity.clone()]
            .map(|entity| EntityUpsert { entity, span: None })
            .to_vec();
        let entities = EntityChanges { upserts, removals: Vec::new() };
        let snapshot = Snapshot::new(policies, &RequestConfig::default()).unwrap().apply(&entities).unwrap();
        let named = |entity_type, id| QuestionEntity { entity_type, id, properties: None };
        let question = Question {
            principal: named("User", "eve"),
            action: "see",
            action_properties: None,
            resource: named("Team", "t"),
            context: None,
        };
        let request = snapshot.request_from_question(&question, crate::clock::Clock::InQuestion).unwrap();
        let decide = |entities: &Entities| {
            let slice = crate::slice::gather(entities, &request, &schema, 4);
            crate::decide::decide(snapshot.policies(), &request, &slice)
        };
        assert!(!decide(snapshot.entities()).unwrap().is_permit());
        let id_length = data.uid.id.len() + 1;
        let readable_id = |bytes: &Vec<u8>| bytes.get(..id_length) == entity.0.slice.get(..id_length);
        for bytes in broken(&entity).filter(readable_id) {
            let corrupt = Entity::from_bytes(data.uid.entity_type, Origin(0), &bytes);
            let unreadable = try_unpack(&corrupt, &schema).is_err();
            let entities = snapshot.entities().with_unchecked([corrupt].into_iter());
            match decide(&entities) {
                Err(DecideError::Corrupt(CorruptEntity)) => assert!(unreadable),
                // An extension value whose text was changed.
                Err(DecideError::Entity(_)) => assert!(!unreadable),
                other => assert!(!unreadable, "{other:?}"),
            }
        }
    }
}
