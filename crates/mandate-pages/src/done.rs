//! What was done, to be said on the next page.

use maud::{Markup, html};

use crate::session::Session;
use crate::text::encode;
use crate::visit::Visit;

/// Something that was done, to be said on the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Accepted,
    Declined,
    Managed,
    Asked,
    Withdrawn,
}

impl Done {
    const ALL: [Self; 5] = [Self::Accepted, Self::Declined, Self::Managed, Self::Asked, Self::Withdrawn];

    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Managed => "managed",
            Self::Asked => "asked",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// A path to a page that says so. The proof keeps others from making us say it.
    pub fn path(self, path: &str, session: &Session) -> String {
        let proof = session.key.prove(&[b"done", self.name().as_bytes()]);
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}done={}&proof={}", self.name(), encode(&proof))
    }

    /// What was done, by the parameters of a page.
    pub fn read(done: Option<&str>, proof: Option<&str>, session: &Session) -> Option<Self> {
        let done = Self::ALL.into_iter().find(|known| Some(known.name()) == done)?;
        session.key.is_proof(&[b"done", done.name().as_bytes()], proof?).then_some(done)
    }

    /// The sentence about it.
    pub fn html(self, visit: &Visit) -> Markup {
        let words = visit.words();
        let text = match self {
            Self::Accepted => words.done_accepted,
            Self::Declined => words.done_declined,
            Self::Managed => words.done_managed,
            Self::Asked => words.done_asked,
            Self::Withdrawn => words.done_withdrawn,
        };
        html! { p .done role="status" { (text) } }
    }
}
