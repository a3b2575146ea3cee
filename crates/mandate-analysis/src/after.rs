//! What a case expects of the entities after its change (`after`). It has the forms of `given`, and says what is so
//! then.

use crate::error::CaseError;
use crate::given::{Given, partial_attributes, uid, whole_entity};
use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::EntityData;
use mandate_core::schema::EntityUid;

/// The first expectation that is not met, and what is there instead, in lines; `None` if all are met.
///
/// # Errors
/// An expectation does not fit the schema, or nothing could meet it.
pub fn mismatch(after: &[Given], before: &Snapshot, now: &Snapshot) -> Result<Option<String>, CaseError> {
    let afterwards = Afterwards { before, now };
    for expected in after {
        let mismatch = afterwards.mismatch(expected)?;
        if mismatch.is_some() {
            return Ok(mismatch);
        }
    }
    Ok(None)
}

struct Afterwards<'a> {
    before: &'a Snapshot,
    now: &'a Snapshot,
}

impl Afterwards<'_> {
    fn mismatch(&self, expected: &Given) -> Result<Option<String>, CaseError> {
        let schema = self.now.schema();
        match expected {
            Given::With([child, parent]) => self.membership(child, parent, true),
            Given::Without([child, parent]) => self.membership(child, parent, false),
            Given::Remove(entity) => {
                let uid = uid(entity, schema)?;
                // Otherwise a misspelt name would be expected to be gone, and would be.
                if entity_of(self.before, &uid).is_none() {
                    return Err(CaseError::NeverThere(entity.clone()));
                }
                Ok(entity_of(self.now, &uid).map(|_| self.lines(&format!("no {entity}"), &uid)))
            }
            Given::Add(json) => {
                let expected = whole_entity(json, schema)?;
                let is_so = entity_of(self.now, &expected.uid).is_some_and(|found| found == expected);
                Ok((!is_so).then(|| self.lines(&display::entity(&expected, schema), &expected.uid)))
            }
            Given::Set { entity, attrs } => {
                let uid = uid(entity, schema)?;
                let expected = partial_attributes(&uid, attrs, schema)?;
                let is_so = entity_of(self.now, &uid).is_some_and(|found| {
                    expected.iter().all(|(name, it)| found.attributes.get(name) == Some(it))
                });
                let text = || format!("{entity} {}", display::record(&expected, schema));
                Ok((!is_so).then(|| self.lines(&text(), &uid)))
            }
        }
    }

    fn membership(&self, child: &str, parent: &str, wanted: bool) -> Result<Option<String>, CaseError> {
        let schema = self.now.schema();
        let (child_uid, parent_uid) = (uid(child, schema)?, uid(parent, schema)?);
        let is_so = entity_of(self.now, &child_uid)
            .is_some_and(|found| found.parents.contains(&parent_uid) == wanted);
        let word = if wanted { "in" } else { "not in" };
        Ok((!is_so).then(|| self.lines(&format!("{child} {word} {parent}"), &child_uid)))
    }

    /// What was expected, and the entity as it is.
    fn lines(&self, expected: &str, uid: &EntityUid) -> String {
        let schema = self.now.schema();
        let found = entity_of(self.now, uid).map_or_else(
            || format!("no {}", display::uid(uid.as_uid_ref(), schema)),
            |found| display::entity(&found, schema),
        );
        format!("\n- {expected}\n+ {found}")
    }
}

fn entity_of(snapshot: &Snapshot, uid: &EntityUid) -> Option<EntityData> {
    let stored = snapshot.entities().get(uid.as_uid_ref())?;
    Some(stored.entity.unpack(snapshot.schema()))
}
