//! Routes: from HTTP requests to questions, for gateways that only forward what they see. Routes are
//! content like policies: read from text, checked by the schema, and part of a snapshot.
//! Who a caller is was found out by the gateway; nothing here verifies a token or a certificate.

pub mod certificate;
mod check;
mod extractor;
mod http_request;
mod parse;
pub mod path;

use std::borrow::Cow;
use std::sync::Arc;

pub use extractor::ExtractError;
pub use http_request::{HttpRequest, RequestBody};

use extractor::{CredentialSources, Extractor, RequestValues};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::digest::Digest;
use mandate_core::json::Object;
use mandate_core::request::{Question, QuestionEntity};
use mandate_core::schema::Schema;
use path::{PathError, PathTemplate, decode_segments};

/// All routes, the narrower before the wider.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    digest: Digest,
}

/// Which requests ask which question.
#[derive(Debug)]
pub struct Route {
    pub id: String,
    pub methods: Vec<String>,
    /// The path's template, as it was written.
    pub path: String,
    /// Where the route was written.
    pub span: SourceSpan,
    template: PathTemplate,
    credential_sources: Arc<CredentialSources>,
    principal: EntityExtractors,
    action: String,
    resource: EntityExtractors,
    context: Vec<(String, Extractor)>,
}

/// Where an entity's type and id come from.
#[derive(Debug, Clone)]
struct EntityExtractors {
    entity_type: Extractor,
    id: Extractor,
}

/// The question that a request came to, and the route that says so.
#[derive(Debug)]
pub struct RouteMatch<'a> {
    pub route: &'a Route,
    principal: (Cow<'a, str>, Cow<'a, str>),
    resource: (Cow<'a, str>, Cow<'a, str>),
    context: Object<'a>,
}

/// Why a request comes to no question, so that it is denied.
#[derive(Debug, thiserror::Error)]
pub enum RouteError<'a> {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("no route takes the request")]
    NoRoute,
    /// A route matches, and does not find what it reads.
    #[error("{part}: {missing}")]
    MissingValue { route: &'a Route, part: String, missing: ExtractError },
}

impl Default for Routes {
    fn default() -> Self {
        Self { routes: Vec::new(), digest: Digest::of([]) }
    }
}

impl Routes {
    /// Reads routes, and checks them by the schema.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(files: &[Arc<SourceText>], schema: &Schema) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let mut routes: Vec<Route> = Vec::new();
        for file in files {
            routes.extend(parse::parse_file(file, schema, &mut diagnostics));
        }
        if routes.len() <= check::MAX_ROUTES {
            check::check_conflicts(&routes, &mut diagnostics);
        } else {
            let message =
                format!("there are {} routes, and at most {} are taken", routes.len(), check::MAX_ROUTES);
            diagnostics
                .push(Diagnostic::error(message).help("let one path take several: `/customers/{customer}`"));
        }
        diagnostics.into_result()?;
        // A narrower template has more literals than any that it narrows.
        routes.sort_by_key(|route| std::cmp::Reverse(route.template.literal_count()));
        let digest = Digest::of(files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]));
        Ok(Self { routes, digest })
    }

    /// The same for the same files.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// All routes, the narrower before the wider.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The question that a request comes to.
    ///
    /// # Errors
    /// It comes to none, so it has to be denied.
    pub fn route<'a>(&'a self, request: &'a HttpRequest<'a>) -> Result<RouteMatch<'a>, RouteError<'a>> {
        let segments = decode_segments(request.target)?;
        let matches = |route: &&Route| {
            route.methods.iter().any(|method| method == request.method) && route.template.matches(&segments)
        };
        let route = self.routes.iter().find(matches).ok_or(RouteError::NoRoute)?;
        route.question(request, segments)
    }
}

impl Route {
    fn question<'a>(
        &'a self,
        request: &'a HttpRequest<'a>,
        segments: Vec<Cow<'a, str>>,
    ) -> Result<RouteMatch<'a>, RouteError<'a>> {
        let values = RequestValues::new(request, segments, &self.credential_sources);
        let missing = |part, missing| RouteError::MissingValue { route: self, part, missing };
        let entity = |name: &str, entity: &'a EntityExtractors| {
            let entity_type =
                entity.entity_type.text(&values).map_err(|why| missing(format!("{name}.type"), why))?;
            let id = entity.id.text(&values).map_err(|why| missing(format!("{name}.id"), why))?;
            Ok::<_, RouteError<'a>>((entity_type, id))
        };
        let (principal, resource) =
            (entity("principal", &self.principal)?, entity("resource", &self.resource)?);
        let mut context = Vec::with_capacity(self.context.len());
        for (name, extractor) in &self.context {
            let value = extractor.value(&values).map_err(|why| missing(format!("context.{name}"), why))?;
            context.extend(value.map(|value| (Cow::Borrowed(name.as_str()), value)));
        }
        Ok(RouteMatch { route: self, principal, resource, context: context.into_iter().collect() })
    }

    /// The line on which the route was written.
    pub fn line(&self) -> usize {
        self.span.line_column().0
    }

    pub fn action(&self) -> &str {
        &self.action
    }
}

impl RouteMatch<'_> {
    pub fn question(&self) -> Question<'_> {
        Question {
            principal: QuestionEntity {
                entity_type: &self.principal.0,
                id: &self.principal.1,
                properties: None,
            },
            action: &self.route.action,
            action_properties: None,
            resource: QuestionEntity {
                entity_type: &self.resource.0,
                id: &self.resource.1,
                properties: None,
            },
            context: Some(&self.context),
        }
    }
}
