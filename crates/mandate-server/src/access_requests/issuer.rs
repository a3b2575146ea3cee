//! What access requests are made from on one listener, and who may make them. A caller that may is an [`Asker`]; all
//! others are answered as if there were no access requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hyper::http::request::Parts;
use serde_json::Value;

use super::callbacks::Callbacks;
use super::keys::Keys;
use crate::base_url::{base_url, host};
use crate::changes::rights::{ChangeRights, NoRight, Right};
use crate::listen::address::Address;
use crate::listen::authentication::Caller;
use mandate_pdp::task_book::TaskBook;

/// What access requests need.
#[derive(Clone)]
pub struct AccessRequestSettings {
    pub keys: Keys,
    /// `None`: nobody is called back.
    pub callbacks: Option<Arc<Callbacks>>,
}

/// Access requests on one listener.
pub struct Issuer {
    pub tasks: TaskBook,
    pub keys: Keys,
    pub rights: ChangeRights,
    pub listener: Address,
    /// Without a slash at the end.
    pub public_url: Option<String>,
    pub pages_url: Option<String>,
    pub callbacks: Option<Arc<Callbacks>>,
}

/// A caller that may submit access requests.
pub struct Asker<'r> {
    pub issuer: &'r Issuer,
    pub caller: &'r str,
    head: &'r Parts,
}

/// One evaluation, or a batch, of such a caller.
pub struct Asking<'r> {
    pub asker: &'r Asker<'r>,
    body: &'r [u8],
    /// The body as JSON with all its numbers.
    raw: OnceLock<Value>,
    /// How many denials may still be looked at.
    left: AtomicUsize,
}

/// The most denials of one batch that are looked at: each takes several decisions. It is as many as a submission may
/// have.
pub const MAX_ITEMS: usize = 20;

impl Issuer {
    /// The caller of a request, if it may submit access requests.
    ///
    /// # Errors
    /// It may not.
    pub fn asker<'r>(&'r self, head: &'r Parts) -> Result<Asker<'r>, NoRight> {
        let listener = (&self.listener, host(&head.uri, &head.headers));
        let caller = self.rights.check(Right::Request, head.extensions.get::<Caller>(), listener)?;
        Ok(Asker { issuer: self, caller, head })
    }
}

impl<'r> Asker<'r> {
    /// The base URL that the caller uses. It names the issuer and the audience of tokens.
    pub fn base_url(&self) -> String {
        let Issuer { public_url, listener, .. } = self.issuer;
        base_url(public_url.as_deref(), listener, &self.head.uri, &self.head.headers)
    }

    pub fn head(&self) -> &'r Parts {
        self.head
    }
}

impl<'r> Asking<'r> {
    pub fn new(asker: &'r Asker<'r>, body: &'r [u8]) -> Self {
        Self { asker, body, raw: OnceLock::new(), left: AtomicUsize::new(MAX_ITEMS) }
    }

    /// A member of the question, as the caller wrote it: of the item of a batch, or else of the whole request.
    pub fn member(&self, item: Option<usize>, name: &str) -> Option<&Value> {
        let raw = self.raw.get_or_init(|| serde_json::from_slice(self.body).unwrap_or_default());
        let of_item = item.and_then(|item| raw.get("evaluations")?.get(item)?.get(name));
        of_item.or_else(|| raw.get(name))
    }

    /// Whether one more denial may be looked at.
    pub fn may_look(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
