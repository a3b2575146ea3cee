//! What a permitted action would change, as text for `mandate decide --explain`. Nothing is written.

use std::fmt::Write as _;

use mandate_core::Snapshot;
use mandate_core::display;
use mandate_core::entities::EntityData;
use mandate_core::request::Request;
use mandate_core::schema::{EntityUid, EntityUidRef};
use mandate_pdp::Generation;

/// What performing a permitted action would do, indented; empty if no change is for it. Ids that would be made
/// are shown as `made-1` and so on.
pub fn as_text(request: &Request, generation: &Generation) -> String {
    let (snapshot, (action, principal, resource)) = (generation.snapshot(), request.environment());
    let Some(change) = generation.changes().changes_for(action, principal, resource) else {
        return String::new();
    };
    let mut made = 0;
    let edits = change.edits(request, snapshot, &mut || {
        made += 1;
        format!("made-{made}")
    });
    let edits = match edits {
        Ok(edits) => edits.changes,
        Err(error) => return format!("  as a change, it cannot be performed: {error}\n"),
    };
    if let Err(diagnostics) = snapshot.apply(&edits) {
        return format!("  as a change, it cannot be performed: {diagnostics}\n");
    }
    let schema = snapshot.schema();
    let written = edits.upserts.iter().flat_map(|upsert| written(snapshot, &upsert.entity.unpack(schema)));
    let deleted = edits.removals.iter().map(|uid| format!("delete {}", name(snapshot, uid.as_uid_ref())));
    let lines: Vec<String> = written.chain(deleted).collect();
    if lines.is_empty() {
        return "  as a change, it would do nothing: all is so already\n".to_owned();
    }
    let mut text = "  as a change, it would\n".to_owned();
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// What would become of one entity, a line for each attribute and membership.
fn written(snapshot: &Snapshot, after: &EntityData) -> Vec<String> {
    let schema = snapshot.schema();
    let Some(stored) = snapshot.entities().get(after.uid.as_uid_ref()) else {
        return vec![format!("create {}", display::entity(after, schema))];
    };
    let before = stored.entity.unpack(schema);
    let entity = name(snapshot, after.uid.as_uid_ref());
    let in_parent = |parent: &EntityUid| format!("{entity} in {}", name(snapshot, parent.as_uid_ref()));
    let set =
        after.attributes.iter().filter(|(attribute, value)| before.attributes.get(attribute) != Some(value));
    let removed = before.attributes.iter().filter(|(attribute, _)| after.attributes.get(attribute).is_none());
    let added = after.parents.iter().filter(|parent| !before.parents.contains(parent));
    let left = before.parents.iter().filter(|parent| !after.parents.contains(parent));
    set.map(|(attribute, value)| format!("set {entity}.{attribute} = {}", display::value(value, schema)))
        .chain(removed.map(|(attribute, _)| format!("remove {entity}.{attribute}")))
        .chain(added.map(|parent| format!("add {}", in_parent(parent))))
        .chain(left.map(|parent| format!("take away {}", in_parent(parent))))
        .collect()
}

fn name(snapshot: &Snapshot, uid: EntityUidRef<'_>) -> String {
    display::uid(uid, snapshot.schema())
}
