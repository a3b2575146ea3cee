//! Mandate decides who may: an authorization sidecar on Cedar policies and live entities.
//!
//! The floors, from the ground up; imports go down only.
//! 0. [`authz`]: the engine. Pure functions from policies, entities and a request to a decision.
//! 1. [`source`]: where content comes from, and hints that it changed.
//! 2. [`pdp`]: the running decision point: the snapshot in use, the cache, the one writer.
//!    [`assurance`]: what tests policies, apart from any running decision point.
//! 3. [`transport`]: bytes in, questions out; decisions in, bytes out.
//! 4. [`cli`]: the command line, which wires the floors together.

pub mod assurance;
pub mod authz;
pub mod cli;
pub mod pdp;
pub mod source;
pub mod transport;
