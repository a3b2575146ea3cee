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
pub enum Arrived {
    Whole(Bytes),
    TooLong,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub enum Lost {
    Broken,
    Late,
}

/// Waits for a body.
///
/// # Errors
/// The connection failed, or the body took too long.
pub async fn collect(body: Incoming, longest: usize, patience: Duration) -> Result<Arrived, Lost> {
    let mut arriving = pin!(Limited::new(body, longest).collect());
    // Most bodies come with their head, and need no timer.
    let arrived = match poll_fn(|context| Poll::Ready(arriving.as_mut().poll(context))).await {
        Poll::Ready(arrived) => Ok(arrived),
        Poll::Pending => tokio::time::timeout(patience, arriving).await,
    };
    match arrived {
        Ok(Ok(body)) => Ok(Arrived::Whole(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(Arrived::TooLong),
        Ok(Err(_)) => Err(Lost::Broken),
        Err(_) => Err(Lost::Late),
    }
}
