//! Extractors from TOML: a constant, or a table that says where a value is and how it is converted.
//! Extractors run in `crate::extractor`; the routes that they belong to are read in `route_file`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::parser::RouteParser;
use crate::certificate::CertificateField;
use crate::extractor::{Extractor, Pattern, TextType, WhenAbsent};
use crate::path_template::PathTemplate;
use crate::value_source::{CredentialSources, ValueSource};
use mandate_core::json::{Json, quoted, quoted_list};
use mandate_core::schema::{Attribute, EntityTypeId, Type};
use mandate_core::value::ValueReader;
use mandate_toml::{Value, type_name};

/// The key of a table that names the source of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceKey {
    Path,
    Header,
    Claim,
    Certificate,
    Extension,
    Body,
}

impl SourceKey {
    const ALL: [Self; 6] =
        [Self::Path, Self::Header, Self::Claim, Self::Certificate, Self::Extension, Self::Body];

    fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Header => "header",
            Self::Claim => "claim",
            Self::Certificate => "certificate",
            Self::Extension => "extension",
            Self::Body => "body",
        }
    }
}

/// What the extractors of a route can refer to.
pub(super) struct ExtractorInputs<'s> {
    pub template: &'s PathTemplate,
    pub credential_sources: &'s CredentialSources,
}

/// What an extractor has to return.
pub(super) enum ExpectedType<'s> {
    /// The name of one of these entity types, and the action that applies to them.
    EntityType(&'s [EntityTypeId], &'s str),
    Id,
    /// A value of this attribute of the context.
    Attribute(&'s Attribute),
}

/// Why a constant cannot be used. Names are quoted already.
#[derive(Debug, thiserror::Error)]
enum ConstantError {
    #[error("{0} is not allowed here")]
    UnsupportedType(&'static str),
    #[error("{0}")]
    TypeMismatch(String),
    #[error("must not be empty")]
    Empty,
    #[error("has to be a string, found {0}")]
    NotAString(&'static str),
    #[error("the schema has no entity type {0}")]
    UnknownEntityType(String),
    #[error("`{action}` does not apply to the entity type {name}: expected one of {expected}")]
    OtherEntityType { action: String, name: String, expected: String },
}

impl RouteParser<'_> {
    /// An extractor; `None` if something is wrong with it, which is reported.
    pub(super) fn extractor(
        &mut self,
        value: &Value<'_>,
        expected: &ExpectedType<'_>,
        inputs: &ExtractorInputs<'_>,
    ) -> Option<Extractor> {
        let DeValue::Table(table) = value.get_ref() else {
            let source = ValueSource::Constant(self.constant(value, expected)?);
            return Some(Extractor {
                source,
                pattern: None,
                map: None,
                when_absent: WhenAbsent::Deny,
                text_type: TextType::String,
            });
        };
        let mut keys = SourceKey::ALL.map(SourceKey::name).to_vec();
        keys.extend(["pattern", "map", "default", "optional"]);
        self.toml.reject_unknown_keys(table, &keys);
        let source = self.source(table, value, inputs);
        let pattern = match table.get("pattern") {
            Some(pattern) => Some(self.pattern(pattern)?),
            None => None,
        };
        let map = match table.get("map") {
            Some(map) => Some(self.map(map, expected)?),
            None => None,
        };
        let when_absent = self.when_absent(table, expected);
        let (source, when_absent) = (source?, when_absent?);
        if map.is_none() && !self.can_provide(&source, expected, value) {
            return None;
        }
        Some(Extractor { source, pattern, map, when_absent, text_type: text_type(expected) })
    }

    fn source(
        &mut self,
        table: &DeTable<'_>,
        value: &Value<'_>,
        inputs: &ExtractorInputs<'_>,
    ) -> Option<ValueSource> {
        let mut given =
            SourceKey::ALL.into_iter().filter_map(|key| table.get(key.name()).map(|value| (key, value)));
        let (Some((key, from)), None) = (given.next(), given.next()) else {
            let all = quoted_list(SourceKey::ALL.map(SourceKey::name));
            self.toml.report(value.span(), format!("a value needs exactly one source: one of {all}"));
            return None;
        };
        let text = self.toml.string(from)?;
        match key {
            SourceKey::Path => self.path_parameter(text, from, inputs.template).map(ValueSource::Path),
            SourceKey::Header => self.header(from).map(ValueSource::Header),
            SourceKey::Claim if inputs.credential_sources.claims.is_none() => {
                self.toml.report(
                    from.span(),
                    "`claim` needs a `[claims]` table that says where the gateway puts the verified claims: \
                     `payload-header`, `token-header` or `metadata`",
                );
                None
            }
            SourceKey::Claim => self.pointer(from).map(ValueSource::Claim),
            SourceKey::Certificate => self.certificate_field(text, from).map(ValueSource::Certificate),
            SourceKey::Extension => Some(ValueSource::Extension(text.to_owned())),
            SourceKey::Body => self.pointer(from).map(ValueSource::Body),
        }
    }

    fn path_parameter(&mut self, name: &str, from: &Value<'_>, template: &PathTemplate) -> Option<usize> {
        let index = template.parameter_index(name);
        if index.is_none() {
            let all = quoted_list(template.parameters());
            let all = if all.is_empty() { "none".to_owned() } else { all };
            self.toml
                .report(from.span(), format!("the path has no parameter {}: it has {all}", quoted(name)));
        }
        index
    }

    fn certificate_field(&mut self, name: &str, from: &Value<'_>) -> Option<CertificateField> {
        let field = CertificateField::from_name(name);
        if field.is_none() {
            let all = CertificateField::all_names();
            let message = format!("{} is not a certificate field: expected one of {all}", quoted(name));
            self.toml.report(from.span(), message);
        }
        field
    }

    fn pattern(&mut self, value: &Value<'_>) -> Option<Pattern> {
        let text = self.toml.string(value)?;
        if let [before, after] = text.split("{}").collect::<Vec<_>>().as_slice() {
            return Some(Pattern { before: (*before).to_owned(), after: (*after).to_owned() });
        }
        self.toml
            .report(value.span(), "a pattern has to contain exactly one `{}`, which stands for the value");
        None
    }

    fn map(
        &mut self,
        value: &Value<'_>,
        expected: &ExpectedType<'_>,
    ) -> Option<BTreeMap<String, Json<'static>>> {
        let table = self.toml.table(value)?;
        if table.is_empty() {
            self.toml.report(value.span(), "`map` has to have at least one entry");
        }
        let mut map = BTreeMap::new();
        for (key, value) in table {
            let constant = self.constant(value, expected)?;
            map.insert(key.get_ref().to_string(), constant);
        }
        Some(map)
    }

    fn when_absent(&mut self, table: &DeTable<'_>, expected: &ExpectedType<'_>) -> Option<WhenAbsent> {
        let optional = match table.get("optional") {
            Some(value) => match value.get_ref() {
                DeValue::Boolean(optional) => *optional,
                other => {
                    self.toml
                        .report(value.span(), format!("has to be a boolean, found {}", type_name(other)));
                    return None;
                }
            },
            None => false,
        };
        let may_be_absent = matches!(expected, ExpectedType::Attribute(attribute) if !attribute.required);
        match (table.get("default"), table.get("optional")) {
            (Some(default), _) if optional => {
                self.toml.report(default.span(), "`default` and `optional` cannot be combined");
                None
            }
            (Some(default), _) => self.constant(default, expected).map(WhenAbsent::Default),
            (None, Some(value)) if optional && !may_be_absent => {
                self.toml.report(value.span(), "the value is required, so it cannot be `optional`");
                None
            }
            (None, _) => Some(if optional { WhenAbsent::Omit } else { WhenAbsent::Deny }),
        }
    }

    /// A constant of the expected type.
    fn constant(&mut self, value: &Value<'_>, expected: &ExpectedType<'_>) -> Option<Json<'static>> {
        let checked = json(value.get_ref())
            .ok_or_else(|| ConstantError::UnsupportedType(type_name(value.get_ref())))
            .and_then(|json| self.check_type(&json, expected).map(|()| json));
        checked.map_err(|error| self.toml.report(value.span(), error)).ok()
    }

    fn check_type(&self, json: &Json<'_>, expected: &ExpectedType<'_>) -> Result<(), ConstantError> {
        match (expected, json) {
            (ExpectedType::Attribute(attribute), json) => {
                let mut reader = ValueReader::for_request(self.schema, usize::MAX);
                reader.value(json, &attribute.ty);
                let mismatch = reader.mismatches.into_iter().next();
                mismatch.map_or(Ok(()), |mismatch| Err(ConstantError::TypeMismatch(mismatch.message)))
            }
            (ExpectedType::Id | ExpectedType::EntityType(..), Json::String(text)) if text.is_empty() => {
                Err(ConstantError::Empty)
            }
            (ExpectedType::Id, Json::String(_)) => Ok(()),
            (ExpectedType::EntityType(entity_types, action), Json::String(name)) => {
                let found = self
                    .schema
                    .resolve_entity_type(name)
                    .map_err(|_| ConstantError::UnknownEntityType(quoted(name)))?;
                if entity_types.contains(&found) {
                    return Ok(());
                }
                let names = entity_types.iter().map(|it| &self.schema.entity_type(*it).name);
                Err(ConstantError::OtherEntityType {
                    action: (*action).to_owned(),
                    name: quoted(name),
                    expected: quoted_list(names),
                })
            }
            (ExpectedType::Id | ExpectedType::EntityType(..), other) => {
                Err(ConstantError::NotAString(other.describe()))
            }
        }
    }

    /// Whether the source can have a value of the expected type; reports it if not.
    fn can_provide(&mut self, source: &ValueSource, expected: &ExpectedType<'_>, value: &Value<'_>) -> bool {
        let ExpectedType::Attribute(attribute) = expected else { return true };
        let needs_json = match &attribute.ty {
            Type::Set(_) | Type::Record(_) => true,
            Type::Bool | Type::Long | Type::String | Type::Entity(_) | Type::Extension(_) => false,
        };
        let is_json = match source {
            ValueSource::Claim(_) | ValueSource::Body(_) => true,
            ValueSource::Constant(_)
            | ValueSource::Path(_)
            | ValueSource::Header(_)
            | ValueSource::Certificate(_)
            | ValueSource::Extension(_) => false,
        };
        if needs_json && !is_json {
            self.toml.report(
                value.span(),
                format!(
                    "an array or an object is expected here, and a {source} is a single string: \
                     use a claim or the body"
                ),
            );
        }
        is_json || !needs_json
    }
}

fn text_type(expected: &ExpectedType<'_>) -> TextType {
    match expected {
        ExpectedType::Id | ExpectedType::EntityType(..) => TextType::String,
        ExpectedType::Attribute(attribute) => match attribute.ty {
            Type::Bool => TextType::Bool,
            Type::Long => TextType::Long,
            Type::String | Type::Entity(_) | Type::Set(_) | Type::Record(_) | Type::Extension(_) => {
                TextType::String
            }
        },
    }
}

fn json(value: &DeValue<'_>) -> Option<Json<'static>> {
    Some(match value {
        DeValue::String(text) => Json::String(Cow::Owned(text.to_string())),
        DeValue::Boolean(bool) => Json::Bool(*bool),
        DeValue::Integer(number) => Json::Long(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Array(items) => {
            Json::Array(items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}
