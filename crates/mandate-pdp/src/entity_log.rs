//! What the log says of a change of the entities: how many entities and edges came and went, and the first of
//! them by name, with their files. Ids and file names are data of callers, so they are escaped and cut, and no
//! value of an attribute is shown. `report.rs` writes it.

use mandate_core::Snapshot;
use mandate_core::change_kind::ChangeKind;
use mandate_core::entities::{Entity, EntityDifference, Origin};
use mandate_core::json::escape_and_truncate;
use mandate_core::schema::{EntityUidRef, Schema};
use mandate_sources::loader::EntityLoader;

/// The most entities and edges that are named.
const MAX_NAMED_CHANGES: usize = 20;

/// The most characters of a name.
const MAX_NAME_CHARS: usize = 100;

/// What a change of the entities came to.
#[derive(Debug, Default)]
pub(crate) struct EntityChangeSummary {
    pub added: usize,
    pub removed: usize,
    /// Entities with other attributes or tags than before.
    pub changed: usize,
    pub edges_added: usize,
    pub edges_removed: usize,
    /// The first changes in the order of uids, with `; ` between them.
    pub names: String,
}

impl EntityChangeSummary {
    /// The change from a snapshot to one that was made of it. The loader knows the files of both.
    pub fn new(before: &Snapshot, after: &Snapshot, loader: &EntityLoader) -> Self {
        let schema = after.schema();
        let mut differences = before.entities().differences(after.entities());
        let mut summary = Self::default();
        for difference in &differences {
            summary.count(difference, schema);
        }
        // Each entity that differs gives at least one name, so the first of them are enough.
        if differences.len() > MAX_NAMED_CHANGES {
            differences.select_nth_unstable_by_key(MAX_NAMED_CHANGES, |difference| difference.uid);
            differences.truncate(MAX_NAMED_CHANGES);
        }
        differences.sort_unstable_by_key(|difference| difference.uid);
        let names = differences.iter().flat_map(|difference| names(difference, schema, loader));
        let mut names: Vec<String> = names.take(MAX_NAMED_CHANGES).collect();
        let more = summary.total() - names.len();
        names.extend((more > 0).then(|| format!("and {more} more")));
        summary.names = names.join("; ");
        summary
    }

    fn count(&mut self, difference: &EntityDifference<'_>, schema: &Schema) {
        match difference.kind() {
            ChangeKind::Added => self.added += 1,
            ChangeKind::Removed => self.removed += 1,
            ChangeKind::Changed => self.changed += usize::from(difference.has_other_values(schema)),
        }
        self.edges_added += difference.added_parents().count();
        self.edges_removed += difference.removed_parents().count();
    }

    fn total(&self) -> usize {
        self.added + self.removed + self.changed + self.edges_added + self.edges_removed
    }
}

/// The entity and then its edges, as far as each came, went or changed.
fn names<'a>(
    difference: &'a EntityDifference<'a>,
    schema: &'a Schema,
    loader: &'a EntityLoader,
) -> impl Iterator<Item = String> + 'a {
    let entity = cut(&schema.uid_string(difference.uid));
    let file = difference.after.or(difference.before).map(Entity::origin).and_then(file_of(loader));
    let file = file.unwrap_or_default();
    let itself = match difference.kind() {
        ChangeKind::Added => Some(format!("+ {entity}{file}")),
        ChangeKind::Removed => Some(format!("- {entity}{file}")),
        ChangeKind::Changed => difference
            .has_other_values(schema)
            .then(|| format!("~ {entity}: {}{file}", cut(&difference.changed_attributes(schema).join(", ")))),
    };
    let edge = move |sign: char, parent: EntityUidRef<'_>| {
        format!("{sign} {entity} in {}{file}", cut(&schema.uid_string(parent)))
    };
    let added = difference.added_parents().map(|parent| ('+', parent));
    let removed = difference.removed_parents().map(|parent| ('-', parent));
    itself.into_iter().chain(added.chain(removed).map(move |(sign, parent)| edge(sign, parent)))
}

/// The name of a file, as it stands after what came from it.
fn file_of(loader: &EntityLoader) -> impl Fn(Origin) -> Option<String> {
    |origin| loader.origin_name(origin).map(|name| format!(" ({})", cut(name)))
}

fn cut(name: &str) -> String {
    escape_and_truncate(name, MAX_NAME_CHARS)
}
