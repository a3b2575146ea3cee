//! One file of routes: its settings for credentials, and its `[[route]]` tables. The values of a route are
//! read in `extractors`; the common steps are in `parser`.

use std::sync::Arc;

use mandate_toml::{TomlReader, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::extractors::{ExpectedType, ExtractorInputs};
use super::parser::RouteParser;
use crate::extractor::Extractor;
use crate::identity_sources::IdentitySources;
use crate::path_template::PathTemplate;
use crate::route::{EntityExtractors, Route};
use crate::value_source::{ClaimsSource, CredentialSources};
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::json::{quoted, quoted_list};
use mandate_core::schema::{ActionDef, EntityTypeId, Schema};

/// The routes of a file. What is wrong with it is added to the diagnostics.
pub(crate) fn parse_file(
    source: &Arc<SourceText>,
    schema: &Schema,
    identity_sources: Option<&IdentitySources>,
    diagnostics: &mut Diagnostics,
) -> Vec<Route> {
    let mut toml = TomlReader { source, diagnostics };
    let Some(table) = toml.parse() else { return Vec::new() };
    RouteParser { toml, schema, identity_sources }.parse_file(table.get_ref())
}

impl<'r> RouteParser<'r> {
    fn parse_file(&mut self, table: &DeTable<'_>) -> Vec<Route> {
        self.toml.reject_unknown_keys(table, &["principal", "claims", "certificate", "route"]);
        let credential_sources = Arc::new(CredentialSources {
            claims: table.get("claims").and_then(|claims| self.claims(claims)),
            certificate_header: table.get("certificate").and_then(|value| self.certificate(value)),
        });
        let Some(routes) = table.get("route") else { return Vec::new() };
        let DeValue::Array(items) = routes.get_ref() else {
            self.toml.report(
                routes.span(),
                "`route` has to be an array of tables: write each route as `[[route]]`",
            );
            return Vec::new();
        };
        let principal = table.get("principal");
        items.iter().filter_map(|route| self.route(route, principal, &credential_sources)).collect()
    }

    fn claims(&mut self, value: &Value<'_>) -> Option<ClaimsSource> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, &["payload-header", "token-header", "metadata"]);
        let only = (table.len() == 1).then(|| table.iter().next()).flatten();
        let Some((key, value)) = only else {
            self.toml.report(
                value.span(),
                "`[claims]` takes exactly one of `payload-header`, `token-header` and `metadata`",
            );
            return None;
        };
        match key.get_ref().as_ref() {
            "payload-header" => self.header(value).map(ClaimsSource::PayloadHeader),
            "token-header" => self.header(value).map(ClaimsSource::TokenHeader),
            "metadata" => self.pointer(value).map(ClaimsSource::Metadata),
            // An unknown key, which was reported.
            _ => None,
        }
    }

    fn certificate(&mut self, value: &Value<'_>) -> Option<String> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, &["header"]);
        let header = self.toml.required(table, "header", value)?;
        self.header(header)
    }

    fn route(
        &mut self,
        value: &Value<'_>,
        principal: Option<&Value<'_>>,
        credential_sources: &Arc<CredentialSources>,
    ) -> Option<Route> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(
            table,
            &["id", "method", "path", "principal", "action", "resource", "context"],
        );
        let before = self.toml.diagnostics.error_count();
        let id = self.toml.required(table, "id", value).and_then(|id| self.id(id));
        let methods = self.toml.required(table, "method", value).map(|methods| self.methods(methods));
        let path = self.toml.required(table, "path", value);
        let template = path.and_then(|path| self.template(path));
        let action = self.toml.required(table, "action", value).and_then(|action| self.action(action));
        let principal = table.get("principal").or(principal);
        if principal.is_none() {
            self.toml.report(
                value.span(),
                "`principal` is missing: set it in the route, or at the top of the file for all routes",
            );
        }
        let resource = self.toml.required(table, "resource", value);
        let (template, (action, info)) = (template?, action?);
        let inputs = ExtractorInputs { template: &template, credential_sources };
        let principal = principal.and_then(|it| self.principal(it, info, &inputs));
        let resource = resource.and_then(|it| self.entity(it, &info.resource_types, info, &inputs));
        let context = self.context(table.get("context"), value, info, &inputs);
        if self.toml.diagnostics.error_count() > before || principal.is_none() {
            return None;
        }
        Some(Route {
            id: id?,
            methods: methods?,
            path: self.toml.string(path?)?.to_owned(),
            span: self.toml.span(value.span()),
            credential_sources: Arc::clone(credential_sources),
            principal: principal?,
            action,
            resource: resource?,
            context,
            template,
        })
    }

    fn id(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.toml.string(value)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_allowed) {
            self.toml.report(value.span(), "an id may have only ASCII letters, digits, `-`, `_` and `.`");
            return None;
        }
        Some(text.to_owned())
    }

    fn methods(&mut self, value: &Value<'_>) -> Vec<String> {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.toml.report(value.span(), "`method` has to have at least one method");
        }
        let mut methods = Vec::new();
        for item in items {
            let Some(method) = self.toml.string(item) else { continue };
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
                let message = format!(
                    "{} is not a valid HTTP method: write it in upper case, as in `POST`",
                    quoted(method)
                );
                self.toml.report(item.span(), message);
            }
            methods.push(method.to_owned());
        }
        methods
    }

    fn template(&mut self, value: &Value<'_>) -> Option<PathTemplate> {
        let text = self.toml.string(value)?;
        PathTemplate::parse(text).map_err(|error| self.toml.report(value.span(), error)).ok()
    }

    fn action(&mut self, value: &Value<'_>) -> Option<(String, &'r ActionDef)> {
        let name = self.toml.string(value)?;
        let schema = self.schema;
        if let Ok(action) = schema.resolve_action(name) {
            return Some((name.to_owned(), schema.action(action)));
        }
        let all = quoted_list(schema.actions().map(|(_, info)| &info.name));
        self.toml.report(
            value.span(),
            format!("the schema has no action {}: expected one of {all}", quoted(name)),
        );
        None
    }

    /// The principal, which has to come from where the operator allows.
    fn principal(
        &mut self,
        value: &Value<'_>,
        action: &ActionDef,
        inputs: &ExtractorInputs<'_>,
    ) -> Option<EntityExtractors> {
        let principal = self.entity(value, &action.principal_types, action, inputs)?;
        let Some(allowed) = self.identity_sources else { return Some(principal) };
        let mut is_allowed = true;
        for (part, extractor) in [("type", &principal.entity_type), ("id", &principal.id)] {
            if let Err(error) = allowed.check(extractor, inputs.credential_sources) {
                let span = value.get_ref().get(part).map_or(value.span(), Spanned::span);
                let help = "let the operator add it there, or take the principal from what is listed";
                let message = format!("`principal.{part}` {error}");
                is_allowed = false;
                self.report_once(Diagnostic::error(message).help(help).at(self.toml.span(span)));
            }
        }
        is_allowed.then_some(principal)
    }

    fn entity(
        &mut self,
        value: &Value<'_>,
        entity_types: &[EntityTypeId],
        action: &ActionDef,
        inputs: &ExtractorInputs<'_>,
    ) -> Option<EntityExtractors> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, &["type", "id"]);
        let entity_type = self.toml.required(table, "type", value);
        let id = self.toml.required(table, "id", value);
        let entity_type = entity_type.and_then(|entity_type| {
            self.extractor(entity_type, &ExpectedType::EntityType(entity_types, &action.name), inputs)
        });
        let id = id.and_then(|id| self.extractor(id, &ExpectedType::Id, inputs));
        Some(EntityExtractors { entity_type: entity_type?, id: id? })
    }

    /// The context: every attribute that the action requires, and none that it does not have.
    fn context(
        &mut self,
        value: Option<&Value<'_>>,
        route: &Value<'_>,
        action: &ActionDef,
        inputs: &ExtractorInputs<'_>,
    ) -> Vec<(String, Extractor)> {
        let empty = DeTable::new();
        let table = value.map_or(Some(&empty), |value| self.toml.table(value));
        let Some(table) = table else { return Vec::new() };
        let mut extractors = Vec::new();
        for (name, value) in table {
            match action.context_type.get(name.get_ref()) {
                Some(attribute) if attribute.clock.is_some() => self.toml.report(
                    name.span(),
                    format!(
                        "{} comes from the clock (`@clock`), so no route sets it",
                        quoted(name.get_ref())
                    ),
                ),
                Some(attribute) => {
                    let extractor = self.extractor(value, &ExpectedType::Attribute(attribute), inputs);
                    extractors.extend(extractor.map(|extractor| (name.get_ref().to_string(), extractor)));
                }
                None => self.toml.report(
                    name.span(),
                    format!("the context of `{}` has no attribute {}", action.name, quoted(name.get_ref())),
                ),
            }
        }
        for (name, attribute) in action.context_type.iter() {
            if attribute.required && attribute.clock.is_none() && table.get(name.as_str()).is_none() {
                self.toml.report(
                    route.span(),
                    format!("`{}` requires `context.{name}`, which the route does not set", action.name),
                );
            }
        }
        extractors
    }
}
