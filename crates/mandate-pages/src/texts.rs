//! The texts of the pages themselves, in every language. What is asked for has texts of its own, which are content
//! (`mandate_changes::Texts`). A text that is missing in a language does not compile.
//! Which language a reader gets is in `language`; the texts are in `words`.

/// All texts, in one language. `{name}` and the like stand for values.
pub struct Words {
    pub months: [&'static str; 12],
    /// What follows the number of a day.
    pub after_day: &'static str,
    pub yes: &'static str,
    pub no: &'static str,

    // Around every page.
    pub product: &'static str,
    pub skip: &'static str,
    pub navigation: &'static str,
    pub consents: &'static str,
    pub partner: &'static str,
    pub language: &'static str,
    pub signed_in_as: &'static str,
    pub sign_out: &'static str,
    pub demo: &'static str,
    pub reference: &'static str,

    // Signing in.
    pub sign_in: &'static str,
    pub sign_in_again: &'static str,
    pub demo_choose: &'static str,
    pub demo_hint: &'static str,
    pub demo_host: Message,
    pub signed_out: Message,
    pub session_over: Message,
    pub sign_in_failed: Message,
    pub sign_in_unavailable: Message,
    pub sign_in_stale: Message,
    pub unknown_organization: Message,
    pub nobody: Message,

    // The page of a link.
    pub who_asks: &'static str,
    pub for_whom: &'static str,
    pub partner_id: &'static str,
    pub valid_until: &'static str,
    pub no_end: &'static str,
    pub what_it_means: &'static str,
    pub takes_effect: &'static str,
    pub how_it_ends: &'static str,
    pub accept: &'static str,
    pub decline: &'static str,
    pub your_decision: &'static str,
    pub tick_first: &'static str,
    pub no_decline: &'static str,
    pub not_you: &'static str,
    pub ask_another: &'static str,
    pub changed: Message,
    pub unknown_link: Message,
    pub other_organization: Message,
    pub not_a_reviewer: Message,
    pub no_organization: Message,
    pub own_link: Message,
    pub expired: Message,
    pub accepted: Message,
    pub accepted_by: &'static str,
    pub declined: Message,
    pub withdrawn: Message,
    pub accepted_before: Message,
    pub requester_denied: Message,
    pub denied: Message,
    pub not_now: Message,
    pub unknown_outcome: Message,
    pub not_usable: Message,

    // What an organization has accepted.
    pub consents_of: &'static str,
    pub no_consents: &'static str,
    pub since: &'static str,
    pub accepted_by_label: &'static str,
    pub not_known: &'static str,
    pub may_do: &'static str,
    pub sure: &'static str,
    pub sure_hint: &'static str,
    pub cancel: &'static str,
    pub done_accepted: &'static str,
    pub done_declined: &'static str,
    pub done_managed: &'static str,

    // For partners.
    pub acting_as: &'static str,
    pub act_as: &'static str,
    pub make_link: &'static str,
    pub make_link_hint: &'static str,
    pub customer_id: &'static str,
    pub customer_hint: &'static str,
    pub for_nobody_else: &'static str,
    pub days: &'static str,
    pub days_hint: &'static str,
    pub days_wrong: &'static str,
    pub choice_wrong: &'static str,
    pub customer_wrong: &'static str,
    pub email_language: &'static str,
    pub create_link: &'static str,
    pub standing: &'static str,
    pub standing_hint: &'static str,
    pub show_standing: &'static str,
    pub requests: &'static str,
    pub no_requests: &'static str,
    pub for_any: &'static str,
    pub asked_at: &'static str,
    pub status: &'static str,
    pub pending: &'static str,
    pub approved: &'static str,
    pub denied_status: &'static str,
    pub expired_status: &'static str,
    pub cancelled: &'static str,
    pub link: &'static str,
    pub email: &'static str,
    pub open_email: &'static str,
    pub withdraw: &'static str,
    pub customers: &'static str,
    pub no_customers: &'static str,
    pub no_more_customers: &'static str,
    pub next: &'static str,
    pub first: &'static str,
    pub done_asked: &'static str,
    pub done_withdrawn: &'static str,
    pub too_many: Message,

    // What is wrong with a request.
    pub not_found: Message,
    pub wrong_request: Message,
    pub foreign: Message,
    pub internal: Message,
}

/// A heading, and a sentence or two.
#[derive(Clone, Copy)]
pub struct Message {
    pub title: &'static str,
    pub text: &'static str,
}

pub const fn message(title: &'static str, text: &'static str) -> Message {
    Message { title, text }
}
