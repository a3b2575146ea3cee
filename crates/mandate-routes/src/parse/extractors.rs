//! Terms from TOML: a constant, or a table that says where a value is and what is made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::super::certificate::CertificateField;
use super::super::extractor::{Extractor, Pattern, Pointer, TextType, ValueSource, WhenAbsent};
use super::{ExtractorInputs, RouteParser, Value, toml_type_name};
use mandate_core::json::{Json, quoted, quoted_list};
use mandate_core::schema::{Attribute, EntityTypeId, Type};
use mandate_core::value::ValueReader;

const SOURCES: &[&str] = &["path", "header", "claim", "certificate", "extension", "body"];

/// What a term has to give.
pub(super) enum ExpectedType<'s> {
    /// The name of one of these entity types, to which the action applies.
    EntityType(&'s [EntityTypeId], &'s str),
    Id,
    /// A value of the context.
    Attribute(&'s Attribute),
}

impl RouteParser<'_> {
    /// A term, if nothing is wrong with it.
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
        let mut keys = SOURCES.to_vec();
        keys.extend(["pattern", "map", "default", "optional"]);
        self.reject_unknown_keys(table, &keys);
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
        let mut given = SOURCES.iter().filter_map(|name| table.get(*name).map(|value| (*name, value)));
        let (Some((name, from)), None) = (given.next(), given.next()) else {
            self.report(value.span(), format!("say where the value is, by one of {}", quoted_list(SOURCES)));
            return None;
        };
        let text = self.string(from)?;
        let found = match name {
            "path" => inputs.template.parameter_index(text).map(ValueSource::Path).ok_or_else(|| {
                let all = quoted_list(inputs.template.parameters());
                let all = if all.is_empty() { "none".to_owned() } else { all };
                format!("the path has no parameter {}: it has {all}", quoted(text))
            }),
            "header" => return self.header(from).map(ValueSource::Header),
            "claim" if inputs.credential_sources.claims.is_none() => {
                Err("say where the gateway puts the claims it verified: `[claims]`, with `payload-header`, `token-header` or `metadata`".to_owned())
            }
            "claim" => pointer(text).map(ValueSource::Claim),
            "certificate" => CertificateField::from_name(text)
                .map(ValueSource::Certificate)
                .ok_or_else(|| format!("a certificate has no {}: use {}", quoted(text), CertificateField::all_names())),
            "extension" => Ok(ValueSource::Extension(text.to_owned())),
            _ => pointer(text).map(ValueSource::Body),
        };
        found.map_err(|message| self.report(from.span(), message)).ok()
    }

    fn pattern(&mut self, value: &Value<'_>) -> Option<Pattern> {
        let text = self.string(value)?;
        if let [before, after] = text.split("{}").collect::<Vec<_>>().as_slice() {
            return Some(Pattern { before: (*before).to_owned(), after: (*after).to_owned() });
        }
        self.report(value.span(), "a pattern has one `{}`, where the value stands".to_owned());
        None
    }

    fn map(
        &mut self,
        value: &Value<'_>,
        expected: &ExpectedType<'_>,
    ) -> Option<BTreeMap<String, Json<'static>>> {
        let table = self.table(value)?;
        if table.is_empty() {
            self.report(value.span(), "a map has at least one entry".to_owned());
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
                    self.report(
                        value.span(),
                        format!("has to be a boolean, found {}", toml_type_name(other)),
                    );
                    return None;
                }
            },
            None => false,
        };
        let may_be_absent = matches!(expected, ExpectedType::Attribute(attribute) if !attribute.required);
        match (table.get("default"), table.get("optional")) {
            (Some(default), _) if optional => {
                self.report(
                    default.span(),
                    "what has a default is there always, so it is not optional".to_owned(),
                );
                None
            }
            (Some(default), _) => self.constant(default, expected).map(WhenAbsent::Default),
            (None, Some(value)) if optional && !may_be_absent => {
                self.report(value.span(), "this has to be there, so it cannot be optional".to_owned());
                None
            }
            (None, _) => Some(if optional { WhenAbsent::Omit } else { WhenAbsent::Deny }),
        }
    }

    /// A constant that is what is wanted.
    fn constant(&mut self, value: &Value<'_>, expected: &ExpectedType<'_>) -> Option<Json<'static>> {
        let json = json(value.get_ref()).or_else(|| {
            self.report(
                value.span(),
                format!("{} is no value that can stand here", toml_type_name(value.get_ref())),
            );
            None
        })?;
        self.check_type(&json, expected).map_err(|message| self.report(value.span(), message)).ok()?;
        Some(json)
    }

    fn check_type(&self, json: &Json<'_>, expected: &ExpectedType<'_>) -> Result<(), String> {
        match (expected, json) {
            (ExpectedType::Attribute(attribute), json) => {
                let mut reader = ValueReader::for_request(self.schema, usize::MAX);
                reader.value(json, &attribute.ty);
                reader.mismatches.into_iter().next().map_or(Ok(()), |mismatch| Err(mismatch.message))
            }
            (_, Json::String(text)) if text.is_empty() => Err("it is empty".to_owned()),
            (ExpectedType::Id, Json::String(_)) => Ok(()),
            (ExpectedType::EntityType(entity_types, action), Json::String(name)) => {
                let found = self
                    .schema
                    .resolve_entity_type(name)
                    .map_err(|_| format!("the schema has no entity type {}", quoted(name)))?;
                if entity_types.contains(&found) {
                    return Ok(());
                }
                let all = quoted_list(
                    entity_types.iter().map(|entity_type| &self.schema.entity_type(*entity_type).name),
                );
                Err(format!("`{action}` does not apply to {} here, only to {all}", quoted(name)))
            }
            (_, other) => Err(format!("has to be a string, found {}", other.describe())),
        }
    }

    /// Whether the source can give what is wanted; noted if not.
    fn can_provide(&mut self, source: &ValueSource, expected: &ExpectedType<'_>, value: &Value<'_>) -> bool {
        let ExpectedType::Attribute(attribute) = expected else { return true };
        let many = matches!(attribute.ty, Type::Set(_) | Type::Record(_));
        let one = !matches!(source, ValueSource::Claim(_) | ValueSource::Body(_));
        if many && one {
            self.report(value.span(), format!("a {source} gives one text, and this has to be an array or an object: take it from a claim or the body"));
        }
        !(many && one)
    }
}

fn text_type(expected: &ExpectedType<'_>) -> TextType {
    match expected {
        ExpectedType::Attribute(Attribute { ty: Type::Bool, .. }) => TextType::Bool,
        ExpectedType::Attribute(Attribute { ty: Type::Long, .. }) => TextType::Long,
        _ => TextType::String,
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

/// The keys of a JSON pointer.
///
/// # Errors
/// It is none, in a sentence.
pub(super) fn pointer(text: &str) -> Result<Pointer, String> {
    let wrong = || format!("{} is no JSON pointer: it begins with `/`, as in `/partner/id`", quoted(text));
    let inside = text.strip_prefix('/').ok_or_else(wrong)?;
    Ok(inside.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}
