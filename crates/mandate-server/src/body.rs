//! Reads the body of a request, up to a maximum length and within a time. What the bytes mean is up to the
//! transports in `authzen` and `gateway`.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

/// A body that arrived, or is too long.
#[derive(Debug)]
pub enum ReceivedBody {
    Complete(Bytes),
    TooLong,
}

/// A body that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request body is incomplete")]
    Incomplete,
    #[error("the request body took too long to arrive")]
    TimedOut,
}

/// Bytes of a body that is too long which are still read and thrown away: many clients read the answer only
/// after they have sent the whole body.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;

/// Reads a body.
///
/// # Errors
/// The connection failed, or the body took too long to arrive.
pub async fn read_body(
    mut body: Incoming,
    max_bytes: usize,
    timeout: Duration,
) -> Result<ReceivedBody, BodyError> {
    let arrived = read_within_limit(&mut body, max_bytes, timeout).await;
    if let Ok(ReceivedBody::TooLong) = arrived {
        // The answer is the same if this takes too long.
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
    // Most bodies arrive together with the head, so they need no timer.
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
