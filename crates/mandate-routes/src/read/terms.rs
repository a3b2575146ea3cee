//! Terms from TOML: a constant, or a table that says where a value is and what is made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::super::certificate::Field;
use super::super::term::{Absent, Pattern, Pointer, Reads, Source, Term};
use super::{Reader, Surroundings, Value, kind};
use mandate_core::json::{Json, listed, quoted};
use mandate_core::schema::{Attribute, Kind, Type};
use mandate_core::value::ValueReader;

const SOURCES: &[&str] = &["path", "header", "claim", "certificate", "extension", "body"];

/// What a term has to give.
pub(super) enum Wanted<'s> {
    /// The name of one of these entity types, to which the action applies.
    Kind(&'s [Kind], &'s str),
    Id,
    /// A value of the context.
    Attribute(&'s Attribute),
}

impl Reader<'_> {
    /// A term, if nothing is wrong with it.
    pub(super) fn term(
        &mut self,
        value: &Value<'_>,
        wanted: &Wanted<'_>,
        around: &Surroundings<'_>,
    ) -> Option<Term> {
        let DeValue::Table(table) = value.get_ref() else {
            let source = Source::Constant(self.constant(value, wanted)?);
            return Some(Term {
                source,
                pattern: None,
                map: None,
                absent: Absent::Denied,
                reads: Reads::Text,
            });
        };
        let mut keys = SOURCES.to_vec();
        keys.extend(["pattern", "map", "default", "optional"]);
        self.known(table, &keys);
        let source = self.source(table, value, around);
        let pattern = match table.get("pattern") {
            Some(pattern) => Some(self.pattern(pattern)?),
            None => None,
        };
        let map = match table.get("map") {
            Some(map) => Some(self.map(map, wanted)?),
            None => None,
        };
        let absent = self.absent(table, wanted);
        let (source, absent) = (source?, absent?);
        if map.is_none() && !self.gives(&source, wanted, value) {
            return None;
        }
        Some(Term { source, pattern, map, absent, reads: reads(wanted) })
    }

    fn source(
        &mut self,
        table: &DeTable<'_>,
        value: &Value<'_>,
        around: &Surroundings<'_>,
    ) -> Option<Source> {
        let mut given = SOURCES.iter().filter_map(|name| table.get(*name).map(|value| (*name, value)));
        let (Some((name, from)), None) = (given.next(), given.next()) else {
            self.fault(value.span(), format!("say where the value is, by one of {}", listed(SOURCES)));
            return None;
        };
        let text = self.string(from)?;
        let found = match name {
            "path" => around.template.parameter_index(text).map(Source::Path).ok_or_else(|| {
                let all = listed(around.template.parameters());
                let all = if all.is_empty() { "none".to_owned() } else { all };
                format!("the path has no parameter {}: it has {all}", quoted(text))
            }),
            "header" => return self.header(from).map(Source::Header),
            "claim" if around.evidence.claims.is_none() => {
                Err("say where the gateway puts the claims it verified: `[claims]`, with `payload-header`, `token-header` or `metadata`".to_owned())
            }
            "claim" => pointer(text).map(Source::Claim),
            "certificate" => Field::named(text)
                .map(Source::Certificate)
                .ok_or_else(|| format!("a certificate has no {}: use {}", quoted(text), Field::names())),
            "extension" => Ok(Source::Extension(text.to_owned())),
            _ => pointer(text).map(Source::Body),
        };
        found.map_err(|message| self.fault(from.span(), message)).ok()
    }

    fn pattern(&mut self, value: &Value<'_>) -> Option<Pattern> {
        let text = self.string(value)?;
        if let [before, after] = text.split("{}").collect::<Vec<_>>().as_slice() {
            return Some(Pattern { before: (*before).to_owned(), after: (*after).to_owned() });
        }
        self.fault(value.span(), "a pattern has one `{}`, where the value stands".to_owned());
        None
    }

    fn map(&mut self, value: &Value<'_>, wanted: &Wanted<'_>) -> Option<BTreeMap<String, Json<'static>>> {
        let table = self.table(value)?;
        if table.is_empty() {
            self.fault(value.span(), "a map has at least one entry".to_owned());
        }
        let mut map = BTreeMap::new();
        for (key, value) in table {
            let constant = self.constant(value, wanted)?;
            map.insert(key.get_ref().to_string(), constant);
        }
        Some(map)
    }

    fn absent(&mut self, table: &DeTable<'_>, wanted: &Wanted<'_>) -> Option<Absent> {
        let optional = match table.get("optional") {
            Some(value) => match value.get_ref() {
                DeValue::Boolean(optional) => *optional,
                other => {
                    self.fault(value.span(), format!("has to be a boolean, found {}", kind(other)));
                    return None;
                }
            },
            None => false,
        };
        let may_be_absent = matches!(wanted, Wanted::Attribute(attribute) if !attribute.required);
        match (table.get("default"), table.get("optional")) {
            (Some(default), _) if optional => {
                self.fault(
                    default.span(),
                    "what has a default is there always, so it is not optional".to_owned(),
                );
                None
            }
            (Some(default), _) => self.constant(default, wanted).map(Absent::Default),
            (None, Some(value)) if optional && !may_be_absent => {
                self.fault(value.span(), "this has to be there, so it cannot be optional".to_owned());
                None
            }
            (None, _) => Some(if optional { Absent::LeftOut } else { Absent::Denied }),
        }
    }

    /// A constant that is what is wanted.
    fn constant(&mut self, value: &Value<'_>, wanted: &Wanted<'_>) -> Option<Json<'static>> {
        let json = json(value.get_ref()).or_else(|| {
            self.fault(value.span(), format!("{} is no value that can stand here", kind(value.get_ref())));
            None
        })?;
        self.fits(&json, wanted).map_err(|message| self.fault(value.span(), message)).ok()?;
        Some(json)
    }

    fn fits(&self, json: &Json<'_>, wanted: &Wanted<'_>) -> Result<(), String> {
        match (wanted, json) {
            (Wanted::Attribute(attribute), json) => {
                let mut reader = ValueReader::of_caller(self.schema, usize::MAX);
                reader.value(json, &attribute.ty);
                reader.misfits.into_iter().next().map_or(Ok(()), |misfit| Err(misfit.message))
            }
            (_, Json::String(text)) if text.is_empty() => Err("it is empty".to_owned()),
            (Wanted::Id, Json::String(_)) => Ok(()),
            (Wanted::Kind(kinds, action), Json::String(name)) => {
                let found = self
                    .schema
                    .kind_named(name)
                    .map_err(|_| format!("the schema has no entity type {}", quoted(name)))?;
                if kinds.contains(&found) {
                    return Ok(());
                }
                let all = listed(kinds.iter().map(|kind| &self.schema.kind(*kind).name));
                Err(format!("`{action}` does not apply to {} here, only to {all}", quoted(name)))
            }
            (_, other) => Err(format!("has to be a string, found {}", other.kind())),
        }
    }

    /// Whether the source can give what is wanted; noted if not.
    fn gives(&mut self, source: &Source, wanted: &Wanted<'_>, value: &Value<'_>) -> bool {
        let Wanted::Attribute(attribute) = wanted else { return true };
        let many = matches!(attribute.ty, Type::Set(_) | Type::Record(_));
        let one = !matches!(source, Source::Claim(_) | Source::Body(_));
        if many && one {
            self.fault(value.span(), format!("a {source} gives one text, and this has to be an array or an object: take it from a claim or the body"));
        }
        !(many && one)
    }
}

fn reads(wanted: &Wanted<'_>) -> Reads {
    match wanted {
        Wanted::Attribute(Attribute { ty: Type::Bool, .. }) => Reads::Bool,
        Wanted::Attribute(Attribute { ty: Type::Long, .. }) => Reads::Long,
        _ => Reads::Text,
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
