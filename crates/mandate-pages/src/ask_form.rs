//! The form with which a partner asks for something: what it shows is what the rule of requests lets a partner choose.

use mandate_changes::{RequestRule, fill};
use mandate_core::schema::Type;
use mandate_pdp::View;
use mandate_pdp::access_request::NewRequest;
use mandate_pdp::review_operation::ReviewOperation;
use mandate_store::EntityName;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crate::commit::Change;
use crate::form::Fields;
use crate::form_token::token_field;
use crate::language::Language;
use crate::partner_state::{as_text, choices_of};
use crate::people::{self, display_name};
use crate::secret::unguessable;
use crate::session::Session;
use crate::visit::Visit;

/// What is wrong with a form that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongField {
    Customer,
    Days,
    Choice,
}

/// A form to show again, with what is wrong.
pub struct Problem<'f> {
    pub rule: &'f str,
    pub fields: &'f Fields,
    pub wrong: WrongField,
}

/// What the form shows, for its token.
pub fn shown(principal: &EntityName, rule: &RequestRule, once: &str) -> Vec<u8> {
    format!("ask {} {} {once}", as_text(principal), rule.id).into_bytes()
}

/// Where the forms are sent.
pub const PATH: &str = "/partner";

const DAY: u64 = 24 * 60 * 60;

/// Reads a form that was sent.
///
/// # Errors
/// The field that is wrong.
pub fn read(
    view: &View<'_>,
    rule: &RequestRule,
    principal: &EntityName,
    fields: &Fields,
) -> Result<Change, WrongField> {
    let schema = view.snapshot().schema();
    let mut context: Map<String, Value> =
        rule.context.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, member) in members(view, rule) {
        let sent = fields.get(&field(name));
        match member {
            Type::Bool => {
                context.insert(name.to_owned(), json!(sent == "on"));
            }
            Type::Entity(_) if sent.is_empty() && !is_required(view, rule, principal, name) => {}
            _ => {
                let chosen = choices_of(view, principal, member).into_iter().find(|it| it.id == sent);
                context.insert(name.to_owned(), json!(chosen.ok_or(WrongField::Choice)?));
            }
        }
    }
    let days = fields.get("days");
    let valid_for =
        if days.is_empty() { None } else { Some(days.parse::<u64>().map_err(|_| WrongField::Days)?) };
    let valid_for = valid_for.map(|days| days.checked_mul(DAY).ok_or(WrongField::Days)).transpose()?;
    if valid_for.is_some_and(|seconds| seconds == 0 || seconds > rule.valid_for_at_most) {
        return Err(WrongField::Days);
    }
    let customer = fields.get("customer");
    let entity_type = schema.entity_type(rule.resource).name.to_string();
    let resource = (!customer.is_empty()).then(|| EntityName { entity_type, id: customer.to_owned() });
    if resource.as_ref().is_some_and(|resource| !people::exists(view, resource)) {
        return Err(WrongField::Customer);
    }
    let new = NewRequest {
        rule: Some(rule.id.clone()),
        requester: principal.clone(),
        resource,
        context,
        valid_for,
        language: Language::from_code(fields.get("language")).map(|language| language.code().to_owned()),
    };
    let asked = format!("{new:?}");
    // Two clicks on one button are one request.
    Ok(Change::review(view, ReviewOperation::Ask(new)).once(fields.get("once"), &[asked.as_bytes()]))
}

/// Whether a requester has to choose a member of the context.
fn is_required(view: &View<'_>, rule: &RequestRule, principal: &EntityName, name: &str) -> bool {
    let requester = people::uid(view, principal).map(|uid| uid.entity_type);
    requester.is_some_and(|requester| rule.required_of(requester).any(|member| member == name))
}

/// The members of the context that a partner may choose, with their types.
fn members<'v>(view: &'v View<'_>, rule: &'v RequestRule) -> impl Iterator<Item = (&'v str, &'v Type)> {
    let context = &view.snapshot().schema().action(rule.ask).context_type;
    let chosen = rule.may_choose.iter().filter_map(|name| Some((name.as_str(), &context.get(name)?.ty)));
    chosen.filter(|(_, member)| matches!(member, Type::Bool | Type::Entity(_)))
}

fn field(name: &str) -> String {
    format!("choice.{name}")
}

/// The form of a rule.
pub fn form(
    visit: &Visit,
    (view, session): (&View<'_>, &Session),
    (principal, rule): (&EntityName, &RequestRule),
    problem: Option<&Problem<'_>>,
) -> Markup {
    let (words, id) = (visit.words(), rule.id.as_str());
    let problem = problem.filter(|problem| problem.rule == id);
    let sent = |name: &str| problem.map_or("", |problem| problem.fields.get(name));
    let most_days = (rule.valid_for_at_most / DAY).to_string();
    let days = if problem.is_some() { sent("days").to_owned() } else { (rule.valid_for / DAY).to_string() };
    let wrong_choice = problem.is_some_and(|problem| problem.wrong == WrongField::Choice);
    let wrong_customer = problem.is_some_and(|problem| problem.wrong == WrongField::Customer);
    let wrong_days = problem.is_some_and(|problem| problem.wrong == WrongField::Days);
    let language = Language::from_code(sent("language")).unwrap_or(visit.language);
    let required = rule.offer.is_none() || rule.standing;
    html! {
        form method="post" action=(PATH) {
            (hidden(session, principal, rule))
            div .field {
                label for={ "customer-" (id) } { (words.customer_id) }
                @if !required { p .hint id={ "customer-hint-" (id) } { (words.customer_hint) } }
                @if wrong_customer {
                    p .error id={ "customer-error-" (id) } role="alert" { (words.customer_wrong) }
                }
                input #{ "customer-" (id) } name="customer" maxlength="200" autocomplete="off" spellcheck="false"
                    value=(sent("customer")) required[required]
                    aria-invalid=[wrong_customer.then_some("true")]
                    aria-describedby=[described(id, required, wrong_customer)];
            }
            @for (name, member) in members(view, rule) {
                (choice(visit, view, (principal, rule), (name, member), (sent(&field(name)), wrong_choice)))
            }
            div .field {
                label for={ "days-" (id) } { (words.days) }
                p .hint id={ "days-hint-" (id) } { (fill(words.days_hint, &[("days", &most_days)])) }
                @if wrong_days {
                    p .error id={ "days-error-" (id) } role="alert" {
                        (fill(words.days_wrong, &[("days", &most_days)]))
                    }
                }
                input .short #{ "days-" (id) } name="days" inputmode="numeric" maxlength="5" value=(days)
                    aria-invalid=[wrong_days.then_some("true")]
                    aria-describedby={ "days-hint-" (id) @if wrong_days { " days-error-" (id) } };
            }
            div .field {
                label for={ "language-" (id) } { (words.email_language) }
                select #{ "language-" (id) } name="language" {
                    @for one in Language::ALL {
                        option value=(one.code()) lang=(one.code()) selected[one == language] { (one.name()) }
                    }
                }
            }
            div .buttons { button .primary type="submit" name="do" value="ask" { (words.create_link) } }
        }
    }
}

/// The ids of what describes the field of the customer.
fn described(id: &str, required: bool, wrong: bool) -> Option<String> {
    let hint = (!required).then(|| format!("customer-hint-{id}"));
    let error = wrong.then(|| format!("customer-error-{id}"));
    let ids: Vec<String> = hint.into_iter().chain(error).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

/// The form that makes a standing link, or shows it.
pub fn standing_form(visit: &Visit, session: &Session, principal: &EntityName, rule: &RequestRule) -> Markup {
    html! {
        form method="post" action=(PATH) {
            (hidden(session, principal, rule))
            div .buttons {
                button .primary type="submit" name="do" value="ask" { (visit.words().show_standing) }
            }
        }
    }
}

/// The hidden fields of a form.
fn hidden(session: &Session, principal: &EntityName, rule: &RequestRule) -> Markup {
    let once = unguessable();
    html! {
        (token_field(session, PATH, &shown(principal, rule, &once)))
        input type="hidden" name="once" value=(once);
        input type="hidden" name="as" value=(as_text(principal));
        input type="hidden" name="rule" value=(rule.id);
    }
}

/// A member of the context to choose.
fn choice(
    visit: &Visit,
    view: &View<'_>,
    (principal, rule): (&EntityName, &RequestRule),
    (name, member): (&str, &Type),
    (sent, is_wrong): (&str, bool),
) -> Markup {
    let texts = rule.texts(visit.language.code());
    let label = texts.context.get(name).map_or(name, String::as_str);
    let id = format!("{name}-{}", rule.id);
    if *member == Type::Bool {
        return html! {
            label .tick { input type="checkbox" name=(field(name)) value="on" checked[sent == "on"]; span { (label) } }
        };
    }
    let choices = choices_of(view, principal, member);
    html! {
        @if !choices.is_empty() || (is_wrong && *member != Type::Bool) {
            div .field {
                label for=(id) { (label) }
                @if is_wrong {
                    p .error id={ (id) "-error" } role="alert" { (visit.words().choice_wrong) }
                }
                select id=(id) name=(field(name)) aria-invalid=[is_wrong.then_some("true")]
                    aria-describedby=[is_wrong.then(|| format!("{id}-error"))] {
                    @if !is_required(view, rule, principal, name) {
                        option value="" { (visit.words().for_nobody_else) }
                    }
                    @for one in &choices {
                        option value=(one.id) selected[one.id == sent] { (display_name(view, one)) }
                    }
                }
            }
        }
    }
}
