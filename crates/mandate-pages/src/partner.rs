//! The page of a partner, and what its forms do. What a partner may ask for, the policies decide when it asks.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use mandate_pdp::review_operation::ReviewOperation;
use mandate_store::EntityName;
use serde::Deserialize;

use crate::ask_form;
use crate::commit::Change;
use crate::done::Done;
use crate::form::{Fields, SentForm};
use crate::instead::Instead;
use crate::layout::redirect;
use crate::message;
use crate::partner_page;
use crate::partner_state::{acting, as_text, partner, path_of, shown};
use crate::people;
use crate::session::Session;
use crate::visit::Visit;
use crate::visitor::Parameters;

/// The parameters of the page.
#[derive(Deserialize, Default)]
pub struct PartnerQuery {
    #[serde(rename = "as")]
    acting: Option<String>,
    after: Option<String>,
    done: Option<String>,
    proof: Option<String>,
}

/// Shows it.
pub async fn get(visit: Visit, Parameters(query): Parameters<PartnerQuery>) -> Result<Response, Instead> {
    let session = visit.signed_in()?;
    // Nobody closes it.
    let turn = Arc::clone(&visit.pages.searches).acquire_owned().await.ok();
    let show = move |visit: &Visit| {
        let done = Done::read(query.done.as_deref(), query.proof.as_deref(), &session);
        let shown = show(visit, &session, &query, (done, None));
        drop(turn);
        shown
    };
    visit.work(show).await
}

fn show(
    visit: &Visit,
    session: &Session,
    query: &PartnerQuery,
    (done, problem): (Option<Done>, Option<ask_form::Problem<'_>>),
) -> Response {
    let view = visit.pages.pdp.view();
    let Some(principal) = acting(&view, session, query.acting.as_deref()) else {
        return message::plain(visit, StatusCode::NOT_FOUND, visit.words().not_found);
    };
    match partner(visit, &view, session, principal, query.after.as_deref()) {
        Ok(partner) => partner_page::partner(visit, (&view, session), &partner, (done, problem)),
        Err(error) => message::unreadable(visit, &error),
    }
}

/// Makes a link, or takes a request back.
pub async fn post(visit: Visit, form: SentForm) -> Result<Response, Instead> {
    let session = visit.signed_in_to_change()?;
    let fields = Fields::read(&visit, form)?;
    let asked = Arc::clone(&session);
    let (principal, done, change) = visit.work(move |visit| read(visit, &asked, &fields)).await??;
    match change.commit(&visit.pages).await {
        Ok(_) => Ok(redirect(&done.path(&path_of(&principal), &session))),
        Err(refusal) => Ok(message::refused(&visit, &refusal, None)),
    }
}

fn read(visit: &Visit, session: &Session, fields: &Fields) -> Result<(EntityName, Done, Change), Instead> {
    let (view, words) = (visit.pages.pdp.view(), visit.words());
    let wrong = || message::plain(visit, StatusCode::BAD_REQUEST, words.wrong_request);
    let principal = acting(&view, session, Some(fields.get("as"))).ok_or_else(wrong)?;
    if fields.get("do") == "withdraw" {
        let request = visit.pages.commits.requests().by_link(fields.get("link"));
        let request = request.map_err(|error| message::unreadable(visit, &error))?;
        let request = request.filter(|it| it.requester == principal).ok_or_else(wrong)?;
        if !fields.is_from(session, &visit.path, &shown(&request)) {
            return Err(message::plain(visit, StatusCode::CONFLICT, words.changed).into());
        }
        let operation = ReviewOperation::Withdraw { link: request.link, by: principal.clone() };
        return Ok((principal, Done::Withdrawn, Change::review(&view, operation)));
    }
    let rules = people::rules_of(&view, &principal);
    let rule = rules.into_iter().find(|rule| rule.id == fields.get("rule")).ok_or_else(wrong)?;
    if !fields.is_from(session, &visit.path, &ask_form::shown(&principal, rule, fields.get("once"))) {
        return Err(message::plain(visit, StatusCode::CONFLICT, words.changed).into());
    }
    match ask_form::read(&view, rule, &principal, fields) {
        Ok(change) => Ok((principal, Done::Asked, change)),
        Err(wrong) => {
            let query = PartnerQuery { acting: Some(as_text(&principal)), ..PartnerQuery::default() };
            let problem = ask_form::Problem { rule: &rule.id, fields, wrong };
            Err(show(visit, session, &query, (None, Some(problem))).into())
        }
    }
}
