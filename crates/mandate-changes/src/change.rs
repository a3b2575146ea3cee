//! One rule: an action, for some types of principals and resources, and the edits that it makes. Edits are computed
//! on the entities of a snapshot in the order in which they are written, each seeing those before
//! (`working_entities`). Nothing here reads a clock or writes.

use crate::change_error::ChangeError;
use crate::edit::Edit;
use crate::memberships::Memberships;
use crate::working_entities::{Edits, WorkingEntities};
use mandate_core::Snapshot;
use mandate_core::diagnostics::SourceSpan;
use mandate_core::request::Request;
use mandate_core::schema::{ActionId, EntityTypeId};

/// A rule: which edits an action makes.
#[derive(Debug)]
pub struct Change {
    /// The action, and the types if the rule is only for some: `requestConsent by Oem on Customer`. No other rule
    /// has the same.
    pub id: String,
    /// The place of the rule in its file.
    pub span: SourceSpan,
    pub(crate) action: ActionId,
    pub(crate) principal_types: Vec<EntityTypeId>,
    pub(crate) resource_types: Vec<EntityTypeId>,
    /// In the order in which they are written.
    pub(crate) edits: Vec<Edit>,
    pub(crate) memberships: Memberships,
}

impl Change {
    /// The line of the rule in its file.
    pub fn line(&self) -> usize {
        self.span.line_column().0
    }

    /// The action that makes the edits.
    pub fn action(&self) -> ActionId {
        self.action
    }

    /// The types of principals that the rule is for.
    pub fn principal_types(&self) -> &[EntityTypeId] {
        &self.principal_types
    }

    /// The types of resources that the rule is for.
    pub fn resource_types(&self) -> &[EntityTypeId] {
        &self.resource_types
    }

    /// The memberships that the rule can add or take away.
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// The edits that a permitted request makes on the entities of a snapshot. The request has to be read by the
    /// schema that the rule was checked against, and the snapshot has to be of that schema. Attributes that the
    /// caller sent of principal or resource do not count. Whether the edited entities keep the rules of loading is
    /// found by [`Snapshot::apply`].
    ///
    /// # Errors
    /// A value is missing, an entity to edit does not exist, or an entity to create does.
    pub fn edits(
        &self,
        request: &Request,
        snapshot: &Snapshot,
        make_id: &mut dyn FnMut() -> String,
    ) -> Result<Edits, ChangeError> {
        let mut entities = WorkingEntities::new(request, snapshot);
        for edit in &self.edits {
            entities.edit(&edit.kind, make_id)?;
        }
        Ok(entities.into_edits())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::change_error::ChangeError;
    use crate::changes::Changes;
    use crate::working_entities::Edits;
    use mandate_core::Snapshot;
    use mandate_core::diagnostics::SourceText;
    use mandate_core::display;
    use mandate_core::entities::{EntityChanges, LoadProgress, Origin, parse_entity_file};
    use mandate_core::json::Json;
    use mandate_core::policies::Policies;
    use mandate_core::request::{Question, QuestionEntity};
    use mandate_core::schema::Schema;
    use mandate_core::snapshot::RequestConfig;

    const SCHEMA: &str = "
        entity Team in [Team] = { name?: String, lead?: User };
        entity User in [Team] = { team: Team, note?: String } tags String;
        action edit appliesTo { principal: User, resource: User, context: {
          id?: String, team?: Team, home?: { street?: String }, name: String,
        } };
    ";

    const ENTITIES: &str = r#"[
        { "uid": { "type": "Team", "id": "a" }, "attrs": { "name": "A" }, "parents": [] },
        { "uid": { "type": "Team", "id": "b" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "User", "id": "eve" }, "parents": [{ "type": "Team", "id": "a" }],
          "attrs": { "team": { "type": "Team", "id": "a" }, "note": "n" }, "tags": { "t": "1" } },
        { "uid": { "type": "User", "id": "bob" }, "parents": [],
          "attrs": { "team": { "type": "Team", "id": "lost" } } }
    ]"#;

    fn snapshot() -> Snapshot {
        let schema = Arc::new(Schema::parse(&SourceText::new("s.cedarschema", SCHEMA)).unwrap().0);
        let file = SourceText::new("e.json", ENTITIES);
        let upserts = parse_entity_file(&file, Origin(3), &schema, &LoadProgress::default()).unwrap();
        let policies = Arc::new(Policies::parse(&[], schema).unwrap().0);
        let snapshot = Snapshot::new(policies, &RequestConfig::default()).unwrap();
        snapshot.apply(&EntityChanges { upserts, removals: Vec::new() }).unwrap()
    }

    /// The edits that a rule makes when a user, in the role of the principal, edits eve.
    fn edits_by(principal: &str, edits: &str, context: &str) -> (Snapshot, Result<Edits, ChangeError>) {
        let snapshot = snapshot();
        let text = format!("[[change]]\naction = 'edit'\n{edits}\n");
        let changes = Changes::parse(&[SourceText::new("changes.toml", text)], snapshot.schema()).unwrap();
        let named = |id| QuestionEntity { entity_type: "User", id, properties: None };
        let context = Json::parse(context.as_bytes()).unwrap();
        let question = Question {
            principal: named(principal),
            action: "edit",
            action_properties: None,
            resource: named("eve"),
            context: context.as_object(),
        };
        let request =
            snapshot.request_from_question(&question, mandate_core::clock::Clock::InQuestion).unwrap();
        let (action, principal, resource) = request.environment();
        let change = changes.changes_for(action, principal, resource).unwrap();
        let mut made = 0;
        let mut make_id = || {
            made += 1;
            format!("made-{made}")
        };
        let edits = change.edits(&request, &snapshot, &mut make_id);
        (snapshot, edits)
    }

    /// What the edits write, and the entities that they remove.
    fn written(edits: &str, context: &str) -> Vec<String> {
        let (snapshot, found) = edits_by("eve", edits, context);
        let found = found.unwrap();
        snapshot.apply(&found.changes).unwrap();
        let schema = snapshot.schema();
        let upserts = found.changes.upserts.iter();
        let upserts = upserts.map(|upsert| display::entity(&upsert.entity.unpack(schema), schema));
        let removals = found.changes.removals.iter();
        let removals = removals.map(|uid| format!("no {}", display::uid(uid.as_uid_ref(), schema)));
        let created = found.created.iter();
        let created = created.map(|uid| format!("new {}", display::uid(uid.as_uid_ref(), schema)));
        upserts.chain(removals).chain(created).collect()
    }

    const NAMED: &str = r#"{ "name": "x" }"#;

    #[test]
    fn each_edit_writes_what_it_says() {
        let eve = "User::eve in Team::a { note: \"n\", team: Team::a } { t: \"1\" }";
        for (edits, context, expected) in [
            // A new entity, with and without what is optional.
            (
                "create = [{ type = 'Team', id = 'made', attributes = { name = { optional = 'context.home.street' } } }]",
                NAMED,
                &["Team::made-1", "new Team::made-1"] as &[&str],
            ),
            (
                "create = [{ type = 'Team', id = { value = 'context.name' }, attributes = { name = 'context.name' }, \
               parents = [{ first = ['context.team', 'principal.team'] }] }]",
                NAMED,
                &["Team::x in Team::a { name: \"x\" }", "new Team::x"],
            ),
            (
                "create = [{ type = 'Team', id = { optional = 'context.id' }, parents = [{ optional = 'context.team' }] }]",
                r#"{ "name": "x", "id": "i", "team": "b" }"#,
                &["Team::i in Team::b", "new Team::i"],
            ),
            (
                "create = [{ type = 'Team', id = { optional = 'context.id' }, parents = [{ optional = 'context.team' }] }]",
                NAMED,
                &["Team::made-1", "new Team::made-1"],
            ),
            // Tags, parents and other attributes stay.
            (
                "set = [{ entity = 'resource', attributes = { team = 'Team::\"b\"' } }]",
                NAMED,
                &["User::eve in Team::a { note: \"n\", team: Team::b } { t: \"1\" }"],
            ),
            (
                "remove = [{ entity = 'resource', attributes = ['note'] }]",
                NAMED,
                &["User::eve in Team::a { team: Team::a } { t: \"1\" }"],
            ),
            (
                "join = [{ entity = 'resource', parents = ['Team::\"b\"'] }]",
                NAMED,
                &["User::eve in Team::a, Team::b { note: \"n\", team: Team::a } { t: \"1\" }"],
            ),
            (
                "leave = [{ entity = 'resource', parents = ['resource.team'] }]",
                NAMED,
                &["User::eve { note: \"n\", team: Team::a } { t: \"1\" }"],
            ),
            ("delete = [{ entity = 'resource' }]", NAMED, &["no User::eve"]),
            // What is so already changes nothing.
            ("join = [{ entity = 'resource', parents = ['resource.team'] }]", NAMED, &[]),
            ("leave = [{ entity = 'resource', parents = ['Team::\"b\"'] }]", NAMED, &[]),
            (
                "set = [{ entity = 'resource', attributes = { note = { optional = 'context.id' } } }]",
                NAMED,
                &[],
            ),
            ("remove = [{ entity = 'Team::\"b\"', attributes = ['name'] }]", NAMED, &[]),
            // Each edit sees those before, in the order in which they are written; one entity is written once.
            (
                "[[change.set]]\nentity = 'resource'\nattributes = { team = 'Team::\"b\"' }\n\
              [[change.join]]\nentity = 'resource'\nparents = ['resource.team']\n\
              [[change.set]]\nentity = 'resource'\nattributes = { team = 'Team::\"a\"' }",
                NAMED,
                &["User::eve in Team::a, Team::b { note: \"n\", team: Team::a } { t: \"1\" }"],
            ),
            (
                "[[change.delete]]\nentity = 'resource'\n\
              [[change.create]]\ntype = 'User'\nid = { value = '\"eve\"' }\nattributes = { team = 'Team::\"b\"' }",
                NAMED,
                &["User::eve { team: Team::b }", "new User::eve"],
            ),
            (
                "[[change.create]]\ntype = 'Team'\nid = { value = '\"c\"' }\n[[change.delete]]\nentity = 'Team::\"c\"'",
                NAMED,
                &[],
            ),
            (
                "[[change.leave]]\nentity = 'resource'\nparents = ['Team::\"a\"']\n\
              [[change.join]]\nentity = 'resource'\nparents = ['Team::\"a\"']",
                NAMED,
                &[],
            ),
        ] {
            assert_eq!(written(edits, context), expected, "{edits}");
        }
        assert!(written("set = [{ entity = 'resource', attributes = { note = '\"m\"' } }]", NAMED)[0] != eve);
    }

    #[test]
    fn requests_that_cannot_make_their_change() {
        let long = format!(r#"{{ "name": "{}" }}"#, "x".repeat(600));
        for (principal, edits, context, error) in [
            (
                "eve",
                "create = [{ type = 'Team', id = { value = 'context.id' } }]",
                NAMED,
                "`context.id` is missing: this change needs it",
            ),
            (
                "eve",
                "join = [{ entity = 'resource', parents = [{ first = ['context.team', 'context.team.lead.team'] }] }]",
                NAMED,
                "`context.team` or `context.team.lead.team` is missing: this change needs it",
            ),
            (
                "eve",
                "delete = [{ entity = 'context.team' }]",
                NAMED,
                "`context.team` is missing: this change needs it",
            ),
            (
                "eve",
                "delete = [{ entity = 'context.team' }]",
                r#"{ "name": "x", "team": "z" }"#,
                "`Team::z` does not exist: this change needs it as `context.team`",
            ),
            (
                "bob",
                "set = [{ entity = 'resource', attributes = { note = { optional = 'principal.team.name' } } }]",
                NAMED,
                "`Team::lost` does not exist: this change needs it as `principal.team.name`",
            ),
            (
                "nobody",
                "set = [{ entity = 'resource', attributes = { team = 'principal.team' } }]",
                NAMED,
                "`User::nobody` does not exist: this change needs it as `principal.team`",
            ),
            (
                "eve",
                "[[change.delete]]\nentity = 'resource'\n[[change.delete]]\nentity = 'resource'",
                NAMED,
                "`User::eve` does not exist: this change needs it as `resource`",
            ),
            (
                "eve",
                "create = [{ type = 'Team', id = { value = 'context.name' } }]",
                r#"{ "name": "a" }"#,
                "`Team::a` exists already",
            ),
            (
                "eve",
                "create = [{ type = 'Team', id = { value = 'context.name' } }]",
                r#"{ "name": "" }"#,
                "`context.name` cannot be the id of an entity: it is empty",
            ),
            (
                "eve",
                "create = [{ type = 'Team', id = { value = 'context.name' } }]",
                &long,
                "`context.name` cannot be the id of an entity: it is longer than 512 bytes",
            ),
        ] {
            let (_, found) = edits_by(principal, edits, context);
            assert_eq!(found.unwrap_err().to_string(), error, "{edits}");
        }
    }

    #[test]
    fn what_breaks_the_rules_of_loading_is_found_when_it_is_applied() {
        let lost = "join = [{ entity = 'resource', parents = ['Team::\"lost\"'] }]";
        let (snapshot, edits) = edits_by("eve", lost, NAMED);
        let error = snapshot.apply(&edits.unwrap().changes).unwrap_err();
        assert!(error.to_string().contains("which does not exist"), "{error}");
    }

    #[test]
    fn origins_stay_and_memberships_are_listed() {
        let (snapshot, edits) =
            edits_by("eve", "set = [{ entity = 'resource', attributes = { note = '\"m\"' } }]", NAMED);
        assert_eq!(edits.unwrap().changes.upserts[0].entity.origin(), Origin(3));
        let text = "[[change]]\naction = 'edit'\n[[change.delete]]\nentity = 'principal'\n\
                    [[change.create]]\ntype = 'Team'\nid = 'made'\nparents = ['resource.team']\n";
        let schema = snapshot.schema();
        let changes = Changes::parse(&[SourceText::new("changes.toml", text)], schema).unwrap();
        let of = |found: &std::collections::BTreeSet<crate::memberships::Membership>| -> Vec<String> {
            let name = |it| display::entity_type(it, schema);
            found.iter().map(|it| format!("{} in {}", name(it.member), name(it.parent))).collect()
        };
        let change = changes.iter().next().unwrap();
        assert_eq!(of(&change.memberships().added), ["Team in Team"]);
        assert_eq!(of(&change.memberships().removed), ["User in Team"]);
        assert_eq!((change.id.as_str(), change.line()), ("edit", 1));
    }
}
