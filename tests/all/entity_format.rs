//! Entity files: the reader refuses everything that Cedar's reader refuses. It also refuses what Cedar's
//! reader accepts although it would silently grant a right or lose data.

use cedar_policy::{Entities as CedarEntities, Schema as CedarSchema};
use mandate_core::diagnostics::SourceText;
use mandate_core::entities::{Entities, EntityChanges, LoadProgress, Origin, parse_entity_file};
use mandate_core::schema::Schema;

use crate::support::repository_path;

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

/// One schema for both readers.
struct Readers {
    schema: Schema,
    cedar_schema: CedarSchema,
}

fn readers() -> Readers {
    let schema = Schema::parse(&SourceText::new("schema.cedarschema", SCHEMA)).unwrap().0;
    Readers { schema, cedar_schema: CedarSchema::from_cedarschema_str(SCHEMA).unwrap().0 }
}

impl Readers {
    /// The number of entities that Mandate's reader finds, or its errors.
    fn mandate(&self, text: &str) -> Result<usize, String> {
        let source = SourceText::new("e.json", text);
        let incoming = parse_entity_file(&source, Origin(0), &self.schema, &LoadProgress::default())
            .map_err(|diagnostics| diagnostics.to_string())?;
        let change = EntityChanges { upserts: incoming, removals: Vec::new() };
        let entities = Entities::default()
            .apply(&change, &self.schema)
            .map_err(|diagnostics| diagnostics.to_string())?;
        Ok(entities.len())
    }

    /// Whether Cedar's reader accepts the text, or its error.
    fn cedar(&self, text: &str) -> Result<(), String> {
        let entities = CedarEntities::from_json_str(text, Some(&self.cedar_schema));
        entities.map(|_| ()).map_err(|error| miette::Report::new(error).to_string())
    }

    /// Both readers accept the text.
    #[track_caller]
    fn accept(&self, text: &str) {
        assert_eq!(self.cedar(text), Ok(()));
        self.mandate(text).unwrap();
    }

    /// Both readers refuse the text.
    #[track_caller]
    fn refuse(&self, text: &str) {
        assert!(self.cedar(text).is_err(), "Cedar accepts {text}");
        assert!(self.mandate(text).is_err(), "Mandate accepts {text}");
    }

    /// Cedar accepts the text, and Mandate refuses it with this message.
    #[track_caller]
    fn refuse_unlike_cedar(&self, text: &str, message: &str) {
        assert_eq!(self.cedar(text), Ok(()));
        let error = self.mandate(text).expect_err("must be refused");
        assert!(error.contains(message), "{error}");
    }
}

/// A user with these attributes beside the required ones.
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
fn attribute_values_have_to_be_of_the_declared_type() {
    let readers = readers();
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
        readers.accept(&user(attrs));
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
        readers.refuse(&user(attrs));
    }
}

#[test]
fn required_attributes_have_to_be_present_and_others_declared() {
    let readers = readers();
    let entity = |attrs: &str| {
        format!(r#"[{{"uid": {{"type": "N::User", "id": "u"}}, "parents": [], "attrs": {attrs}}}]"#)
    };
    readers.accept(&entity(r#"{"name": "", "on": false, "roles": [{"type": "N::Role", "id": "a"}], "home": {"street": "", "no": 1}}"#));
    readers.refuse(&entity("{}"));
    readers.refuse(&entity(
        r#"{"name": "", "on": false, "roles": [{"__entity": "a"}], "home": {"street": ""}}"#,
    ));
    readers.refuse(&entity(
        r#"{"name": "", "on": false, "roles": [{"type": "N::Role", "id": "z"}], "home": {"street": ""}}"#,
    ));
    readers.refuse(&entity(r#"{"name": "", "on": false, "roles": [], "home": {}}"#));
    readers.refuse(&entity(r#"{"name": "", "on": false, "roles": [], "home": {"street": "", "x": 1}}"#));
    readers.refuse(&entity("[]"));
}

#[test]
fn an_entity_has_a_uid_attrs_and_parents_and_may_have_tags() {
    let readers = readers();
    readers.accept("[]");
    readers.accept(r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": []}]"#);
    readers.accept(r#"[{"uid": {"__entity": {"type": "N::Team", "id": "t"}}, "attrs": {}, "parents": []}]"#);
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
        readers.refuse(text);
    }
    // A mistyped key would lose data silently.
    let mistyped = r#"[{"uid": {"type": "N::Team", "id": "t"}, "attrs": {}, "parents": [], "tag": {}}]"#;
    readers.refuse_unlike_cedar(mistyped, "an entity has only `uid`, `attrs`, `parents` and `tags`");
    let tagged = |tags: &str| user("").replacen(r#""parents""#, &format!(r#""tags": {tags}, "parents""#), 1);
    readers.accept(&tagged(r#"{"a": ["x", "y"]}"#));
    readers.refuse(&tagged(r#"{"a": "x"}"#));
}

#[test]
fn parents_have_to_exist_and_be_of_a_direct_parent_type() {
    let readers = readers();
    let team = |id: &str, parent: &str| {
        format!(
            r#"{{"uid": {{"type": "N::Team", "id": "{id}"}}, "attrs": {{}}, "parents": [{{"type": "N::Team", "id": "{parent}"}}]}}"#
        )
    };
    let top = r#"{"uid": {"type": "N::Team", "id": "top"}, "attrs": {}, "parents": []}"#;
    readers.accept(&format!("[{top}, {}, {}]", team("a", "top"), team("b", "a")));
    readers.refuse(&format!("[{}, {}]", team("a", "b"), team("b", "a")));
    readers.refuse(&user_with(r#"[{"type": "N::Role", "id": "a"}]"#, ""));
    readers.refuse_unlike_cedar(&format!("[{}]", team("a", "gone")), "which does not exist");
    // A `Doc` is in a `User` and a `User` is in a `Team`. Cedar accepts a `Doc` directly in a `Team`.
    let skipping = r#"{"uid": {"type": "N::Doc", "id": "d"}, "attrs": {}, "parents": [{"type": "N::Team", "id": "top"}]}"#;
    readers.refuse_unlike_cedar(
        &format!("[{top}, {skipping}]"),
        "cannot be directly in a `N::Team`: expected one of `N::User`",
    );
    readers.refuse_unlike_cedar(&format!("[{top}, {top}]"), "defined twice, first at e.json:1");
    readers.refuse(&format!("[{top}, {}]", team("top", "top")));
}

/// Cedar's reader takes the last of two equal keys. Another program that reads the file may take the first.
#[test]
fn a_repeated_key_is_refused() {
    let readers = readers();
    let error = readers.mandate(&user(r#", "age": 1, "age": 2"#)).expect_err("must be refused");
    assert!(error.contains("duplicate key `age`"), "{error}");
}

#[test]
fn every_error_is_reported_with_its_place() {
    let readers = readers();
    let text = "[\n  {\"uid\": {\"type\": \"N::Team\", \"id\": \"t\"}, \"attrs\": {},\n   \"parents\": []},\n  {\"uid\": {\"type\": \"N::User\", \"id\": \"u\"}, \"parents\": [],\n   \"attrs\": {\"name\": 1, \"on\": 2,\n             \"roles\": [], \"home\": {}}}\n]\n";
    let error = readers.mandate(text).expect_err("must be refused");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "e.json:5:14: attrs.name: expected a string, found a whole number",
            "e.json:5:25: attrs.on: expected a boolean, found a whole number",
            "e.json:6:27: attrs.home.street: missing: expected a string",
        ]
    );
    let syntax = readers.mandate("[\n {\"uid\": ]\n").expect_err("must be refused");
    assert!(syntax.starts_with("e.json:2:10: not a valid entity file"), "{syntax}");
}

#[test]
fn an_ndjson_file_has_one_entity_per_line() {
    let readers = readers();
    let line = r#"{"uid": {"type": "N::Team", "id": "t1"}, "attrs": {}, "parents": []}"#;
    let read = |text: &str| {
        let source = SourceText::new("e.ndjson", text);
        parse_entity_file(&source, Origin(0), &readers.schema, &LoadProgress::default())
            .map(|read| read.len())
            .map_err(|diagnostics| diagnostics.to_string())
    };
    assert_eq!(read(&format!("{line}\n\n{}\r\n", line.replace("t1", "t2"))), Ok(2));
    assert_eq!(read(""), Ok(0));
    let error = read(&format!("{line}\n{{\n")).expect_err("must be refused");
    assert!(error.starts_with("e.ndjson:2:"), "{error}");
    assert!(read(&format!("[{line}]")).is_err());
}

#[test]
fn cedars_reader_accepts_the_entities_of_the_pack() {
    let schema = std::fs::read_to_string(repository_path("policies/schema.cedarschema")).unwrap();
    let cedar = CedarSchema::from_cedarschema_str(&schema).unwrap().0;
    for file in ["partners.json", "partnerships.json", "consents.json", "customers.json"] {
        let text = std::fs::read_to_string(repository_path("entities").join(file)).unwrap();
        CedarEntities::from_json_str(&text, Some(&cedar)).unwrap();
    }
}
