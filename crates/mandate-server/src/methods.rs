//! The HTTP methods that endpoints answer.

use hyper::Method;

/// The methods that an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    Post,
    GetOrHead,
    Any,
    /// Reads, replaces or deletes what the path names.
    Resource,
    /// Reads what is there, or adds to it.
    GetOrPost,
    Get,
    /// Does what the path says, which may be to end something.
    PostOrDelete,
}

impl Methods {
    pub fn allow(self, method: &Method) -> bool {
        match self {
            Self::Post => method == Method::POST,
            Self::GetOrHead => [Method::GET, Method::HEAD].contains(method),
            Self::Any => true,
            Self::GetOrPost => [Method::GET, Method::POST].contains(method),
            Self::Get => method == Method::GET,
            Self::PostOrDelete => [Method::POST, Method::DELETE].contains(method),
            Self::Resource => [Method::GET, Method::PUT, Method::DELETE].contains(method),
        }
    }

    /// The value of the header `Allow`.
    pub fn allow_header(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::GetOrHead => "GET, HEAD",
            Self::Any => "*",
            Self::Resource => "GET, PUT, DELETE",
            Self::GetOrPost => "GET, POST",
            Self::Get => "GET",
            Self::PostOrDelete => "POST, DELETE",
        }
    }
}
