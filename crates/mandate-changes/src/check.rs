//! Holds changes to the schema: no two rules are for the same requests, and every edit fits, for each pair of
//! types of principal and resource. Files are read in `parse`.

mod edits;
mod requests;
mod types;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use edits::EditChecks;
pub(crate) use requests::check_requests;

use crate::change::Change;
use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::display;
use mandate_core::policies::EnvironmentKey;
use mandate_core::schema::Schema;

/// Reports what does not fit the schema, and finds the memberships of each change. Returns the index of the change
/// for each environment.
pub(crate) fn check_changes(
    changes: &mut [Change],
    schema: &Schema,
    diagnostics: &mut Diagnostics,
) -> HashMap<EnvironmentKey, usize> {
    let mut by_environment: HashMap<EnvironmentKey, usize> = HashMap::new();
    let mut found = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let mut checks = EditChecks::new(change, schema);
        let mut overlaps = false;
        for environment in environments(change) {
            match by_environment.entry(environment) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                    checks.check_for(environment);
                }
                // One report for each change.
                Entry::Occupied(entry) if !overlaps => {
                    overlaps = true;
                    let first = changes.get(*entry.get());
                    checks.push(overlap(change, first, environment, schema));
                }
                Entry::Occupied(_) => {}
            }
        }
        let (errors, memberships) = checks.into_result();
        errors.for_each(|error| diagnostics.push(error));
        found.push(memberships);
    }
    for (change, memberships) in changes.iter_mut().zip(found) {
        change.memberships = memberships;
    }
    by_environment
}

fn environments(change: &Change) -> impl Iterator<Item = EnvironmentKey> + '_ {
    let resources = |principal| change.resource_types.iter().map(move |resource| (principal, resource));
    let pairs = change.principal_types.iter().flat_map(move |principal| resources(*principal));
    pairs.map(|(principal, resource)| (change.action, principal, *resource))
}

fn overlap(
    change: &Change,
    first: Option<&Change>,
    (action, principal, resource): EnvironmentKey,
    schema: &Schema,
) -> Diagnostic {
    let place = first.map_or_else(String::new, |first| {
        format!(", as has the one at {}:{}", first.span.source.path, first.line())
    });
    let [principal, resource] = [principal, resource].map(|it| display::entity_type(it, schema));
    let action = display::action(action, schema);
    let message = format!("this change is for `{action}` by `{principal}` on `{resource}`{place}");
    let help = "name other types in `principal` or `resource`, or make one change of both";
    Diagnostic::error(message).help(help).at(change.span.clone())
}

#[cfg(test)]
mod tests {
    use crate::changes::Changes;
    use mandate_core::diagnostics::SourceText;
    use mandate_core::schema::Schema;

    const SCHEMA: &str = r#"
        entity Role enum ["user", "admin"];
        entity Team in [Team] = { name: String, size?: Long };
        entity Site;
        entity User in [Team] = { team: Team, roles?: Set<Role>, home?: { no: Long, street?: String } };
        action move, rename appliesTo { principal: [User, Team], resource: User, context: {
          to?: Team, name: String, roles: Set<Role>, home: { no: Long, street?: String },
          other: { no: Long, street: String }, names: Set<String>, from?: ipaddr,
        } };
        action all;
    "#;

    /// The errors of a file, each with its line and column.
    fn errors(text: &str) -> Vec<String> {
        let schema = Schema::parse(&SourceText::new("s.cedarschema", SCHEMA)).unwrap().0;
        match Changes::parse(&[SourceText::new("changes.toml", text)], &schema) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(ToString::to_string).collect(),
        }
    }

    /// Checks the one error of a change of `move` by a user, whose edits begin in line 5.
    #[track_caller]
    fn check(edits: &str, error: &str) {
        let text = format!("[[change]]\naction = \"move\"\nprincipal = [\"User\"]\n\n{edits}\n");
        assert_eq!(errors(&text), [error.to_owned()], "{text}");
    }

    #[track_caller]
    fn accept(edits: &str) {
        let text = format!("[[change]]\naction = \"move\"\nprincipal = [\"User\"]\n{edits}\n");
        assert_eq!(errors(&text), [""; 0], "{text}");
    }

    #[test]
    fn changes_that_fit() {
        accept(
            "[[change.create]]\ntype = 'Team'\nid = 'made'\nattributes = { name = 'context.name', size = 3 }",
        );
        accept(
            "[[change.create]]\ntype = 'Team'\nid = { value = 'context.name' }\nattributes = { name = '\"a\"' }",
        );
        accept("[[change.create]]\ntype = 'Site'\nid = { optional = 'context.home.street' }");
        accept(
            "[[change.set]]\nentity = 'resource'\nattributes = { roles = 'context.roles', home = 'context.home' }",
        );
        accept("[[change.set]]\nentity = 'resource'\nattributes = { team = { optional = 'context.to' } }");
        accept("[[change.set]]\nentity = 'Team::\"a\"'\nattributes = { size = -5 }");
        accept("[[change.remove]]\nentity = 'resource.team'\nattributes = ['size']");
        accept(
            "[[change.join]]\nentity = 'resource'\nparents = [{ first = ['context.to', 'principal.team'] }]",
        );
        accept(
            "[[change.leave]]\nentity = 'context.to'\nparents = ['principal.team']\n[[change.delete]]\nentity = 'resource'",
        );
    }

    #[test]
    fn edits_that_do_not_fit_the_schema() {
        let new = "[[change.create]]\ntype = 'Team'\nid = 'made'\n";
        let set = "[[change.set]]\nentity = 'resource'\n";
        for (edits, error) in [
            (
                format!("{new}attributes = {{ size = 1 }}"),
                "changes.toml:5:1: `Team` requires `name` of type `String`, which this change does not set",
            ),
            (
                format!("{new}attributes = {{ name = {{ optional = 'context.name' }} }}"),
                "changes.toml:8:16: `Team` requires `name`, so its value cannot be `optional`",
            ),
            (
                format!("{new}attributes = {{ name = 'context.name', nam = 1 }}"),
                "changes.toml:8:39: `Team` has no attribute `nam`",
            ),
            (
                format!("{new}attributes = {{ name = 5 }}"),
                "changes.toml:8:23: `name` of `Team` has type `String`, and `5` has type `Long`",
            ),
            (
                format!("{new}attributes = {{ name = 'context.name' }}\nparents = ['resource']"),
                "changes.toml:9:12: `Team` cannot be directly in `resource`, which has type `User`: expected one of `Team`",
            ),
            (
                "[[change.create]]\ntype = 'Site'\nid = 'made'\nparents = ['resource']".to_owned(),
                "changes.toml:8:12: `Site` cannot be directly in `resource`, which has type `User`: it has no parent types",
            ),
            (
                "[[change.create]]\ntype = 'Role'\nid = 'made'".to_owned(),
                "changes.toml:5:1: `Role` is an enumerated type: its entities are declared in the schema, and cannot be changed",
            ),
            (
                "[[change.create]]\ntype = 'Site'\nid = { value = 'resource' }".to_owned(),
                "changes.toml:7:16: an id has type `String`, and `resource` has type `User`",
            ),
            (
                format!("{set}attributes = {{ home = 'context.other' }}"),
                "changes.toml:7:23: `home` of `User` has type `{ no: Long, street?: String }`, and `context.other` has type `{ no: Long, street: String }`",
            ),
            (
                format!("{set}attributes = {{ roles = 'context.names' }}"),
                "changes.toml:7:24: `roles` of `User` has type `Set<Role>`, and `context.names` has type `Set<String>`",
            ),
            (
                format!("{set}attributes = {{ team = 'context.too' }}"),
                "changes.toml:7:23: `context.too`: the context of `move` has no attribute `too`",
            ),
            (
                format!("{set}attributes = {{ team = 'resource.team.boss' }}"),
                "changes.toml:7:23: `resource.team.boss`: `Team` has no attribute `boss`",
            ),
            (
                format!("{set}attributes = {{ team = 'context.home.x' }}"),
                "changes.toml:7:23: `context.home.x`: the record has no attribute `x`",
            ),
            (
                format!("{set}attributes = {{ team = 'context.name.x' }}"),
                "changes.toml:7:23: `context.name.x`: `String` has no attributes",
            ),
            (
                "[[change.set]]\nentity = 'context.name'\nattributes = { name = 'context.name' }".to_owned(),
                "changes.toml:6:10: `context.name` is no entity: it has type `String`",
            ),
            (
                "[[change.delete]]\nentity = 'Role::\"user\"'".to_owned(),
                "changes.toml:6:10: `Role` is an enumerated type: its entities are declared in the schema, and cannot be changed",
            ),
            (
                "[[change.remove]]\nentity = 'resource'\nattributes = ['team']".to_owned(),
                "changes.toml:7:15: `User` requires `team`, so it cannot be removed",
            ),
            (
                "[[change.remove]]\nentity = 'resource'\nattributes = ['teams']".to_owned(),
                "changes.toml:7:15: `User` has no attribute `teams`",
            ),
        ] {
            check(&edits, error);
        }
    }

    #[test]
    fn files_that_cannot_be_read() {
        let new = "[[change.create]]\ntype = 'Site'\n";
        for (edits, error) in [
            (
                "",
                "changes.toml:1:1: the change makes no edit: add at least one of `create`, `set`, `remove`, `join`, `leave`, `delete`",
            ),
            ("create = []", "changes.toml:5:10: `create` has no edits"),
            (
                "delete = 'resource'",
                "changes.toml:5:10: `delete` has to be an array of tables: write each edit as `[[change.delete]]`",
            ),
            (
                "[[change.delete]]\nentity = 'resource'\nparents = ['a']",
                "changes.toml:7:1: unknown key `parents`: expected one of `entity`",
            ),
            (
                "[[change.delete]]\nentitiy = 'resource'\nentity = 'resource'",
                "changes.toml:6:1: unknown key `entitiy`: did you mean `entity`?",
            ),
            ("[[change.delete]]", "changes.toml:5:1: `entity` is missing"),
            (
                "[[change.join]]\nentity = 'resource'\nparents = []",
                "changes.toml:7:11: the array has to have at least one item",
            ),
            (
                "[[change.set]]\nentity = 'resource'\nattributes = {}",
                "changes.toml:7:14: `attributes` has to have at least one attribute",
            ),
            (
                "[[change.set]]\nentity = 'resource'\nattributes = { team = { first = ['context.to'], optional = 'context.to' } }",
                "changes.toml:7:23: a value is an expression, `{ optional = … }` or `{ first = [ … ] }`",
            ),
            (
                "[[change.set]]\nentity = 'resource'\nattributes = { team = ['context.to'] }",
                "changes.toml:7:23: an array is not allowed here: write an expression",
            ),
            (
                &format!("{new}id = 'new'"),
                "changes.toml:7:6: has to be `\"made\"` or a table: `{ value = \"context.device\" }`",
            ),
            (
                "[[change.create]]\ntype = 'Sites'\nid = 'made'",
                "changes.toml:6:8: the schema has no entity type `Sites`",
            ),
            (
                "[[change.delete]]\nentity = 'contoso'",
                "changes.toml:6:10: `contoso` is not a value: a text needs quotes of its own, as in '\"text\"'",
            ),
        ] {
            check(edits, error);
        }
    }

    #[test]
    fn rules_that_are_for_the_wrong_requests() {
        let delete = "[[change.delete]]\nentity = 'resource'\n";
        for (text, expected) in [
            (
                format!("[[change]]\naction = 'mov'\n{delete}"),
                "changes.toml:2:10: the schema has no action `mov`: expected one of `all`, `move`, `rename`",
            ),
            (
                format!("[[change]]\naction = 'all'\n{delete}"),
                "changes.toml:2:10: `all` is a group of actions, which nobody asks for: name an action",
            ),
            (
                format!("[[change]]\naction = 'move'\nresource = ['Team']\n{delete}"),
                "changes.toml:3:13: `move` does not apply to the entity type `Team`: expected one of `User`",
            ),
            (
                format!("[[change]]\naction = 'move'\nresource = []\n{delete}"),
                "changes.toml:3:12: the array has to have at least one item",
            ),
            (
                format!(
                    "[[change]]\naction = 'move'\n{delete}[[change]]\naction = 'move'\nprincipal = ['Team']\n{delete}"
                ),
                "changes.toml:5:1: this change is for `move` by `Team` on `User`, as has the one at changes.toml:1 (name other types in `principal` or `resource`, or make one change of both)",
            ),
            (format!("[[change]]\n{delete}"), "changes.toml:1:1: `action` is missing"),
            (
                "[change]\naction = 'move'".to_owned(),
                "changes.toml:1:1: `change` has to be an array of tables: write each change as `[[change]]`",
            ),
            ("changes = 1".to_owned(), "changes.toml:1:1: unknown key `changes`: did you mean `change`?"),
        ] {
            assert_eq!(errors(&text), [expected.to_owned()], "{text}");
        }
        assert!(errors("[[change]\n")[0].contains("not valid TOML"));
    }

    #[test]
    fn all_errors_of_a_file_are_reported_each_once() {
        // For a team, `principal.team` is wrong in both places; for a user, in none.
        let text = "[[change]]\naction = 'move'\n[[change.join]]\nentity = 'resource'\nparents = ['principal.team']\n\
                    [[change.leave]]\nentity = 'principal.team'\nparents = ['context.name']\n\
                    [[change]]\naction = 'rename'\n[[change.delete]]\nentity = 'resource.x'\n";
        let found = errors(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("changes.toml:5:12: `principal.team`: `Team` has no attribute"));
        assert!(found[3].starts_with("changes.toml:12:10: `resource.x`: `User` has no attribute"));
    }
}
