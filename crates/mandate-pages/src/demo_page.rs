//! The demo sign-in: whoever can open the page chooses whom to act as. `guard` keeps it on this machine.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use mandate_core::display::parse_type_and_id;
use mandate_core::schema::EntityTypeId;
use mandate_pdp::View;
use mandate_store::EntityName;
use maud::html;

use crate::form::Fields;
use crate::instead::Instead;
use crate::layout::page;
use crate::message;
use crate::people;
use crate::session::Session;
use crate::visit::Visit;

/// The most entities to choose from.
const MAX_CHOICES: usize = 200;

/// The most entities of a type that are looked at.
const MAX_READ: usize = 10_000;

/// The page with the choice.
pub fn choose(visit: &Visit, next: &str) -> Response {
    let (words, view) = (visit.words(), visit.pages.pdp.view());
    let main = html! {
        h1 { (words.sign_in) }
        p .box { (words.demo_hint) }
        form method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            div .field {
                label for="as" { (words.demo_choose) }
                select #as name="as" {
                    @for name in choices(&view) {
                        option value=(format!("{}::{}", people::short_type(&name), name.id)) { (shown(&view, &name)) }
                    }
                }
            }
            div .buttons { button .primary type="submit" { (words.sign_in) } }
        }
    };
    page(visit, StatusCode::OK, words.sign_in, &main)
}

fn shown(view: &View<'_>, name: &EntityName) -> String {
    let called = people::display_name(view, name);
    let id = if called == name.id { String::new() } else { format!(" ({})", name.id) };
    format!("{}: {called}{id}", people::short_type(name))
}

/// The types of those who ask and review.
fn types(view: &View<'_>) -> BTreeSet<EntityTypeId> {
    let rules = view.changes().requests().iter();
    rules.flat_map(|rule| rule.reviewers.iter().chain(&rule.requesters)).copied().collect()
}

fn choices(view: &View<'_>) -> Vec<EntityName> {
    let (entities, schema) = (view.snapshot().entities(), view.snapshot().schema());
    let of_type = |of_type: EntityTypeId| {
        let some = entities.members(None, of_type, None, schema).take(MAX_READ);
        some.map(|entity| EntityName::new(entity.uid(), schema)).collect::<Vec<_>>()
    };
    let mut names: Vec<EntityName> = types(view).into_iter().flat_map(of_type).collect();
    names.sort();
    names.truncate(MAX_CHOICES);
    names
}

/// Whom somebody chose to act as, signed in. Any entity of the right type may be named, also one that is not on the page.
///
/// # Errors
/// There is none of that name.
pub fn session(visit: &Visit, fields: &Fields) -> Result<Session, Instead> {
    let view = visit.pages.pdp.view();
    let schema = view.snapshot().schema();
    let named = parse_type_and_id(fields.get("as")).ok();
    let chosen = named.and_then(|(entity_type, id)| {
        let entity_type =
            schema.resolve_entity_type(entity_type).ok().filter(|it| types(&view).contains(it))?;
        Some(EntityName { entity_type: schema.entity_type(entity_type).name.to_string(), id: id.to_owned() })
    });
    let name = chosen.filter(|name| people::exists(&view, name));
    let name = name.ok_or_else(|| message::plain(visit, StatusCode::BAD_REQUEST, visit.words().nobody))?;
    Ok(Session::new(shown(&view, &name), vec![name]))
}
