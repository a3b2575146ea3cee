//! The pages: the page that a link leads to, what an organization has accepted, what a partner asked for, and the
//! sign-in. They are HTML that the server renders; there is no script. What is asked for, and what is said about it, is
//! content (`mandate_changes::RequestRule`); what happens is decided by the policies, in `mandate_pdp::review`. So the
//! pages know no domain. They store nothing but who is signed in, and that only in memory.
//!
//! Start reading at `router`: every page is a row there. `visit` is who asks for a page, `guard` what every request and
//! answer has to keep, and `sign_in` how people sign in.

mod ask_form;
mod commit;
mod consent;
mod consent_page;
mod consents;
mod cookie;
mod demo_page;
mod done;
mod form;
mod form_token;
mod guard;
mod instead;
mod language;
mod layout;
mod link;
mod link_page;
mod link_state;
mod message;
mod pages;
mod partner;
mod partner_page;
mod partner_state;
mod paths;
mod people;
mod principals;
mod router;
mod secret;
mod session;
mod sign_in;
mod sign_in_page;
#[cfg(test)]
mod tests;
mod text;
mod texts;
mod visit;
mod visitor;
mod words;

pub use pages::{PagesConfig, UrlError, check_url};
pub use router::router;
pub use sign_in::{SignIn, SignInError};
