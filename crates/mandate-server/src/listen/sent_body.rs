//! The bodies of answers on their way to the client: a connection that still sends one is not idle.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

/// A body that is being sent, until it is dropped.
pub struct Sending(pub Arc<AtomicU64>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer.
pub struct SentBody<B> {
    body: B,
    _sending: Option<Sending>,
}

impl<B> SentBody<B> {
    /// A body, and what counts it as finished when it has been sent.
    pub fn new(body: B, sending: Option<Sending>) -> Self {
        Self { body, _sending: sending }
    }
}

impl<B: Body + Unpin> Body for SentBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
