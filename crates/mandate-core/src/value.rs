//! Values of attributes and contexts: what they are (`values.rs`), and how they are read from JSON by their
//! type (`reader.rs`). `cedar.rs` converts them to Cedar's own when a decision needs them.

mod reader;
mod values;

pub use reader::{Completeness, Dialect, MAX_TEXT_BYTES, MAX_VALUES, PathStep, TypeMismatch, ValueReader};
pub use values::{Record, Value};
