//! What is wrong with routes only when they are seen together.

use super::super::fault::{Fault, Faults};
use super::Route;

/// Notes routes with the same id, and routes of which neither says that it goes before the other.
pub(super) fn together(routes: &[Route], faults: &mut Faults) {
    for (n, route) in routes.iter().enumerate() {
        for earlier in routes.iter().take(n) {
            let at = || format!("{}:{}", earlier.place.source.path, earlier.line());
            if earlier.id == route.id {
                let message = format!("the route `{}` is there twice, also at {}", route.id, at());
                faults.push(Fault::error(message).help("give one another id").at(route.place.clone()));
            } else if let Some(method) = both_take(route, earlier) {
                let message = format!(
                    "`{}` and `{}` (at {}) match the same requests, such as {method} of `{}`",
                    route.id,
                    earlier.id,
                    at(),
                    route.path
                );
                let help = "make one path narrower than the other in every segment, or drop one route";
                faults.push(Fault::error(message).help(help).at(route.place.clone()));
            }
        }
    }
}

/// A method for which it is open which of two routes counts.
fn both_take<'r>(one: &'r Route, other: &Route) -> Option<&'r str> {
    let (a, b) = (&one.template, &other.template);
    let open = a.meets(b) && !a.narrows(b) && !b.narrows(a);
    one.methods.iter().find(|method| open && other.methods.contains(method)).map(String::as_str)
}
