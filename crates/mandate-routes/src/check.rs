//! Checks that need several routes at once: ids that are used twice, and routes that overlap. What is wrong
//! with one route alone is reported in `parse`.

use std::collections::HashMap;

use crate::route::Route;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};

/// The most routes. Each pair of them is compared.
pub(crate) const MAX_ROUTES: usize = 1_000;

/// Reports duplicate ids, and pairs of routes that overlap without one being more specific. One report per
/// route.
pub(crate) fn check_conflicts(routes: &[Route], diagnostics: &mut Diagnostics) {
    let mut by_id: HashMap<&str, &Route> = HashMap::new();
    for (n, route) in routes.iter().enumerate() {
        if let Some(first) = by_id.get(route.id.as_str()) {
            diagnostics.push_error(|| duplicate_id(route, first));
            continue;
        }
        by_id.insert(&route.id, route);
        let conflict =
            routes.iter().take(n).find_map(|other| ambiguous_method(route, other).map(|by| (other, by)));
        if let Some((other, method)) = conflict {
            diagnostics.push_error(|| ambiguous_routes(route, other, method));
        }
    }
}

fn duplicate_id(route: &Route, first: &Route) -> Diagnostic {
    let message = format!("the route id `{}` is used twice, first at {}", route.id, file_and_line(first));
    Diagnostic::error(message).help("rename one of the two").at(route.span.clone())
}

fn ambiguous_routes(route: &Route, other: &Route, method: &str) -> Diagnostic {
    let (id, other_id, path) = (&route.id, &other.id, &route.path);
    let message = format!(
        "`{id}` and `{other_id}` (at {}) match the same requests, such as `{method} {path}`",
        file_and_line(other)
    );
    let help = "make one path more specific than the other, or remove one route";
    Diagnostic::error(message).help(help).at(route.span.clone())
}

fn file_and_line(route: &Route) -> String {
    format!("{}:{}", route.span.source.path, route.line())
}

/// A method for which two routes match the same requests and neither is more specific.
fn ambiguous_method<'r>(one: &'r Route, other: &Route) -> Option<&'r str> {
    let (a, b) = (&one.template, &other.template);
    let ambiguous = a.overlaps(b) && !a.is_more_specific_than(b) && !b.is_more_specific_than(a);
    one.methods.iter().find(|method| ambiguous && other.methods.contains(method)).map(String::as_str)
}
