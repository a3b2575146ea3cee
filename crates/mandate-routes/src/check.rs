//! What is wrong with routes only when they are seen together.

use std::collections::HashMap;

use super::Route;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};

/// The most routes that there may be: each is held against all others.
pub(super) const MAX_ROUTES: usize = 1_000;

/// Notes routes with the same id, and routes of which neither says that it goes before the other; for each
/// route the first that it clashes with.
pub(super) fn check_conflicts(routes: &[Route], diagnostics: &mut Diagnostics) {
    let mut named: HashMap<&str, &Route> = HashMap::new();
    for (n, route) in routes.iter().enumerate() {
        if let Some(other) = named.insert(&route.id, route) {
            diagnostics.push_error(|| {
                let message =
                    format!("the route `{}` is there twice, also at {}", route.id, file_and_line(other));
                Diagnostic::error(message).help("give one another id").at(route.span.clone())
            });
            continue;
        }
        let clash =
            routes.iter().take(n).find_map(|other| ambiguous_method(route, other).map(|by| (other, by)));
        if let Some((other, method)) = clash {
            diagnostics.push_error(|| {
                let (id, other_id, path) = (&route.id, &other.id, &route.path);
                let message = format!(
                    "`{id}` and `{other_id}` (at {}) match the same requests, such as {method} of `{path}`",
                    file_and_line(other)
                );
                let help = "make one path narrower than the other in every segment, or drop one route";
                Diagnostic::error(message).help(help).at(route.span.clone())
            });
        }
    }
}

fn file_and_line(route: &Route) -> String {
    format!("{}:{}", route.span.source.path, route.line())
}

/// A method for which it is open which of two routes counts.
fn ambiguous_method<'r>(one: &'r Route, other: &Route) -> Option<&'r str> {
    let (a, b) = (&one.template, &other.template);
    let open = a.overlaps(b) && !a.is_more_specific_than(b) && !b.is_more_specific_than(a);
    one.methods.iter().find(|method| open && other.methods.contains(method)).map(String::as_str)
}
