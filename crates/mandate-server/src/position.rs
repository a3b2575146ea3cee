//! Positions of the log, as requests and answers name them. An answer says at which position of the entities it was
//! made; a request may ask for an answer at a position or later.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use tokio::sync::Semaphore;

use mandate_pdp::{LogPosition, Pdp};

/// The position that an answer was made at.
pub const MANDATE_AT: &str = "mandate-at";

/// The position that a request needs.
pub const MANDATE_AT_LEAST: HeaderName = HeaderName::from_static("mandate-at-least");

/// The requests that may wait for a position at the same time; others are told at once to try again.
static WAITING: Semaphore = Semaphore::const_new(256);

/// Why a request cannot be answered at the position that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("`Mandate-At-Least` is not one position: send the value of a `Mandate-At`")]
    Malformed,
    #[error(
        "`Mandate-At-Least` cannot be answered: the entities here come from files, which have no positions"
    )]
    NoStore,
    #[error(
        "`Mandate-At-Least` is {asked}, and the store here is at {at}: the epoch is that of another store"
    )]
    OtherEpoch { asked: LogPosition, at: LogPosition },
    #[error("`Mandate-At-Least` is {asked}, and the store here is still at {at}: try again")]
    NotYet { asked: LogPosition, at: LogPosition },
}

impl PositionError {
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::NoStore => StatusCode::BAD_REQUEST,
            Self::OtherEpoch { .. } => StatusCode::PRECONDITION_FAILED,
            Self::NotYet { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Waits until the entities are at the position that a request names, if it names one.
///
/// # Errors
/// They are not there in time, or never will be.
pub async fn reach(pdp: &Pdp, headers: &HeaderMap, max_wait: Duration) -> Result<(), PositionError> {
    match headers.get(MANDATE_AT_LEAST) {
        None => Ok(()),
        // Of two positions, one would be left out in silence.
        Some(_) if headers.get_all(MANDATE_AT_LEAST).iter().count() > 1 => Err(PositionError::Malformed),
        Some(asked) => reach_position(pdp, asked.as_bytes(), max_wait).await,
    }
}

/// As [`reach`], with the text of the position.
///
/// # Errors
/// As there.
pub async fn reach_position(pdp: &Pdp, asked: &[u8], max_wait: Duration) -> Result<(), PositionError> {
    let text = str::from_utf8(asked).map_err(|_| PositionError::Malformed)?;
    let asked: LogPosition = text.trim().parse().map_err(|_| PositionError::Malformed)?;
    let at = pdp.view().position().ok_or(PositionError::NoStore)?;
    if at.epoch != asked.epoch {
        return Err(PositionError::OtherEpoch { asked, at });
    }
    if at.sequence >= asked.sequence {
        return Ok(());
    }
    // All that wait are woken by every change, so not everybody may.
    let Ok(_place) = WAITING.try_acquire() else { return Err(PositionError::NotYet { asked, at }) };
    if tokio::time::timeout(max_wait, pdp.reach(asked)).await.is_ok() {
        return Ok(());
    }
    let at = pdp.view().position().unwrap_or(at);
    Err(PositionError::NotYet { asked, at })
}

/// Adds the position of an answer to its headers.
pub fn insert(headers: &mut HeaderMap, at: Option<LogPosition>) {
    if let Some(at) = at
        && let Ok(at) = HeaderValue::try_from(at.to_string())
    {
        headers.insert(HeaderName::from_static(MANDATE_AT), at);
    }
}
