//! A source of entities: a snapshot of all there are, and then an ordered tail of changes, each at a
//! position. The folder is one source; others give the same.

use std::fmt;

use mandate_core::diagnostics::Diagnostics;
use mandate_core::entities::{EntityChanges, EntityUpsert, Origin};
use mandate_core::schema::Schema;

/// A place in the order of a source's updates. Later updates have greater positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// The position of this number.
    pub fn at(number: u64) -> Self {
        Self(number)
    }

    /// The position of the next update.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a source gives.
#[derive(Debug)]
pub enum EntityUpdate {
    /// All entities of the source, in place of any that it gave before.
    Snapshot(Vec<EntityUpsert>),
    /// What changed since the last confirmed update. It may be empty.
    Changes(EntityChanges),
}

/// What a poll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFor {
    /// A snapshot: there are no entities yet, or they have to be read by another schema.
    Snapshot,
    /// A snapshot from the copy that the source keeps on disk, because the source itself cannot be used.
    SavedCopy,
    /// What changed since the last confirmed update.
    Changes(Reread),
}

/// Which content to read although its metadata did not change: an edit can leave metadata as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reread {
    /// Nothing: an event tells that something changed, and metadata tell what.
    Nothing,
    /// What has its turn. Over time, everything has.
    InTurn,
    /// Everything: an operator asked for it.
    Everything,
}

/// Gives out origins, so that each entity is known to come from one place of one source.
#[derive(Debug, Default)]
pub struct Origins(u32);

impl Origins {
    /// An origin that nothing had before.
    pub fn allocate(&mut self) -> Origin {
        let origin = Origin(self.0);
        self.0 += 1;
        origin
    }
}

/// Where entities come from.
///
/// The loader polls, applies what it gets to a snapshot, and confirms it. An update that could not be
/// applied is never confirmed: the next poll gives it again, or what came of it.
pub trait EntitySource: Send {
    /// Reads the next update; `None` if there is certainly none. A snapshot is always given, unless it is that of
    /// a copy, and the source keeps none.
    ///
    /// # Errors
    /// Everything that cannot be read, or is wrong with an entity by itself.
    fn poll(
        &mut self,
        what: PollFor,
        schema: &Schema,
        origins: &mut Origins,
    ) -> Result<Option<(Position, EntityUpdate)>, Diagnostics>;

    /// The update of this position is in use.
    fn confirm(&mut self, position: Position);

    /// What people call an origin, such as the path of a file, if it has a name. Of origins that are gone, only
    /// those are known that the last confirmed update took away.
    fn origin_name(&self, _: Origin) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use mandate_core::Snapshot;
    use mandate_core::diagnostics::{Diagnostics, SourceText};
    use mandate_core::entities::{LoadProgress, parse_entity_file};
    use mandate_core::schema::Schema;
    use mandate_core::snapshot::RequestConfig;

    use super::{EntitySource, EntityUpdate, Origins, PollFor, Position, Reread};
    use crate::loader::Loader;

    const SCHEMA: &str =
        "entity Team; entity Person in [Team]; action see appliesTo { principal: Person, resource: Team };";

    /// Gives texts in turn, each in place of all before; one that is not confirmed is given again.
    struct Texts {
        texts: VecDeque<&'static str>,
        position: Position,
    }

    impl EntitySource for Texts {
        fn poll(
            &mut self,
            _: PollFor,
            schema: &Schema,
            origins: &mut Origins,
        ) -> Result<Option<(Position, EntityUpdate)>, Diagnostics> {
            let Some(text) = self.texts.front() else { return Ok(None) };
            let source = SourceText::new("texts.json", *text);
            let entities = parse_entity_file(&source, origins.allocate(), schema, &LoadProgress::default())?;
            Ok(Some((self.position, EntityUpdate::Snapshot(entities))))
        }

        fn confirm(&mut self, position: Position) {
            assert_eq!(position, self.position);
            self.position = position.next();
            self.texts.pop_front();
        }
    }

    fn loader(folder: &std::path::Path, texts: &[&'static str]) -> Loader {
        std::fs::write(folder.join("schema.cedarschema"), SCHEMA).unwrap();
        let texts = Texts { texts: texts.iter().copied().collect(), position: Position::default() };
        Loader::with_entities(folder, Box::new(texts), RequestConfig::default())
    }

    fn people(snapshot: &Snapshot) -> Vec<String> {
        let schema = snapshot.schema();
        let mut names: Vec<String> =
            snapshot.entities().iter().map(|entity| schema.uid_string(entity.uid())).collect();
        names.sort();
        names
    }

    const NIGHT: &str = r#"[{"uid": {"type": "Team", "id": "night"}, "attrs": {}, "parents": []}]"#;
    const DAY: &str = r#"[{"uid": {"type": "Team", "id": "day"}, "attrs": {}, "parents": []}]"#;
    const DANGLING: &str = r#"[{"uid": {"type": "Person", "id": "ana"}, "attrs": {}, "parents": [{"type": "Team", "id": "gone"}]}]"#;

    #[test]
    fn a_later_snapshot_takes_the_place_of_all_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut loader = loader(folder.path(), &[NIGHT, DAY]);
        let first = loader.load().unwrap().snapshot;
        assert_eq!(people(&first), [r#"Team::"night""#]);
        let next = loader.entities.poll(&first, Reread::Nothing);
        assert_eq!(people(&next.snapshot.unwrap()), [r#"Team::"day""#]);
    }

    #[test]
    fn what_cannot_be_applied_is_not_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let mut loader = loader(folder.path(), &[NIGHT, DANGLING]);
        let first = loader.load().unwrap().snapshot;
        for _ in 0..2 {
            let refused = loader.entities.poll(&first, Reread::Nothing);
            assert!(refused.snapshot.is_none());
            let diagnostics = refused.result.unwrap().unwrap_err();
            assert!(diagnostics.to_string().contains("which does not exist"), "{diagnostics}");
        }
    }
}
