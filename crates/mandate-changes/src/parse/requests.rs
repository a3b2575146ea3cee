//! One `[[request]]` table: a rule of requests. Whether its actions fit each other is found in `check::requests`.

use std::collections::BTreeMap;

use mandate_core::json::quoted;
use mandate_core::schema::{ActionId, EntityTypeId};
use mandate_toml::{Value, type_name};
use smol_str::SmolStr;
use toml::de::{DeTable, DeValue};

use super::parser::ChangeParser;
use crate::request_rule::{RequestRule, Seconds};
use crate::texts::Texts;

const KEYS: &[&str] = &[
    "id",
    "ask",
    "principal",
    "offer",
    "standing",
    "accept",
    "decline",
    "withdraw",
    "reviewer_resource",
    "valid_for",
    "valid_for_at_most",
    "open_at_most",
    "resolves",
    "context",
    "may_choose",
    "requires",
    "granted",
    "manage",
    "texts",
];

const TEXT_KEYS: &[&str] = &[
    "title",
    "question",
    "points",
    "points_if",
    "points_unless",
    "ends",
    "confirm",
    "who",
    "types",
    "context",
    "manage",
    "email_subject",
    "email_body",
];

/// How long a request waits unless the rule says otherwise.
const VALID_FOR: Seconds = 30 * DAY;
const DAY: Seconds = 24 * 60 * 60;

/// The most requests of one requester that wait, unless the rule says otherwise.
const OPEN_AT_MOST: usize = 1_000;

impl ChangeParser<'_> {
    /// The rules of a file.
    pub fn requests(&mut self, table: &DeTable<'_>) -> Vec<RequestRule> {
        let Some(requests) = table.get("request") else { return Vec::new() };
        let DeValue::Array(items) = requests.get_ref() else {
            let message = "`request` has to be an array of tables: write each rule as `[[request]]`";
            self.toml.report(requests.span(), message);
            return Vec::new();
        };
        items.iter().filter_map(|request| self.request(request)).collect()
    }

    /// A rule; `None` if something that it needs is missing or wrong.
    fn request(&mut self, value: &Value<'_>) -> Option<RequestRule> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, KEYS);
        let id = self.toml.required(table, "id", value).and_then(|id| self.toml.string(id));
        let id = id.map(ToOwned::to_owned);
        let ask = self.toml.required(table, "ask", value).and_then(|action| self.action(action));
        let accept = self.toml.required(table, "accept", value).and_then(|action| self.action(action));
        let reviewer_resource = self.toml.required(table, "reviewer_resource", value);
        let reviewer_resource = reviewer_resource.and_then(|name| self.toml.string(name)).map(SmolStr::new);
        let [offer, decline, withdraw, granted] = ["offer", "decline", "withdraw", "granted"]
            .map(|key| table.get(key).and_then(|action| self.action(action)));
        let standing = self.boolean(table, "standing");
        let (valid_for, valid_for_at_most) = self.validity(table);
        let open_at_most = self.count(table, "open_at_most").unwrap_or(OPEN_AT_MOST);
        let resolves = self.actions(table, "resolves");
        let may_choose = table.get("may_choose").map_or_else(Vec::new, |names| self.strings(names));
        let context = table.get("context").map_or_else(BTreeMap::new, |context| self.json_members(context));
        let requires = self.requires(table);
        let manage = self.manage(table);
        let texts = self.all_texts(table, value);
        let requesters = ask.map(|ask| {
            let info = self.schema.action(ask);
            match table.get("principal") {
                Some(types) => self.types(types, &info.principal_types, &info.name),
                None => info.principal_types.clone(),
            }
        });
        let (ask, accept) = (ask?, accept?);
        Some(RequestRule {
            id: id?,
            span: self.toml.span(value.span()),
            ask,
            requesters: requesters?,
            offer,
            standing,
            accept,
            decline,
            withdraw,
            reviewers: self.schema.action(accept).principal_types.clone(),
            reviewer_resource: reviewer_resource?,
            // Found in the check.
            resource: EntityTypeId::from_u16(0),
            created: Vec::new(),
            valid_for,
            valid_for_at_most,
            open_at_most,
            resolves,
            context,
            may_choose: may_choose.into_iter().map(SmolStr::from).collect(),
            requires,
            granted,
            manage,
            texts,
        })
    }

    fn boolean(&mut self, table: &DeTable<'_>, key: &str) -> bool {
        match table.get(key).map(|value| (value, value.get_ref())) {
            None => false,
            Some((_, DeValue::Boolean(it))) => *it,
            Some((value, other)) => {
                self.toml.report(value.span(), format!("has to be a boolean, found {}", type_name(other)));
                false
            }
        }
    }

    /// A time such as `30d` or `12h`.
    fn duration(&mut self, table: &DeTable<'_>, key: &str) -> Option<Seconds> {
        let value = table.get(key)?;
        let text = self.toml.string(value)?;
        let parsed = parse_duration(text);
        if parsed.is_none() {
            self.toml
                .report(value.span(), "has to be a time such as `30d`, `12h` or `15m`, of at most 10 years");
        }
        parsed
    }

    /// How long a request waits unless its requester says otherwise, and the longest time.
    fn validity(&mut self, table: &DeTable<'_>) -> (Seconds, Seconds) {
        let at_most = self.duration(table, "valid_for_at_most");
        let valid_for =
            self.duration(table, "valid_for").unwrap_or(VALID_FOR.min(at_most.unwrap_or(VALID_FOR)));
        let at_most = at_most.unwrap_or(valid_for.max(VALID_FOR));
        if let Some(value) = table.get("valid_for").filter(|_| valid_for > at_most) {
            self.toml.report(value.span(), "`valid_for` is longer than `valid_for_at_most`");
        }
        (valid_for, at_most)
    }

    fn count(&mut self, table: &DeTable<'_>, key: &str) -> Option<usize> {
        let value = table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.toml.report(value.span(), "has to be a whole number that is not negative");
        }
        number
    }

    fn actions(&mut self, table: &DeTable<'_>, key: &str) -> Vec<ActionId> {
        let Some(names) = table.get(key) else { return Vec::new() };
        self.toml.items(names).iter().filter_map(|name| self.action(name)).collect()
    }

    fn strings(&mut self, value: &Value<'_>) -> Vec<String> {
        let items = self.toml.items(value).iter();
        items.filter_map(|item| self.toml.string(item).map(ToOwned::to_owned)).collect()
    }

    /// The members that types of requesters have to choose, by type.
    fn requires(&mut self, table: &DeTable<'_>) -> Vec<(EntityTypeId, Vec<SmolStr>)> {
        let Some(requires) = table.get("requires").and_then(|requires| self.toml.table(requires)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, members) in requires {
            let text = name.get_ref();
            let Ok(entity_type) = self.schema.resolve_entity_type(text) else {
                self.toml.report(name.span(), format!("the schema has no entity type {}", quoted(text)));
                continue;
            };
            found.push((entity_type, self.strings(members).into_iter().map(SmolStr::from).collect()));
        }
        found
    }

    fn manage(&mut self, table: &DeTable<'_>) -> Vec<(String, ActionId)> {
        let Some(manage) = table.get("manage").and_then(|manage| self.toml.table(manage)) else {
            return Vec::new();
        };
        let named = |(name, action): (&toml::Spanned<_>, &Value<'_>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            Some((name.to_string(), self.action(action)?))
        };
        manage.iter().filter_map(named).collect()
    }

    fn json_members(&mut self, value: &Value<'_>) -> BTreeMap<String, serde_json::Value> {
        let Some(table) = self.toml.table(value) else { return BTreeMap::new() };
        let mut members = BTreeMap::new();
        for (name, member) in table {
            if let Some(json) = self.json(member) {
                members.insert(name.get_ref().to_string(), json);
            }
        }
        members
    }

    fn json(&mut self, value: &Value<'_>) -> Option<serde_json::Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string().into()),
            DeValue::Boolean(it) => Some((*it).into()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into)
            }
            DeValue::Table(_) => {
                Some(serde_json::Value::Object(self.json_members(value).into_iter().collect()))
            }
            DeValue::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            other @ (DeValue::Float(_) | DeValue::Datetime(_)) => {
                self.toml.report(value.span(), format!("a context cannot have {}", type_name(other)));
                None
            }
        }
    }

    fn all_texts(&mut self, table: &DeTable<'_>, around: &Value<'_>) -> BTreeMap<String, Texts> {
        let Some(languages) = self.toml.required(table, "texts", around) else { return BTreeMap::new() };
        let Some(by_language) = self.toml.table(languages) else { return BTreeMap::new() };
        let mut texts = BTreeMap::new();
        for (language, value) in by_language {
            let name = language.get_ref().to_string();
            if !(name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_lowercase())) {
                let message = format!("{} is no language: write two letters, such as `en`", quoted(&name));
                self.toml.report(language.span(), message);
            }
            if let Some(read) = self.texts(value) {
                texts.insert(name, read);
            }
        }
        if !texts.contains_key("en") {
            self.toml
                .report(languages.span(), "`en` is missing: texts in English stand in for other languages");
        }
        texts
    }

    fn texts(&mut self, value: &Value<'_>) -> Option<Texts> {
        let table = self.toml.table(value)?;
        self.toml.reject_unknown_keys(table, TEXT_KEYS);
        let mut text = |key: &str| {
            let found = self.toml.required(table, key, value);
            found.and_then(|text| self.toml.string(text)).unwrap_or_default().to_owned()
        };
        let (title, question, ends) = (text("title"), text("question"), text("ends"));
        let (confirm, who) = (text("confirm"), text("who"));
        let (email_subject, email_body) = (text("email_subject"), text("email_body"));
        let points = table.get("points").map_or_else(Vec::new, |points| self.strings(points));
        let [points_if, points_unless] = ["points_if", "points_unless"].map(|key| self.lists(table, key));
        let [types, context, manage] = ["types", "context", "manage"].map(|key| self.named_texts(table, key));
        Some(Texts {
            title,
            question,
            points,
            points_if,
            points_unless,
            ends,
            confirm,
            who,
            types,
            context,
            manage,
            email_subject,
            email_body,
        })
    }

    fn lists(&mut self, table: &DeTable<'_>, key: &str) -> BTreeMap<String, Vec<String>> {
        let Some(lists) = table.get(key).and_then(|lists| self.toml.table(lists)) else {
            return BTreeMap::new();
        };
        lists.iter().map(|(name, list)| (name.get_ref().to_string(), self.strings(list))).collect()
    }

    fn named_texts(&mut self, table: &DeTable<'_>, key: &str) -> BTreeMap<String, String> {
        let Some(names) = table.get(key).and_then(|names| self.toml.table(names)) else {
            return BTreeMap::new();
        };
        let named = names.iter().filter_map(|(name, text)| {
            Some((name.get_ref().to_string(), self.toml.string(text)?.to_owned()))
        });
        named.collect()
    }
}

/// A time of a whole number of days, hours, minutes or seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Seconds> {
    let unit = text.bytes().last()?;
    let number: Seconds = text.get(..text.len() - 1)?.parse().ok()?;
    let seconds = number.checked_mul(match unit {
        b'd' => DAY,
        b'h' => 60 * 60,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    })?;
    (1..=3_660 * DAY).contains(&seconds).then_some(seconds)
}
