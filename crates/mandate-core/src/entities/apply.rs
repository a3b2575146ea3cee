//! Applying a change: it is staged (`transaction.rs`), held to the rules (`rules.rs`), and accepted as a
//! whole or not at all.

use super::change::EntityChanges;
use super::rules;
use super::store::Entities;
use super::transaction::Transaction;
use crate::diagnostics::Diagnostics;
use crate::digest::SetDigest;
use crate::parallel::map_chunks;
use crate::schema::Schema;

impl Entities {
    /// The entities with a change. Entities that the change leaves as they are keep their version.
    ///
    /// # Errors
    /// Every rule that the changed entities would break.
    pub fn apply(&self, change: &EntityChanges, schema: &Schema) -> Result<Self, Diagnostics> {
        let mut transaction = Transaction::stage(self, change, schema);
        let mut diagnostics = std::mem::take(&mut transaction.diagnostics);
        // On several threads, like the rest that every changed entity takes.
        for (violations, digest) in map_chunks(&transaction.changed, |upserts| {
            let mut digest = SetDigest::default();
            for upsert in upserts {
                digest.add(&upsert.entity.digest(schema));
            }
            (rules::check_each(&transaction, upserts), digest)
        }) {
            diagnostics.extend(violations);
            transaction.after.digest.add_all(&digest);
        }
        for entity in &transaction.replaced_or_removed {
            transaction.after.digest.remove(&entity.digest(schema));
        }
        rules::check_no_cycles(&transaction, &mut diagnostics);
        rules::check_no_orphans(&transaction, &mut diagnostics);
        diagnostics.into_result().map(|_| transaction.after)
    }
}
