//! What a change of the entities does: who gains and who loses what. Only what can read a changed entity is
//! searched (`affected`), in every context that an action can have (`contexts`), before and after the change.
//! Start reading at `compare`.

mod affected;
mod compare;
mod contexts;

pub use compare::{AccessChange, AccessComparison, ChangeDirection};
pub use contexts::{ActionContexts, ContextError};
