//! Entity files: as strict as Cedar's own reader, and stricter where that would grant a right.

use cedar_policy::{Entities as CedarEntities, Schema as CedarSchema};
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{Entities, EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;

use crate::support::pack;

const SCHEMA: &str = r#"
namespace N {
  entity Role enum ["a", "b"];
  entity Team in [Team];
  entity User in [Team] = {
    name: String,
    age?: Long,
    on: Bool,
    boss?: User,
    roles: Set<Role>,
    home: { street: String, no?: Long },
    ip?: ipaddr,
    worth?: decimal,
    born?: datetime,
    for?: duration,
    nested?: Set<Set<Long>>,
  } tags Set<String>;
  entity Doc in [User];
}
"#;

struct Both {
    ours: Schema,
    cedar: CedarSchema,
}

fn both() -> Both {
    let ours = Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0;
    Both { ours, cedar: CedarSchema::from_cedarschema_str(SCHEMA).unwrap().0 }
}

impl Both {
    /// What we say: the error's text, if there is one.
    fn ours(&self, text: &str) -> Result<usize, String> {
        let source = SourceText::new("e.json", text);
        let incoming = parse_entity_file(&source, Origin(0), &self.ours, &LoadProgress::default())
            .map_err(|diagnostics| diagnostics.to_string())?;
        let change = EntityChanges { upserts: incoming, removals: Vec::new() };
        let entities =
            Entities::default().apply(&change, &self.ours).map_err(|diagnostics| diagnostics.to_string())?;
        Ok(entities.len())
    }

    /// What Cedar says.
    fn cedars(&self, text: &str) -> Result<(), String> {
        let entities = CedarEntities::from_json_str(text, Some(&self.cedar));
        entities.map(|_| ()).map_err(|error| miette::Report::new(error).to_string())
    }

    #[track_caller]
    fn accept(&self, text: &str) {
        assert_eq!(self.cedars(text), Ok(()));
        self.ours(text).unwrap();
    }

    #[track_caller]
    fn refuse(&self, text: &str) {
        assert!(self.cedars(text).is_err(), "Cedar accepts {text}");
        assert!(self.ours(text).is_err(), "we accept {text}");
    }

    /// Refused here, though Cedar accepts it; the message says why.
    #[track_caller]
    fn stricter(&self, text: &str, says: &str) {
        assert_eq!(self.cedars(text), Ok(()));
        let error = self.ours(text).expect_err("must be refused");
        assert!(error.contains(says), "{error}");
    }
}

fn user(attrs: &str) -> String {
    user_with("[]", attrs)
}

fn user_with(parents: &str, attrs: &str) -> String {
    format!(
        r#"[{{"uid": {{"type": "N::User", "id": "u"}}, "parents": {parents},
            "attrs": {{"name": "n", "on": true, "roles": [], "home": {{"street": "s"}}{attrs}}}}}]"#
    )
}

#[test]
fn values_of_every_type() {
    let both = both();
    for attrs in [
        "",
        r#", "age": 3, "boss": {"type": "N::User", "id": "x"}"#,
        r#", "boss": {"__entity": {"type": "N::User", "id": "x"}}"#,
        r#", "ip": "10.0.0.0/8""#,
        r#", "ip": {"__extn": {"fn": "ip", "arg": "::1"}}"#,
        r#", "ip": {"fn": "ip", "arg": "::1"}"#,
        r#", "worth": "1.5", "born": "2026-11-22", "for": "1h30m""#,
        r#", "nested": [[1, 2], [], [2, 1]]"#,
    ] {
        both.accept(&user(attrs));
    }
    for attrs in [
        r#", "age": "3""#,
        r#", "age": 3.0"#,
        r#", "age": 9223372036854775808"#,
        r#", "age": null"#,
        r#", "boss": {"type": "N::Team", "id": "x"}"#,
        r#", "boss": {"type": "User", "id": "x"}"#,
        r#", "boss": {"id": "x"}"#,
        r#", "boss": "x""#,
        r#", "boss": {"__entity": "x"}"#,
        r#", "boss": {"__entity": null}"#,
        r#", "boss": {"__entity": {"type": "N::User"}}"#,
        r#", "ip": {"__extn": "::1"}"#,
        r#", "ip": "10.0.0.0/99""#,
        r#", "ip": {"fn": "decimal", "arg": "1.0"}"#,
        r#", "ip": 1"#,
        r#", "worth": "1.55555""#,
        r#", "born": "yesterday""#,
        r#", "nested": [1]"#,
        r#", "nested": {"a": 1}"#,
        r#", "unknown": 1"#,
    ] {
        both.refuse(&user(attrs));
    }
}

#[test]
fn required_attributes_and_records() {
    let both = both();
    let entity = |attrs: &str| {
        format!(r#"[{{"uid": {{"type": "N::User", "id": "u"}}, "parents": [], "attrs": {attrs}}}]"#)
    };
    both.accept(&entity(r#"{"name": "", "on": false, "roles": [{"type": "N::Role", "id": "a"}], "home": {"street": "", "no": 1}}"#));
    both.refuse(&entity("{}"));
    both.refuse(&entity(
        r#"{"name": "", "on": false, "roles": [{"__entity": "a"}], "home": {"street": ""}}"#,
    ));
    both.refuse(&entity(
        r#"{"name": "", "on": false, "roles": [{"type": "N::Role", "id": "z"}], "home": {"street": ""}}"#,
    ));
    both.refuse(&entity(r#"{"name": "", "on": false, "roles": [], "home": {}}"#));
    both.refuse(&entity(r#"{"name": "", "on": false, "roles": [], "home": {"street": "", "x": 1}}"#));
    both.refuse(&entity("[]"));
}

#[test]
fn shape_of_an_entity() {
    let both = both();
    both.accept("[]");
    both.accept(r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": []}]"#);
    both.accept(r#"[{"uid": {"__entity": {"type": "N::Team", "id": "t"}}, "attrs": {}, "parents": []}]"#);
    for text in [
        "",
        "{}",
        "[1]",
        "[{}]",
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "parents": []}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}}]"#,
        r#"[{"uid": "N::Team::\"t\"", "attrs": {}, "parents": []}]"#,
        r#"[{"uid": {"__entity": "t"}, "attrs": {}, "parents": []}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": [{"__entity": "t"}]}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": ["t"]}]"#,
        r#"[{"uid": {"type": "N::Nothing", "id": "t"}, "attrs": {}, "parents": []}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": {}}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": [], "tags": {"a": ["b"]}}]"#,
        r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": []}] trailing"#,
    ] {
        both.refuse(text);
    }
    // A mistyped key must not be lost in silence.
    let more = r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": [], "tag": {}}]"#;
    both.stricter(more, "an entity has only `uid`, `attrs`, `parents` and `tags`");
    let tagged = |tags: &str| user("").replacen(r#""parents""#, &format!(r#""tags": {tags}, "parents""#), 1);
    both.accept(&tagged(r#"{"a": ["x", "y"]}"#));
    both.refuse(&tagged(r#"{"a": "x"}"#));
}

#[test]
fn edges() {
    let both = both();
    let team = |id: &str, parent: &str| {
        format!(
            r#"{{"uid": {{"type": "N::Team", "id": "{id}"}}, "attrs": {{}}, "parents": [{{"type": "N::Team", "id": "{parent}"}}]}}"#
        )
    };
    let top = r#"{"uid": {"type": "N::Team", "id": "top"}, "attrs": {}, "parents": []}"#;
    both.accept(&format!("[{top}, {}, {}]", team("a", "top"), team("b", "a")));
    both.refuse(&format!("[{}, {}]", team("a", "b"), team("b", "a")));
    both.refuse(&user_with(r#"[{"type": "N::Role", "id": "a"}]"#, ""));
    both.stricter(&format!("[{}]", team("a", "gone")), "which does not exist");
    // `Doc` is in `User`, and that in `Team`: Cedar takes the edge that skips a step.
    let skipping = r#"{"uid": {"type": "N::Doc", "id": "d"}, "attrs": {}, "parents": [{"type": "N::Team", "id": "top"}]}"#;
    both.stricter(
        &format!("[{top}, {skipping}]"),
        "cannot be directly in a `N::Team`: expected one of `N::User`",
    );
    both.stricter(&format!("[{top}, {top}]"), "defined twice, first at e.json:1");
    both.refuse(&format!("[{top}, {}]", team("top", "top")));
}

/// Cedar's reader takes the last of two equal keys; which one counts must not depend on a parser.
#[test]
fn repeated_keys() {
    let both = both();
    let error = both.ours(&user(r#", "age": 1, "age": 2"#)).expect_err("must be refused");
    assert!(error.contains("duplicate key `age`"), "{error}");
}

#[test]
fn every_error_comes_with_its_place() {
    let both = both();
    let text = "[\n  {\"uid\": {\"type\": \"N::Team\", \"id\": \"t\"}, \"attrs\": {},\n   \"parents\": []},\n  {\"uid\": {\"type\": \"N::User\", \"id\": \"u\"}, \"parents\": [],\n   \"attrs\": {\"name\": 1, \"on\": 2,\n             \"roles\": [], \"home\": {}}}\n]\n";
    let error = both.ours(text).expect_err("must be refused");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "e.json:5:14: attrs.name: expected a string, found a whole number",
            "e.json:5:25: attrs.on: expected a boolean, found a whole number",
            "e.json:6:27: attrs.home.street: missing: expected a string",
        ]
    );
    let syntax = both.ours("[\n {\"uid\": ]\n").expect_err("must be refused");
    assert!(syntax.starts_with("e.json:2:10: not a valid entity file"), "{syntax}");
}

#[test]
fn ndjson_is_one_entity_a_line() {
    let both = both();
    let line = r#"{"uid": {"type": "N::Team", "id": "t1"}, "attrs": {}, "parents": []}"#;
    let read = |text: &str| {
        let source = SourceText::new("e.ndjson", text);
        parse_entity_file(&source, Origin(0), &both.ours, &LoadProgress::default())
            .map(|read| read.len())
            .map_err(|diagnostics| diagnostics.to_string())
    };
    assert_eq!(read(&format!("{line}\n\n{}\r\n", line.replace("t1", "t2"))), Ok(2));
    assert_eq!(read(""), Ok(0));
    let error = read(&format!("{line}\n{{\n")).expect_err("must be refused");
    assert!(error.starts_with("e.ndjson:2:"), "{error}");
    assert!(read(&format!("[{line}]")).is_err());
}

/// The sample store loads in Cedar's own reader as it does in ours.
#[test]
fn sample_store_is_cedars_format() {
    let schema = std::fs::read_to_string(pack("policies/schema.cedarschema")).unwrap();
    let cedar = CedarSchema::from_cedarschema_str(&schema).unwrap().0;
    for file in ["partners.json", "partnerships.json", "consents.json", "customers.json"] {
        let text = std::fs::read_to_string(pack("entities").join(file)).unwrap();
        CedarEntities::from_json_str(&text, Some(&cedar)).unwrap();
    }
}
