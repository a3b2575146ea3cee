//! The clock of the machine, for contexts that have the time and entities that end. Other schemas never need it.

use std::time::SystemTime;

use mandate_core::clock::Clock;
use mandate_core::moment::Moment;
use mandate_core::schema::Schema;

/// The moment that the machine's clock shows. A clock may show any time, also one before 1970.
pub fn now() -> Moment {
    let second = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    Moment::from_unix_seconds(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => second(since.as_secs()),
        // The second that has begun is the earlier one.
        Err(before) => (-second(before.duration().as_secs())).saturating_sub(1),
    })
}

/// The clock for questions that are asked now. It is read only if the schema has something that depends on the time.
pub(crate) fn clock_for(schema: &Schema) -> Clock {
    // Without clock attributes and entities that end, both are the same.
    if schema.has_clocks() || schema.has_ends() { Clock::At(now()) } else { Clock::InQuestion }
}
