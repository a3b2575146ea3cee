//! Explanations for people: what is missing for a permit, and what a permit rests on.

use std::fmt::Write as _;

use mandate_core::display::{kind_name, value, written};
use mandate_core::schema::Schema;
use mandate_query::explain::{Change, Explanation, Facts, Holder, Place, Spot, through};

/// Appends an explanation, indented.
pub fn show(text: &mut String, explanation: &Explanation, schema: &Schema) {
    match explanation {
        Explanation::Permit { chains } => {
            text.push_str(if chains.is_empty() { "" } else { "  by the memberships\n" });
            for chain in chains {
                let names: Vec<String> = chain.iter().map(|it| written(it.name(), schema)).collect();
                let _ = writeln!(text, "    {}", names.join(" in "));
            }
        }
        Explanation::Denial { missing, complete } => {
            text.push_str(match (missing.as_slice(), complete) {
                ([], true) => "  nothing that could be changed would permit it\n",
                ([], false) => "  nothing was found that would permit it; not every way was tried\n",
                ([_], _) => "  missing for a permit\n",
                _ => "  missing for a permit: any one of these\n",
            });
            for facts in missing {
                append_facts(text, facts, schema);
            }
            text.push_str(if missing.is_empty() || *complete {
                ""
            } else {
                "    (not every way was tried)\n"
            });
        }
    }
}

fn append_facts(text: &mut String, facts: &Facts, schema: &Schema) {
    for (n, (place, change)) in facts.iter().enumerate() {
        let lead = if n == 0 { "-" } else { "  and" };
        let _ = writeln!(text, "    {lead} {}", fact(place, change, schema));
    }
}

fn fact(place: &Place, change: &Change, schema: &Schema) -> String {
    match (place, change) {
        (Place::Membership(entity, of), Change::Goes) => {
            format!("{} no longer in {}", written(entity.name(), schema), written(of.name(), schema))
        }
        (Place::Membership(entity, of), _) => {
            let kinds = through(schema, entity.kind, of.kind).into_iter();
            let kinds: Vec<String> = kinds.map(|kind| format!("a {}", kind_name(kind, schema))).collect();
            let by =
                if kinds.is_empty() { String::new() } else { format!(", through {}", kinds.join(" and ")) };
            format!("{} in {}{by}", written(entity.name(), schema), written(of.name(), schema))
        }
        (Place::Value(at), Change::Is(to)) => {
            format!("{} = {}", attribute_path(at, schema), value(to, schema))
        }
        (Place::Value(at), Change::NoneOf(not)) if not.is_empty() => {
            format!("{} present", attribute_path(at, schema))
        }
        (Place::Value(at), Change::NoneOf(not)) => {
            let not: Vec<String> = not.iter().map(|it| value(it, schema)).collect();
            format!("{} other than {}", attribute_path(at, schema), not.join(" and "))
        }
        (Place::Value(at), _) => format!("{} absent", attribute_path(at, schema)),
        (Place::Element(at, element), change) => {
            let verb = if *change == Change::Goes { "without" } else { "with" };
            format!("{} {verb} {}", attribute_path(at, schema), value(element, schema))
        }
    }
}

fn attribute_path(spot: &Spot, schema: &Schema) -> String {
    let holder = match &spot.holder {
        Holder::Context => "context".to_owned(),
        Holder::Entity(entity) => written(entity.name(), schema),
    };
    format!("{holder}.{}", spot.path.join("."))
}
