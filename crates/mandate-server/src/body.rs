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

/// How much of a body that is too long is read all the same, in bytes: whoever is still sending does not
/// hear the answer.
const DRAINED: usize = 16 * 1024 * 1024;

/// Waits for a body.
///
/// # Errors
/// The connection failed, or the body took too long.
pub async fn collect(mut body: Incoming, longest: usize, patience: Duration) -> Result<Arrived, Lost> {
    let arrived = arrive(&mut body, longest, patience).await;
    if let Ok(Arrived::TooLong) = arrived {
        // Whether it ends in time or not, the answer is the same.
        let _ = tokio::time::timeout(patience, drain(body)).await;
    }
    arrived
}

async fn drain(mut body: Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > DRAINED {
            return;
        }
    }
}

async fn arrive(body: &mut Incoming, longest: usize, patience: Duration) -> Result<Arrived, Lost> {
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
