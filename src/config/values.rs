//! Values of options that carry their bounds: one that is out of bounds is refused where it is written, with
//! the flag or with the line of the configuration file.

use crate::error::CliError;
use mandate_core::json::quoted;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

/// Why a value is refused; clap and the reader of the file add where it is.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    #[error("has to be a whole number: {0}")]
    Number(#[from] ParseIntError),
    #[error("has to be at least {0}")]
    TooSmall(usize),
    #[error("has to be at most {0}")]
    TooLarge(usize),
    #[error("has to be a time such as `500ms` or `30s`: {0}")]
    Time(#[from] humantime::DurationError),
    #[error("has to be more than 0s")]
    NoTime,
    #[error("has to be at most 1 day")]
    TooLong,
    #[error("`{0}` is not a time zone: use its IANA name, such as `Europe/Berlin`")]
    TimeZone(String),
    #[error("`{0}` is not a file mode: use octal digits such as `660`")]
    FileMode(String),
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Bounded<const MIN: usize, const MAX: usize>(usize);

/// A whole number above 0: a limit of 0 would refuse everything.
pub type Count = Bounded<1, { usize::MAX }>;

impl<const MIN: usize, const MAX: usize> Bounded<MIN, MAX> {
    pub fn get(self) -> usize {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> TryFrom<usize> for Bounded<MIN, MAX> {
    type Error = ValueError;

    fn try_from(number: usize) -> Result<Self, ValueError> {
        match number {
            number if number < MIN => Err(ValueError::TooSmall(MIN)),
            number if number > MAX => Err(ValueError::TooLarge(MAX)),
            number => Ok(Self(number)),
        }
    }
}

impl<const MIN: usize, const MAX: usize> FromStr for Bounded<MIN, MAX> {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse::<usize>()?.try_into()
    }
}

/// A timeout of more than 0 seconds and at most 1 day. Timeouts cannot be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Timeout(Duration);

impl Timeout {
    const MAX: Duration = Duration::from_hours(24);

    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match humantime::parse_duration(text)? {
            Duration::ZERO => Err(ValueError::NoTime),
            time if time > Self::MAX => Err(ValueError::TooLong),
            time => Ok(Self(time)),
        }
    }
}

impl TryFrom<String> for Timeout {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// Permissions of a file, written as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// Read and write for owner and group.
    pub const SOCKET: Self = Self(0o660);

    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| ValueError::FileMode(text.to_owned()))
    }
}

impl TryFrom<String> for FileMode {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// A time zone, by its IANA name. Its rules are part of the program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NamedTimeZone(TimeZone);

impl NamedTimeZone {
    pub fn into_zone(self) -> TimeZone {
        self.0
    }
}

impl FromStr for NamedTimeZone {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        TimeZone::get(text).map(Self).map_err(|_| ValueError::TimeZone(text.to_owned()))
    }
}

impl TryFrom<String> for NamedTimeZone {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// The names of a comma-separated list, without spaces around them and without empty ones.
pub fn non_empty_names(given: Option<Vec<String>>) -> Vec<String> {
    let names = given.into_iter().flatten().map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Checks a base URL that paths are appended to.
pub fn base_url((option, example): (&str, &str), given: &str) -> Result<String, CliError> {
    let url: Option<hyper::Uri> = given.parse().ok();
    let fits = |url: &hyper::Uri| {
        let scheme = url.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
        let authority = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        scheme && authority && url.query().is_none() && !given.contains('#')
    };
    if url.as_ref().is_some_and(fits) {
        return Ok(given.trim_end_matches('/').to_owned());
    }
    Err(CliError::message(format!("`{option}` has to be like `{example}`, found {}", quoted(given))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let number = |text: &str| text.parse::<Bounded<2, 5>>().map(Bounded::get);
        assert_eq!((number("2"), number("5")), (Ok(2), Ok(5)));
        assert_eq!((number("1"), number("6")), (Err(ValueError::TooSmall(2)), Err(ValueError::TooLarge(5))));
        assert!(matches!(number("-1"), Err(ValueError::Number(_))));
        let time = |text: &str| text.parse::<Timeout>().map(Timeout::get);
        assert_eq!((time("1ms"), time("1day")), (Ok(Duration::from_millis(1)), Ok(Timeout::MAX)));
        assert_eq!((time("0s"), time("25h")), (Err(ValueError::NoTime), Err(ValueError::TooLong)));
        assert!(matches!(time("10"), Err(ValueError::Time(_))));
    }
}
