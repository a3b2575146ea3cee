//! Calls the constructors of Cedar's extension types: `ip("10.0.0.0/8")`. It is apart from `cedar.rs` because
//! `value/reader.rs` checks texts with it, and `cedar.rs` converts what that has read.

use std::sync::LazyLock;

use cedar_policy_core::ast::{self, Name, RestrictedExpr};
use cedar_policy_core::evaluator::{EvaluationError, RestrictedEvaluator};
use cedar_policy_core::extensions::Extensions;

use super::schema::Extension;

/// The value that an extension's constructor makes of a text.
///
/// # Errors
/// The constructor refuses the text.
pub fn extension_value(extension: Extension, text: &str) -> Result<ast::Value, Box<EvaluationError>> {
    static CONSTRUCTORS: LazyLock<[Option<Name>; 4]> = LazyLock::new(|| {
        [Extension::Ip, Extension::Decimal, Extension::DateTime, Extension::Duration]
            .map(|extension| Name::parse_unqualified_name(extension.constructor()).ok())
    });
    let name = CONSTRUCTORS.get(extension as usize).cloned().flatten();
    let text = RestrictedExpr::val(text);
    let call = match name {
        Some(name) => RestrictedExpr::call_extension_fn(name, [text]),
        None => text,
    };
    RestrictedEvaluator::new(Extensions::all_available()).interpret(call.as_borrowed()).map_err(Box::new)
}
