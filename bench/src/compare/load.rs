//! The load of one part: the same questions over HTTP or over gRPC.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::grpc::{self, Check};
use crate::load;
use crate::round::Round;
use crate::shot::Shot;

/// Requests for the sidecars, and the same requests for the limit, which may answer anything.
pub enum Load {
    Http {
        shots: Rc<[Shot]>,
        any: Rc<[Shot]>,
        connections: usize,
        /// Questions in each request.
        questions: usize,
    },
    Grpc {
        checks: Rc<[Check]>,
        any: Rc<[Check]>,
        in_flight: usize,
    },
}

impl Load {
    pub fn is_grpc(&self) -> bool {
        matches!(self, Self::Grpc { .. })
    }

    /// Questions in each request.
    pub fn questions(&self) -> usize {
        match self {
            Self::Http { questions, .. } => *questions,
            Self::Grpc { .. } => 1,
        }
    }

    /// Loads a server for a while.
    ///
    /// # Errors
    /// The server cannot be connected to.
    pub fn run(&self, port: u16, is_limit: bool, length: Duration) -> io::Result<Round> {
        match self {
            Self::Http { shots, any, connections, .. } => {
                load::run(port, if is_limit { any } else { shots }, *connections, length)
            }
            Self::Grpc { checks, any, in_flight } => {
                grpc::load(port, if is_limit { any } else { checks }, *in_flight, length)
            }
        }
    }
}
