//! Counterexamples: a request with the entities that matter to it, read from the solver's model, completed
//! so that a sidecar could load it, and shrunk so that people can read it. This file only names the parts:
//! start at `witness`; the steps are `model`, `complete`, `shrink` and, in order, `readable`. What the
//! engine decides on a counterexample is in `replay`.

mod complete;
mod model;
mod readable;
mod shrink;
mod witness;

pub use witness::{Witness, WitnessReport};
