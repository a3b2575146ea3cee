//! What clock attributes are at a moment, and until when. The schema declares them (`schema/clocks.rs`); they become
//! part of a request when its question is read (`request.rs`). Nothing here reads a clock.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use smol_str::{SmolStr, format_smolstr};

use super::moment::Moment;
use super::schema::{ClockAttribute, EntityUid, Extension, Granularity};
use super::value::{Record, Value};

/// Where the values of a question's clock attributes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// From this moment, at which the question is asked. A caller that sends one is refused.
    At(Moment),
    /// From the question, like any other value of the context: it is not asked now, as in a test.
    InQuestion,
}

/// The values of clock attributes at a moment.
pub(crate) fn values(attributes: &[ClockAttribute], at: Moment, zone: &TimeZone) -> Record {
    Record::new(attributes.iter().map(|attribute| (attribute.name.clone(), value(attribute, at, zone))))
}

fn value(attribute: &ClockAttribute, at: Moment, zone: &TimeZone) -> Value {
    match attribute.granularity {
        Granularity::Seconds(length) => {
            let begun = format_smolstr!("{}", Moment::from_unix_seconds(beginning(at, length)));
            Value::Extension(Extension::DateTime, begun)
        }
        Granularity::Weekday(entity_type) => {
            let day = weekday(zone.to_datetime(at.timestamp()).weekday());
            Value::Entity(EntityUid { entity_type, id: SmolStr::new_static(day) })
        }
    }
}

/// The time that a context tells, if it has one.
pub(crate) fn told(attributes: &[ClockAttribute], context: &Record) -> Option<Moment> {
    attributes.iter().find_map(|attribute| match context.get(&attribute.name)? {
        Value::Extension(Extension::DateTime, text) => Moment::from_cedar(text),
        _ => None,
    })
}

/// The first moment at which one of the clock attributes has another value; `None` if there are none.
pub(crate) fn end<'a>(
    attributes: impl IntoIterator<Item = &'a ClockAttribute>,
    at: Moment,
    zone: &TimeZone,
) -> Option<Moment> {
    attributes.into_iter().map(|attribute| end_of(attribute.granularity, at, zone)).min()
}

fn end_of(granularity: Granularity, at: Moment, zone: &TimeZone) -> Moment {
    match granularity {
        Granularity::Seconds(length) => Moment::from_unix_seconds(beginning(at, length) + length),
        Granularity::Weekday(_) => {
            let tomorrow = zone.to_datetime(at.timestamp()).date().tomorrow();
            let next = tomorrow.and_then(|date| date.to_zoned(zone.clone()));
            // After the last day that can be written, no time is known to be another day.
            next.map_or(Moment::from_unix_seconds(i64::MAX), |next| next.timestamp().into())
        }
    }
}

/// The second at which the granule began.
fn beginning(at: Moment, length: i64) -> i64 {
    at.unix_seconds() - at.unix_seconds().rem_euclid(length)
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
        Weekday::Sunday => "sunday",
    }
}
