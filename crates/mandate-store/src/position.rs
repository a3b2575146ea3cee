//! Positions of the log, as callers see them: `3f9c2a17d04be581:42`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in the log of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// Names the log: another store has another epoch, and positions of both cannot be compared.
    pub epoch: Epoch,
    /// The number of transactions up to here.
    pub sequence: u64,
}

/// The name of a log, made at random with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch that, most likely, no other store has.
    pub(crate) fn random() -> Self {
        // The last eight bytes of such an id are random, but for two bits.
        let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
        Self(random)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

/// A text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position: write `<epoch>:<sequence>`, as in `Mandate-At`")]
pub struct ParsePositionError;

impl FromStr for Epoch {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(ParsePositionError)
    }
}

impl FromStr for LogPosition {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, sequence) = text.split_once(':').ok_or(ParsePositionError)?;
        let digits = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = digits.then(|| sequence.parse().ok()).flatten().ok_or(ParsePositionError)?;
        Ok(Self { epoch: epoch.parse()?, sequence })
    }
}

impl Serialize for Epoch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position = LogPosition { epoch: Epoch::random(), sequence: 42 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in
            ["", ":", "42", "3f9c2a17d04be581:", "3f9c2a17d04be581:+4", "3F9C2A17D04BE581:4", "3f9c:4"]
        {
            assert_eq!(wrong.parse::<LogPosition>(), Err(ParsePositionError), "{wrong}");
        }
    }
}
