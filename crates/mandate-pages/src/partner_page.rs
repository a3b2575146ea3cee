//! The page of a partner, as HTML: forms, requests with their links and e-mails, and customers.

use axum::http::StatusCode;
use axum::response::Response;
use mandate_changes::{Texts, fill};
use mandate_pdp::access_request::{AccessRequest, RequestStatus};
use mandate_pdp::{View, wall_clock};
use mandate_store::EntityName;
use maud::{Markup, html};

use crate::ask_form::{self, Problem};
use crate::done::Done;
use crate::form_token::token_field;
use crate::language::Language;
use crate::layout::page;
use crate::partner_state::{Partner, as_text, path_of, shown};
use crate::people::{choices, display_name, short_type};
use crate::session::Session;
use crate::text::{encode, time_html, time_text};
use crate::visit::Visit;
use crate::words::words;

/// The page of a partner.
pub fn partner(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    partner: &Partner<'_>,
    (done, problem): (Option<Done>, Option<Problem<'_>>),
) -> Response {
    let words = visit.words();
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let main = html! {
        h1 { (words.partner) }
        @if let Some(done) = done { (done.html(visit)) }
        (acting(visit, view, partner))
        @for rule in &partner.rules {
            @if rule.standing { (standing(visit, (view, session), partner, rule)) }
            section .card aria-labelledby={ "ask-" (rule.id) } {
                h2 id={ "ask-" (rule.id) } { (words.make_link) }
                p .hint { (rule.texts(visit.language.code()).title) ". " (words.make_link_hint) }
                (ask_form::form(visit, (view, session), (&partner.principal, rule), problem.as_ref()))
            }
        }
        section aria-labelledby="requests" {
            h2 #requests { (words.requests) }
            @if partner.requests.is_empty() { p { (words.no_requests) } }
            @for request in &partner.requests { (one(visit, (view, session), partner, request)) }
        }
        (customers(visit, view, partner))
    };
    page(visit, status, words.partner, &main)
}

/// Which partner it is about.
fn acting(visit: &Visit, view: &View<'_>, partner: &Partner<'_>) -> Markup {
    let words = visit.words();
    let type_of = |name: &EntityName| {
        let rule = view
            .changes()
            .requests()
            .iter()
            .find_map(|rule| rule.texts(visit.language.code()).types.get(short_type(name)).cloned());
        rule.unwrap_or_else(|| short_type(name).to_owned())
    };
    let described = |name: &EntityName| {
        let called = display_name(view, name);
        html! {
            bdi { (called) } " (" (type_of(name))
            @if called != name.id { ", " bdi { (name.id) } }
            ")"
        }
    };
    html! {
        p .lead { (words.acting_as) " " strong { (described(&partner.principal)) } }
        @if !partner.others.is_empty() {
            nav .others aria-label=(words.act_as) {
                ul { @for other in &partner.others { li { a href=(path_of(other)) { (described(other)) } } } }
            }
        }
    }
}

fn standing(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    partner: &Partner<'_>,
    rule: &mandate_changes::RequestRule,
) -> Markup {
    let words = visit.words();
    html! {
        section .card aria-labelledby="standing" {
            h2 #standing { (words.standing) }
            p .hint { (words.standing_hint) }
            @match &partner.standing {
                Some(request) => (link_and_email(visit, view, request, rule.texts(language_of(request).code()))),
                None => (ask_form::standing_form(visit, session, &partner.principal, rule)),
            }
        }
    }
}

fn one(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    partner: &Partner<'_>,
    request: &AccessRequest,
) -> Markup {
    let words = visit.words();
    let status = request.status_at(wall_clock::now());
    let status_text = match status {
        RequestStatus::Pending => words.pending,
        RequestStatus::Approved => words.approved,
        RequestStatus::Denied => words.denied_status,
        RequestStatus::Expired => words.expired_status,
        RequestStatus::Cancelled => words.cancelled,
    };
    let rule = view.changes().request(&request.rule);
    let heading = request.resource.as_ref().map(|resource| display_name(view, resource));
    html! {
        article .card {
            h3 { @match &heading { Some(name) => bdi { (name) }, None => (words.for_any) } }
            dl .facts {
                div { dt { (words.status) } dd { strong { (status_text) } } }
                div { dt { (words.asked_at) } dd { (time_html(request.asked_at, words)) } }
                @if status == RequestStatus::Pending && let Some(end) = request.expires_at {
                    div { dt { (words.valid_until) } dd { (time_html(end, words)) } }
                }
                @if let Some(rule) = rule {
                    @for (name, on) in choices(request, rule.texts(visit.language.code())) {
                        div { dt { (name) } dd { (if on { words.yes } else { words.no }) } }
                    }
                }
            }
            @if status == RequestStatus::Pending && let Some(rule) = rule {
                (link_and_email(visit, view, request, rule.texts(language_of(request).code())))
                @if rule.withdraw.is_some() {
                    form method="post" action="/partner" {
                        (token_field(session, "/partner", &shown(request)))
                        input type="hidden" name="as" value=(as_text(&partner.principal));
                        input type="hidden" name="link" value=(request.link);
                        div .buttons {
                            button type="submit" name="do" value="withdraw" {
                                (words.withdraw)
                                span .hidden { " – " @match &heading { Some(name) => (name), None => (words.for_any) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The language of the e-mail of a request.
fn language_of(request: &AccessRequest) -> Language {
    request.language.as_deref().and_then(Language::from_code).unwrap_or(Language::En)
}

fn link_and_email(visit: &Visit, view: &View<'_>, request: &AccessRequest, texts: &Texts) -> Markup {
    let (own, language) = (visit.words(), language_of(request));
    let link = format!("{}/links/{}", visit.pages.url, request.link);
    let requester = display_name(view, &request.requester);
    let resource = request.resource.as_ref().map(|it| display_name(view, it)).unwrap_or_default();
    let until = request.expires_at.map(|end| time_text(end, words(language))).unwrap_or_default();
    let values = [
        ("requester", requester.as_str()),
        ("resource", resource.as_str()),
        ("link", link.as_str()),
        ("until", until.as_str()),
    ];
    let (subject, body) = (fill(&texts.email_subject, &values), fill(&texts.email_body, &values));
    let mail = format!("mailto:?subject={}&body={}", encode(&subject), encode(&body.replace('\n', "\r\n")));
    html! {
        p .link { strong { (own.link) ": " } code { (link) } }
        details {
            summary { (own.email) }
            div .email lang=(language.code()) {
                p { strong { (subject) } }
                pre { (body) }
            }
            p { a .button href=(mail) { (own.open_email) } }
        }
    }
}

fn customers(visit: &Visit, view: &View<'_>, partner: &Partner<'_>) -> Markup {
    let (words, customers) = (visit.words(), &partner.customers);
    html! {
        section aria-labelledby="customers" {
            h2 #customers { (words.customers) }
            @if customers.names.is_empty() {
                p { (if customers.is_first { words.no_customers } else { words.no_more_customers }) }
            } @else {
                ul .list {
                    @for name in &customers.names {
                        @let shown = display_name(view, name);
                        li { bdi { (shown) } @if shown != name.id { " " code { bdi { (name.id) } } } }
                    }
                }
            }
            p .pages {
                @if !customers.is_first { a href=(path_of(&partner.principal)) { (words.first) } " " }
                @if let Some(next) = &customers.next {
                    a href={ (path_of(&partner.principal)) "&after=" (next) "#customers" } { (words.next) }
                }
            }
        }
    }
}
