//! The page of a link, and what its form does. A GET only reads: whoever opens a link, such as a scanner of e-mails,
//! changes nothing.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use mandate_pdp::access_request::RequestStatus;
use mandate_pdp::proposal::{CommitResult, Refusal};
use mandate_pdp::review_operation::ReviewOperation;

use crate::commit::Change;
use crate::done::Done;
use crate::form::{Fields, SentForm};
use crate::instead::Instead;
use crate::layout::redirect;
use crate::link_page::{self, Notice};
use crate::link_state::{LinkState, Waiting, find};
use crate::message;
use crate::session::Session;
use crate::visit::Visit;

/// Shows what a link asks for.
pub async fn get(visit: Visit, Path(link): Path<String>) -> Result<Response, Instead> {
    visit.signed_in()?;
    visit.work(move |visit| show(visit, &link, None)).await
}

/// Accepts or declines.
pub async fn post(visit: Visit, Path(link): Path<String>, form: SentForm) -> Result<Response, Instead> {
    let session = visit.signed_in_to_change()?;
    let fields = Fields::read(&visit, form)?;
    let asked = link.clone();
    let operation = visit.work(move |visit| read(visit, &asked, &fields)).await??;
    let (done, change) = match operation {
        Read::Done(done) => return Ok(redirect(&done.path("/consents", &session))),
        Read::Change(done, change) => (done, change),
    };
    let result = change.commit(&visit.pages).await;
    visit.work(move |visit| outcome(visit, &session, &link, done, &result)).await
}

enum Read {
    /// The same was done before, by the same user.
    Done(Done),
    Change(Done, Box<Change>),
}

fn show(visit: &Visit, link: &str, notice: Option<Notice>) -> Response {
    let Ok(session) = visit.signed_in() else { return message::sign_in_again(visit) };
    let view = visit.pages.pdp.view();
    match find(visit, (&view, &session), link) {
        Ok(LinkState::Waiting(waiting)) => link_page::waiting(visit, (&view, &session), &waiting, notice),
        Ok(LinkState::Accepted(request)) => link_page::accepted(visit, &view, &request),
        Ok(LinkState::Other(status, message)) => message::plain(visit, status, message),
        Ok(LinkState::RequesterDenied(reason)) => {
            link_page::with_reason(visit, visit.words().requester_denied, &reason)
        }
        Err(error) => message::unreadable(visit, &error),
    }
}

/// Reads a form: what it asks for, or the page that says why not.
fn read(visit: &Visit, link: &str, fields: &Fields) -> Result<Read, Instead> {
    let session = visit.signed_in_to_change()?;
    let view = visit.pages.pdp.view();
    let done = match fields.get("do") {
        "accept" => Done::Accepted,
        "decline" => Done::Declined,
        _ => return Err(message::plain(visit, StatusCode::BAD_REQUEST, visit.words().wrong_request).into()),
    };
    let waiting = match find(visit, (&view, &session), link) {
        Ok(LinkState::Waiting(waiting)) => waiting,
        Ok(LinkState::Accepted(request))
            if done == Done::Accepted && is_by(&session, request.ended.as_ref()) =>
        {
            return Ok(Read::Done(done));
        }
        Ok(_) | Err(_) => return Err(show(visit, link, None).into()),
    };
    if !fields.is_from(&session, &visit.path, &waiting.shown) {
        return Err(show(visit, link, Some(Notice::Changed)).into());
    }
    if done == Done::Accepted && !fields.is_on("yes") {
        return Err(show(visit, link, Some(Notice::TickFirst)).into());
    }
    let Waiting { reviewer, .. } = *waiting;
    let link = link.to_owned();
    let operation = match done {
        Done::Declined => ReviewOperation::Decline { link, reviewer },
        _ => ReviewOperation::Accept { link, reviewer },
    };
    Ok(Read::Change(done, Box::new(Change::review(&view, operation))))
}

fn is_by(session: &Session, ended: Option<&mandate_pdp::access_request::Ended>) -> bool {
    ended.is_some_and(|ended| session.principals.contains(&ended.by))
}

fn outcome(visit: &Visit, session: &Session, link: &str, done: Done, result: &CommitResult) -> Response {
    let requests = visit.pages.commits.requests();
    match result {
        Ok(_) => redirect(&done.path("/consents", session)),
        // The same user was faster with another click.
        Err(Refusal::RequestEnded(RequestStatus::Approved)) => {
            let request = requests.by_link(link).ok().flatten();
            if done == Done::Accepted && request.is_some_and(|it| is_by(session, it.ended.as_ref())) {
                return redirect(&done.path("/consents", session));
            }
            show(visit, link, None)
        }
        Err(refusal) => {
            let (view, request) = (visit.pages.pdp.view(), requests.by_link(link).ok().flatten());
            let rule = request.and_then(|request| view.changes().request(&request.rule));
            let who = rule.map(|rule| rule.texts(visit.language.code()).who.as_str());
            message::refused(visit, refusal, who)
        }
    }
}
