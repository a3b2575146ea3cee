//! A moment: the time at which a question is asked. The engine reads no clock, so moments come from outside. What a
//! moment means for a request is in `clock.rs`.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A time to the second, of the years that Cedar's `datetime` can write. A clock that shows another year counts as
/// the first or the last of them.
///
/// ```
/// use mandate_core::moment::Moment;
///
/// let moment: Moment = "2026-11-28T11:15:30.5+01:00".parse().expect("a time with its offset");
/// assert_eq!(moment.to_string(), "2026-11-28T10:15:30Z");
/// assert_eq!(Moment::from_unix_seconds(-1).to_string(), "1969-12-31T23:59:59Z");
/// assert_eq!(Moment::from_unix_seconds(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
/// assert_eq!(Moment::from_unix_seconds(i64::MAX).to_string(), "9999-12-30T22:00:00Z");
/// assert!("tomorrow".parse::<Moment>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

/// Why a text is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("has to be a time in RFC 3339, such as `2026-11-28T10:00:00Z`: {0}")]
pub struct MomentError(String);

/// The first second of the year 0.
const FIRST_SECOND: i64 = -62_167_219_200;

impl Moment {
    /// The moment so many seconds after the beginning of 1970, or before it.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        // All of these are within the bounds of a timestamp.
        let seconds = seconds.clamp(FIRST_SECOND, Timestamp::MAX.as_second());
        Self(Timestamp::from_second(seconds).unwrap_or_default())
    }

    /// The moment of a text that Cedar's `datetime` takes: a date alone is its midnight in UTC.
    pub(crate) fn from_cedar(text: &str) -> Option<Self> {
        if text.contains('T') { text.parse().ok() } else { format!("{text}T00:00:00Z").parse().ok() }
    }

    /// Seconds since the beginning of 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        self.0
    }
}

/// The second that has begun.
impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        let seconds = timestamp.as_nanosecond().div_euclid(1_000_000_000);
        Self::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let timestamp: Timestamp =
            text.parse().map_err(|error: jiff::Error| MomentError(error.to_string()))?;
        Ok(timestamp.into())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// In RFC 3339, in UTC.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
