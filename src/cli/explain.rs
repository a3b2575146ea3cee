//! Explanations as text for `mandate decide --explain`: what is missing for a permit, or the memberships
//! behind one. The explanations themselves are made in mandate-query; AuthZEN clients get them as JSON, see
//! mandate-server.

use std::fmt::Write as _;

use mandate_core::display;
use mandate_core::schema::{EntityUid, Schema};
use mandate_query::explain::{
    AttributeOwner, AttributePath, Explanation, Modification, Repair, RepairLocation, types_between,
};

/// Appends an explanation, indented.
pub fn show(text: &mut String, explanation: &Explanation, schema: &Schema) {
    match explanation {
        Explanation::Permit { chains } => {
            text.push_str(if chains.is_empty() { "" } else { "  by the memberships\n" });
            for chain in chains {
                let names: Vec<String> =
                    chain.iter().map(|it| display::uid(it.as_uid_ref(), schema)).collect();
                let _ = writeln!(text, "    {}", names.join(" in "));
            }
        }
        Explanation::Denial { missing, complete } => {
            text.push_str(match (missing.as_slice(), complete) {
                ([], true) => "  no change of entities or context would permit it\n",
                ([], false) => "  nothing was found that would permit it; the search stopped at its limit\n",
                ([_], _) => "  missing for a permit\n",
                _ => "  missing for a permit: any one of these\n",
            });
            for repair in missing {
                append_repair(text, repair, schema);
            }
            text.push_str(if missing.is_empty() || *complete {
                ""
            } else {
                "    (the search stopped at its limit: there may be others)\n"
            });
        }
    }
}

fn append_repair(text: &mut String, repair: &Repair, schema: &Schema) {
    for (n, (location, modification)) in repair.iter().enumerate() {
        let lead = if n == 0 { "-" } else { "  and" };
        let _ = writeln!(text, "    {lead} {}", modification_text(location, modification, schema));
    }
}

fn modification_text(location: &RepairLocation, modification: &Modification, schema: &Schema) -> String {
    let uid = |uid: &EntityUid| display::uid(uid.as_uid_ref(), schema);
    match (location, modification) {
        (RepairLocation::Membership(entity, of), Modification::Remove) => {
            format!("{} no longer in {}", uid(entity), uid(of))
        }
        (
            RepairLocation::Membership(entity, of),
            Modification::Add
            | Modification::SetTo(_)
            | Modification::SetToAnyExcept(_)
            | Modification::Unset,
        ) => format!("{} in {}{}", uid(entity), uid(of), types_between_text(entity, of, schema)),
        (RepairLocation::Value(at), Modification::SetTo(to)) => {
            format!("{} = {}", attribute_path(at, schema), display::value(to, schema))
        }
        (RepairLocation::Value(at), Modification::SetToAnyExcept(not)) if not.is_empty() => {
            format!("{} present", attribute_path(at, schema))
        }
        (RepairLocation::Value(at), Modification::SetToAnyExcept(not)) => {
            let not: Vec<String> = not.iter().map(|it| display::value(it, schema)).collect();
            format!("{} other than {}", attribute_path(at, schema), not.join(" and "))
        }
        (RepairLocation::Value(at), Modification::Add | Modification::Remove | Modification::Unset) => {
            format!("{} absent", attribute_path(at, schema))
        }
        (RepairLocation::Element(at, element), modification) => {
            let verb = if *modification == Modification::Remove { "without" } else { "with" };
            format!("{} {verb} {}", attribute_path(at, schema), display::value(element, schema))
        }
    }
}

/// The types by which an entity of the one type can be in one of the other, such as `, through a Tier`.
fn types_between_text(entity: &EntityUid, of: &EntityUid, schema: &Schema) -> String {
    let between = types_between(schema, entity.entity_type, of.entity_type);
    let names: Vec<String> = between
        .iter()
        .map(|entity_type| format!("a {}", display::entity_type(*entity_type, schema)))
        .collect();
    if names.is_empty() { String::new() } else { format!(", through {}", names.join(" and ")) }
}

fn attribute_path(attribute_path: &AttributePath, schema: &Schema) -> String {
    let holder = match &attribute_path.owner {
        AttributeOwner::Context => "context".to_owned(),
        AttributeOwner::Entity(entity) => display::uid(entity.as_uid_ref(), schema),
    };
    format!("{holder}.{}", attribute_path.path.join("."))
}
