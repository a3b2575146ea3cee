//! The tokens of forms. A token is bound to the session, the path and what the page showed, so a form that somebody else
//! made, or that shows what is not so any more, changes nothing. `form` reads what was sent.

use maud::{Markup, html};

use crate::session::Session;

/// The field with the token.
pub const TOKEN: &str = "token";

/// Where the form is sent that signs out.
pub const SIGN_OUT: &str = "/sign-out";

/// The hidden field that makes a form one of ours.
pub fn token_field(session: &Session, path: &str, shown: &[u8]) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(token(session, path, shown)); }
}

fn token(session: &Session, path: &str, shown: &[u8]) -> String {
    session.key.prove(&[b"form", path.as_bytes(), shown])
}

pub fn sign_out_token(session: &Session) -> String {
    token(session, SIGN_OUT, &[])
}

/// Whether a token comes from a page of this session at this path, which showed this.
pub fn is_token(session: &Session, path: &str, shown: &[u8], token: &str) -> bool {
    session.key.is_proof(&[b"form", path.as_bytes(), shown], token)
}
