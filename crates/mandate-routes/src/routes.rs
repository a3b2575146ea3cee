//! All routes of the content, and the choice of the one that matches a request. One route is in `route`; the
//! files are read in `parse`.

use std::sync::Arc;

use crate::check::{MAX_ROUTES, check_conflicts};
use crate::http_request::HttpRequest;
use crate::identity_sources::IdentitySources;
use crate::parse::parse_file;
use crate::path::decode_segments;
use crate::route::{Route, RouteError, RouteMatch};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::schema::Schema;

/// All routes, the more specific ones first.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    digest: Digest,
}

impl Default for Routes {
    fn default() -> Self {
        Self { routes: Vec::new(), digest: Digest::of([]) }
    }
}

impl Routes {
    /// Parses routes and checks them against the schema. Principals may come from anywhere.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn parse(files: &[Arc<SourceText>], schema: &Schema) -> Result<Self, Diagnostics> {
        Self::parse_restricted(files, schema, None)
    }

    /// As [`Self::parse`]; with `identity_sources`, principals may come only from there.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn parse_restricted(
        files: &[Arc<SourceText>],
        schema: &Schema,
        identity_sources: Option<&IdentitySources>,
    ) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let mut routes: Vec<Route> = Vec::new();
        for file in files {
            routes.extend(parse_file(file, schema, identity_sources, &mut diagnostics));
        }
        if routes.len() <= MAX_ROUTES {
            check_conflicts(&routes, &mut diagnostics);
        } else {
            let message = format!("{} routes are defined; the maximum is {MAX_ROUTES}", routes.len());
            let help = "use a path parameter to cover several paths: `/customers/{customer}`";
            diagnostics.push(Diagnostic::error(message).help(help));
        }
        diagnostics.into_result()?;
        // A more specific template has more literals than every template that it is more specific than.
        routes.sort_by_key(|route| std::cmp::Reverse(route.template.literal_count()));
        let digest = Digest::of(files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
        Ok(Self { routes, digest })
    }

    /// The digest of the files; equal for equal files.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// All routes, the more specific ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    pub fn len(&self) -> usize {
        self.routes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The question that a request asks.
    ///
    /// # Errors
    /// The request asks no question, so it has to be denied.
    pub fn route<'a>(&'a self, request: &'a HttpRequest<'a>) -> Result<RouteMatch<'a>, RouteError<'a>> {
        let segments = decode_segments(request.target)?;
        let matches = |route: &&Route| {
            route.methods.iter().any(|method| method == request.method) && route.template.matches(&segments)
        };
        let route = self.routes.iter().find(matches).ok_or(RouteError::NoRoute)?;
        route.question(request, segments)
    }
}
