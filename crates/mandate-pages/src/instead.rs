//! The answer instead of the one that was asked for.

use axum::response::{IntoResponse, Response};

/// An answer that ends the work on a request. It is boxed, because results that have it are passed around.
pub struct Instead(Box<Response>);

impl From<Response> for Instead {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for Instead {
    fn into_response(self) -> Response {
        *self.0
    }
}
