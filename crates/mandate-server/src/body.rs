//! The body of a request, within its limits.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

/// A body, or as much of it as may come.
#[derive(Debug)]
pub enum ReceivedBody {
    Complete(Bytes),
    TooLong,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub enum BodyError {
    Incomplete,
    TimedOut,
}

/// How much of a body that is too long is read all the same, in bytes: whoever is still sending does not
/// hear the answer.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;

/// Waits for a body.
///
/// # Errors
/// The connection failed, or the body took too long.
pub async fn read_body(
    mut body: Incoming,
    max_bytes: usize,
    timeout: Duration,
) -> Result<ReceivedBody, BodyError> {
    let arrived = read_within_limit(&mut body, max_bytes, timeout).await;
    if let Ok(ReceivedBody::TooLong) = arrived {
        // Whether it ends in time or not, the answer is the same.
        let _ = tokio::time::timeout(timeout, drain(body)).await;
    }
    arrived
}

async fn drain(mut body: Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > MAX_DRAINED_BYTES {
            return;
        }
    }
}

async fn read_within_limit(
    body: &mut Incoming,
    max_bytes: usize,
    timeout: Duration,
) -> Result<ReceivedBody, BodyError> {
    let mut arriving = pin!(Limited::new(body, max_bytes).collect());
    // Most bodies come with their head, and need no timer.
    let arrived = match poll_fn(|context| Poll::Ready(arriving.as_mut().poll(context))).await {
        Poll::Ready(arrived) => Ok(arrived),
        Poll::Pending => tokio::time::timeout(timeout, arriving).await,
    };
    match arrived {
        Ok(Ok(body)) => Ok(ReceivedBody::Complete(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(ReceivedBody::TooLong),
        Ok(Err(_)) => Err(BodyError::Incomplete),
        Err(_) => Err(BodyError::TimedOut),
    }
}
