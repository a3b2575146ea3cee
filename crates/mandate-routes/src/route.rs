//! One route: which requests it matches, and the question that it makes of one. Where each value of the
//! question comes from is in `extractor`; the choice between routes is in `routes`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::extract_error::ExtractError;
use crate::extractor::Extractor;
use crate::http_request::HttpRequest;
use crate::path::PathError;
use crate::path_template::PathTemplate;
use crate::request_values::RequestValues;
use crate::value_source::CredentialSources;
use mandate_core::diagnostics::SourceSpan;
use mandate_core::json::Object;
use mandate_core::request::{Question, QuestionEntity};

/// Which requests it matches, and where their question comes from.
#[derive(Debug)]
pub struct Route {
    pub id: String,
    pub methods: Vec<String>,
    /// The path template, as written in the file.
    pub path: String,
    /// The place of the route in its file.
    pub span: SourceSpan,
    pub(crate) template: PathTemplate,
    pub(crate) credential_sources: Arc<CredentialSources>,
    pub(crate) principal: EntityExtractors,
    pub(crate) action: String,
    pub(crate) resource: EntityExtractors,
    pub(crate) context: Vec<(String, Extractor)>,
}

/// Where the type and the id of an entity come from.
#[derive(Debug, Clone)]
pub(crate) struct EntityExtractors {
    pub entity_type: Extractor,
    pub id: Extractor,
}

/// The route that matches a request, and the values of its question.
#[derive(Debug)]
pub struct RouteMatch<'a> {
    pub route: &'a Route,
    principal: (Cow<'a, str>, Cow<'a, str>),
    resource: (Cow<'a, str>, Cow<'a, str>),
    context: Object<'a>,
}

/// Why a request asks no question, so that it is denied.
#[derive(Debug, thiserror::Error)]
pub enum RouteError<'a> {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("no route matches the method and path of the request")]
    NoRoute,
    /// A route matches, but a value that it requires is missing or invalid.
    #[error("{part}: {missing}")]
    MissingValue { route: &'a Route, part: String, missing: ExtractError },
}

impl Route {
    pub(crate) fn question<'a>(
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

    /// The line of the route in its file.
    pub fn line(&self) -> usize {
        self.span.line_column().0
    }

    pub fn action(&self) -> &str {
        &self.action
    }
}

impl RouteError<'_> {
    /// Whether the request names no principal, where the route takes it from the client's credentials.
    pub fn lacks_credentials(&self) -> bool {
        match self {
            Self::Path(_) | Self::NoRoute => false,
            Self::MissingValue { route, part, missing } => {
                let principal = &route.principal;
                let sources = [("principal.type", &principal.entity_type), ("principal.id", &principal.id)];
                let of_principal = sources.into_iter().find(|(name, _)| name == part);
                of_principal.is_some_and(|(_, value)| value.source.is_credential()) && missing.means_unknown()
            }
        }
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
