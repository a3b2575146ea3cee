//! Search: which principals may perform an action on a resource, which resources a principal may act on, and
//! which actions it may perform. The policies say where to look (`start_points`), and each entity found there
//! is decided like any other request, so a superfluous start point costs only time. Start reading at `pages`;
//! the order of entities is in `walk`.

mod actions;
mod cursor;
mod pages;
mod permitted;
mod start_points;
mod target;
mod walk;

pub use actions::{ActionSearchError, permitted_actions};
pub use cursor::{Cursor, WalkPhase};
pub use pages::{Page, PageLimits, SearchError, search};
pub use permitted::OnPolicyError;
pub use target::Target;
