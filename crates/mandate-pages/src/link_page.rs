//! The page of a link, as HTML: who asks, for what, what that means, how it ends, and the form.

use axum::http::StatusCode;
use axum::response::Response;
use mandate_changes::{RequestRule, Texts, fill};
use mandate_pdp::View;
use mandate_pdp::access_request::AccessRequest;
use maud::{Markup, html};

use crate::form_token::token_field;
use crate::layout::page;
use crate::link_state::Waiting;
use crate::message;
use crate::people::{choices, display_name, type_text};
use crate::session::Session;
use crate::text::{fill_html, time_html, time_text};
use crate::texts::Message;
use crate::visit::Visit;

/// What the page has to say before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The box was not ticked.
    TickFirst,
    /// The form showed something else.
    Changed,
}

/// A request that waits for this visitor.
pub fn waiting(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    waiting: &Waiting,
    notice: Option<Notice>,
) -> Response {
    let Some(rule) = view.changes().request(&waiting.request.rule) else {
        return message::plain(visit, StatusCode::CONFLICT, visit.words().not_usable);
    };
    let shown = Shown::new(visit, view, rule, waiting);
    let status = match (&waiting.denied, notice) {
        (Some(_), _) => StatusCode::FORBIDDEN,
        (None, Some(Notice::TickFirst)) => StatusCode::UNPROCESSABLE_ENTITY,
        (None, Some(Notice::Changed)) => StatusCode::CONFLICT,
        (None, None) => StatusCode::OK,
    };
    let main = html! {
        h1 { (shown.texts.title) }
        p .lead { (shown.fill(&shown.texts.question)) }
        @if notice == Some(Notice::Changed) { (box_of(visit.words().changed)) }
        @if waiting.denied.is_some() { (shown.denied()) }
        (shown.facts(session))
        (shown.meaning())
        @if waiting.denied.is_none() { (shown.form(session, notice)) }
    };
    page(visit, status, &shown.texts.title, &main)
}

/// A request that was accepted.
pub fn accepted(visit: &Visit, view: &View<'_>, request: &AccessRequest) -> Response {
    let words = visit.words();
    let more = html! {
        @if let Some(ended) = &request.ended {
            @let (name, time) = (display_name(view, &ended.by), time_text(ended.at, words));
            p { (fill_html(words.accepted_by, &[("name", &name), ("time", &time)])) }
        }
        p { a href="/consents" { (words.consents) } }
    };
    message::with(visit, StatusCode::CONFLICT, words.accepted, &more)
}

/// A message with the reason of a denial.
pub fn with_reason(visit: &Visit, message: Message, reason: &str) -> Response {
    let more = html! { @if !reason.is_empty() { p .box { (reason) } } };
    message::with(visit, StatusCode::FORBIDDEN, message, &more)
}

fn box_of(message: Message) -> Markup {
    html! {
        div .box role="alert" {
            p { strong { (message.title) } }
            p { (message.text) }
        }
    }
}

/// What the parts of the page are made of.
struct Shown<'a> {
    visit: &'a Visit,
    waiting: &'a Waiting,
    texts: &'a Texts,
    requester: String,
    organization: String,
}

impl<'a> Shown<'a> {
    fn new(visit: &'a Visit, view: &View<'_>, rule: &'a RequestRule, waiting: &'a Waiting) -> Self {
        let requester = display_name(view, &waiting.request.requester);
        let organization = display_name(view, &waiting.organization);
        Self { visit, waiting, texts: rule.texts(visit.language.code()), requester, organization }
    }

    fn fill(&self, text: &str) -> Markup {
        fill_html(text, &[("requester", &self.requester), ("resource", &self.organization)])
    }

    fn facts(&self, session: &Session) -> Markup {
        let (words, request) = (self.visit.words(), &self.waiting.request);
        html! {
            dl .facts {
                div {
                    dt { (words.who_asks) }
                    dd {
                        strong { bdi { (self.requester) } }
                        br;
                        (type_text(self.texts, &request.requester))
                    }
                }
                div { dt { (words.partner_id) } dd { code { bdi { (request.requester.id) } } } }
                div {
                    dt { (words.for_whom) }
                    dd {
                        strong { bdi { (self.organization) } }
                        @if self.organization != self.waiting.organization.id {
                            br;
                            code { bdi { (self.waiting.organization.id) } }
                        }
                    }
                }
                div { dt { (words.signed_in_as) } dd { bdi { (session.name) } } }
                @for (name, on) in choices(request, self.texts) {
                    div { dt { (name) } dd { strong { (if on { words.yes } else { words.no }) } } }
                }
                div {
                    dt { (words.valid_until) }
                    dd {
                        @match request.expires_at {
                            Some(end) => (time_html(end, words)),
                            None => (words.no_end),
                        }
                    }
                }
            }
        }
    }

    fn meaning(&self) -> Markup {
        let words = self.visit.words();
        html! {
            section aria-labelledby="meaning" {
                h2 #meaning { (words.what_it_means) }
                ul {
                    @for point in self.texts.points_for(&self.waiting.request.context) { li { (self.fill(point)) } }
                    li { (words.takes_effect) }
                }
            }
            section aria-labelledby="ends" {
                h2 #ends { (words.how_it_ends) }
                p { (self.fill(&self.texts.ends)) }
            }
        }
    }

    /// Who may accept, for somebody who may not.
    fn denied(&self) -> Markup {
        let words = self.visit.words();
        let reason = self.waiting.denied.as_deref().unwrap_or_default();
        html! {
            div .box role="alert" {
                p { strong { (words.not_you) } }
                p { (if self.texts.who.is_empty() { reason } else { self.texts.who.as_str() }) }
                p { (words.ask_another) }
            }
        }
    }

    fn form(&self, session: &Session, notice: Option<Notice>) -> Markup {
        let (words, path) = (self.visit.words(), self.visit.path.as_str());
        let is_wrong = notice == Some(Notice::TickFirst);
        let confirm =
            fill(&self.texts.confirm, &[("requester", &self.requester), ("resource", &self.organization)]);
        html! {
            section .decision aria-labelledby="decision" {
                h2 #decision { (words.your_decision) }
                form method="post" action=(path) {
                    (token_field(session, path, &self.waiting.shown))
                    @if is_wrong { p #yes-error .error role="alert" { (words.tick_first) } }
                    // No `required`: it would keep people from declining.
                    label .tick {
                        input type="checkbox" name="yes" value="on" autofocus[is_wrong]
                            aria-invalid=[is_wrong.then_some("true")]
                            aria-describedby=[is_wrong.then_some("yes-error")];
                        span { (confirm) }
                    }
                    div .buttons {
                        button .primary type="submit" name="do" value="accept" { (words.accept) }
                        @if self.waiting.can_decline {
                            button type="submit" name="do" value="decline" { (words.decline) }
                        }
                    }
                    @if !self.waiting.can_decline { p .hint { (words.no_decline) } }
                }
            }
        }
    }
}
