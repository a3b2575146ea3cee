//! What an organization has accepted, as HTML, and the page that asks whether somebody is sure.

use axum::http::StatusCode;
use axum::response::Response;
use mandate_changes::fill;
use mandate_pdp::View;
use maud::{Markup, html};
use serde_json::Value;

use crate::consent::Consent;
use crate::done::Done;
use crate::form_token::token_field;
use crate::layout::page;
use crate::people::{display_name, type_text};
use crate::session::Session;
use crate::text::{encode, fill_html, time_html};
use crate::texts::Message;
use crate::visit::Visit;

/// What organizations have accepted, with what they are called.
pub fn list(
    visit: &Visit,
    view: &View<'_>,
    organizations: &[(String, Vec<Consent<'_>>)],
    (done, notice): (Option<Done>, Option<Message>),
) -> Response {
    let words = visit.words();
    let main = html! {
        h1 { (words.consents) }
        @if let Some(done) = done { (done.html(visit)) }
        @if let Some(notice) = notice {
            div .box role="alert" { p { strong { (notice.title) } } p { (notice.text) } }
        }
        @for (organization, consents) in organizations {
            h2 { (fill_html(words.consents_of, &[("name", organization)])) }
            @if consents.is_empty() { p { (words.no_consents) } }
            @for consent in consents { (one(visit, view, consent)) }
        }
    };
    let status = if notice.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    page(visit, status, words.consents, &main)
}

fn one(visit: &Visit, view: &View<'_>, consent: &Consent<'_>) -> Markup {
    let (words, texts) = (visit.words(), consent.rule.texts(visit.language.code()));
    let (requester, organization) = names(view, consent);
    let values = [("requester", requester.as_str()), ("resource", organization.as_str())];
    html! {
        article .card {
            h3 { bdi { (requester) } }
            p .hint { (texts.title) }
            dl .facts {
                @for requester in &consent.requesters {
                    div {
                        dt { (type_text(texts, requester)) }
                        dd {
                            bdi { (display_name(view, requester)) } " "
                            code { bdi { (requester.id) } }
                        }
                    }
                }
                div {
                    dt { (words.since) }
                    dd { @match consent.since { Some(at) => (time_html(at, words)), None => (words.not_known) } }
                }
                div {
                    dt { (words.accepted_by_label) }
                    dd {
                        @match &consent.accepted_by {
                            Some(by) => bdi { (display_name(view, by)) },
                            None => (words.not_known),
                        }
                    }
                }
                @for (name, value) in &consent.context {
                    @if let (Some(label), Value::Bool(on)) = (texts.context.get(name), value) {
                        div { dt { (label) } dd { strong { (if *on { words.yes } else { words.no }) } } }
                    }
                }
            }
            h4 { (words.may_do) }
            ul { @for point in texts.points_for(&consent.context) { li { (fill_html(point, &values)) } } }
            p { strong { (words.how_it_ends) ": " } (fill_html(&texts.ends, &values)) }
            @if !consent.may.is_empty() {
                div .buttons {
                    @for verb in &consent.may {
                        a .button href={ (consent.path()) "?do=" (encode(verb)) } {
                            (label(visit, consent, verb)) span .hidden { " – " bdi { (requester) } }
                        }
                    }
                }
            }
        }
    }
}

/// The page that asks whether somebody is sure.
pub fn confirm(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    consent: &Consent<'_>,
    verb: &str,
) -> Response {
    let words = visit.words();
    let (action, (requester, organization)) = (label(visit, consent, verb), names(view, consent));
    let title = fill(words.sure, &[("action", &action)]);
    let main = html! {
        h1 { (title) }
        dl .facts {
            div { dt { (words.who_asks_name(consent, visit)) } dd { strong { bdi { (requester) } } } }
            div { dt { (words.for_whom) } dd { bdi { (organization) } } }
        }
        p { (words.sure_hint) }
        form method="post" action=(visit.path) {
            (token_field(session, &visit.path, &consent.shown(verb)))
            div .buttons {
                button .primary type="submit" name="do" value=(verb) { (action) }
                a .button href="/consents" { (words.cancel) }
            }
        }
    };
    page(visit, StatusCode::OK, &title, &main)
}

impl crate::texts::Words {
    /// What the one is called whom a consent is for.
    fn who_asks_name<'t>(&'t self, consent: &'t Consent<'_>, visit: &Visit) -> &'t str {
        let texts = consent.rule.texts(visit.language.code());
        consent.requesters.first().map_or(self.partner, |requester| type_text(texts, requester))
    }
}

/// What something that can be done is called.
fn label(visit: &Visit, consent: &Consent<'_>, verb: &str) -> String {
    let texts = consent.rule.texts(visit.language.code());
    texts.manage.get(verb).cloned().unwrap_or_else(|| verb.to_owned())
}

/// What those are called whom a consent is for, and the organization.
fn names(view: &View<'_>, consent: &Consent<'_>) -> (String, String) {
    let requesters: Vec<String> = consent.requesters.iter().map(|it| display_name(view, it)).collect();
    let requester = if requesters.is_empty() { consent.name.id.clone() } else { requesters.join(" · ") };
    (requester, display_name(view, &consent.organization))
}
