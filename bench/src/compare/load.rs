//! The load of one part of a comparison, over HTTP or over gRPC.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::grpc::{self, Check};
use crate::load;
use crate::prepared::PreparedRequest;
use crate::round::Round;

/// The requests for the two sidecars, and the same requests for the limit, where any answer is correct.
pub enum Load {
    Http {
        requests: Rc<[PreparedRequest]>,
        limit_requests: Rc<[PreparedRequest]>,
        connections: usize,
        questions_per_request: usize,
    },
    Grpc {
        checks: Rc<[Check]>,
        limit_checks: Rc<[Check]>,
        in_flight: usize,
    },
}

impl Load {
    pub fn is_grpc(&self) -> bool {
        matches!(self, Self::Grpc { .. })
    }

    pub fn questions_per_request(&self) -> usize {
        match self {
            Self::Http { questions_per_request, .. } => *questions_per_request,
            Self::Grpc { .. } => 1,
        }
    }

    /// Loads a server for `length`.
    ///
    /// # Errors
    /// The server cannot be connected to.
    pub fn run(&self, port: u16, is_limit: bool, length: Duration) -> io::Result<Round> {
        match self {
            Self::Http { requests, limit_requests, connections, .. } => {
                load::run(port, if is_limit { limit_requests } else { requests }, *connections, length)
            }
            Self::Grpc { checks, limit_checks, in_flight } => {
                grpc::load(port, if is_limit { limit_checks } else { checks }, *in_flight, length)
            }
        }
    }
}
