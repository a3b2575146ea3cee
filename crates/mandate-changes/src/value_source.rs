//! Where a value of an edit comes from: the first expression of several that is there. What an expression is, is
//! in `expression`.

use std::fmt;

use crate::expression::Expression;

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(crate) struct ValueSource {
    /// The first that is there counts; none if they could not be read, which is reported.
    pub alternatives: Vec<Expression>,
    /// Whether the value is left out if none is there; otherwise that is an error.
    pub optional: bool,
}

impl ValueSource {
    /// A value that could not be read, so that it is not missing as well.
    pub fn unreadable() -> Self {
        Self { alternatives: Vec::new(), optional: false }
    }
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, expression) in self.alternatives.iter().enumerate() {
            write!(f, "{}{expression}", if n == 0 { "" } else { ", or " })?;
        }
        f.write_str(if self.optional { ", optional" } else { "" })
    }
}
