//! The pages of what an organization has accepted, and what their forms do.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::commit::Change;
use crate::consent::{consents_of, find};
use crate::consent_page;
use crate::done::Done;
use crate::form::{Fields, SentForm};
use crate::instead::Instead;
use crate::layout::redirect;
use crate::message;
use crate::people;
use crate::session::Session;
use crate::texts::Message;
use crate::visit::Visit;
use crate::visitor::Parameters;

/// The parameters of the list.
#[derive(Deserialize, Default)]
pub struct ListQuery {
    done: Option<String>,
    proof: Option<String>,
}

/// The parameter of the page of one consent.
#[derive(Deserialize, Default)]
pub struct OneQuery {
    #[serde(rename = "do")]
    verb: Option<String>,
}

/// Lists what was accepted.
pub async fn list(visit: Visit, Parameters(query): Parameters<ListQuery>) -> Result<Response, Instead> {
    let session = visit.signed_in()?;
    let done = Done::read(query.done.as_deref(), query.proof.as_deref(), &session);
    visit.work(move |visit| show_list(visit, &session, done, None)).await
}

fn show_list(visit: &Visit, session: &Session, done: Option<Done>, notice: Option<Message>) -> Response {
    let view = visit.pages.pdp.view();
    let reviewers = || session.principals.iter().filter(|it| people::is_reviewer(&view, it));
    if reviewers().next().is_none() {
        return message::plain(visit, StatusCode::FORBIDDEN, visit.words().not_a_reviewer);
    }
    let organizations: Vec<_> = reviewers().map(|reviewer| consents_of(visit, &view, reviewer)).collect();
    consent_page::list(visit, &view, &organizations, (done, notice))
}

/// Asks whether the reader is sure.
pub async fn confirm(
    visit: Visit,
    Path((entity_type, id)): Path<(String, String)>,
    Parameters(query): Parameters<OneQuery>,
) -> Result<Response, Instead> {
    let session = visit.signed_in()?;
    let Some(verb) = query.verb else { return Ok(redirect("/consents")) };
    let show = move |visit: &Visit| {
        let view = visit.pages.pdp.view();
        let found = find(visit, &view, &session, (&entity_type, &id));
        let found = found.filter(|consent| consent.may.contains(&verb));
        found.map_or_else(
            || message::plain(visit, StatusCode::NOT_FOUND, visit.words().not_found),
            |consent| consent_page::confirm(visit, (&view, &session), &consent, &verb),
        )
    };
    visit.work(show).await
}

/// Does something with a consent.
pub async fn post(
    visit: Visit,
    Path((entity_type, id)): Path<(String, String)>,
    form: SentForm,
) -> Result<Response, Instead> {
    let session = visit.signed_in_to_change()?;
    let fields = Fields::read(&visit, form)?;
    let asked = Arc::clone(&session);
    let change = visit.work(move |visit| read(visit, &asked, (&entity_type, &id), &fields)).await??;
    match change.commit(&visit.pages).await {
        Ok(_) => Ok(redirect(&Done::Managed.path("/consents", &session))),
        Err(refusal) => Ok(message::refused(&visit, &refusal, None)),
    }
}

fn read(visit: &Visit, session: &Session, named: (&str, &str), fields: &Fields) -> Result<Change, Instead> {
    let view = visit.pages.pdp.view();
    let (words, verb) = (visit.words(), fields.get("do"));
    let Some(consent) = find(visit, &view, session, named) else {
        return Err(message::plain(visit, StatusCode::NOT_FOUND, words.not_found).into());
    };
    let Some(action) = consent.rule.managing(verb) else {
        return Err(message::plain(visit, StatusCode::BAD_REQUEST, words.wrong_request).into());
    };
    let shown = consent.shown(verb);
    if !fields.is_from(session, &visit.path, &shown) {
        return Err(show_list(visit, session, None, Some(words.changed)).into());
    }
    let asked = consent.asked(action, &view);
    let request = asked.with_question(|question| view.request(question));
    let Ok(request) = request else {
        return Err(message::plain(visit, StatusCode::CONFLICT, words.not_usable).into());
    };
    // Two clicks on one button are one change.
    let key = fields.get("token").to_owned();
    Ok(Change::action(&view, asked, request).once(&key, &[visit.path.as_bytes(), &shown]))
}
