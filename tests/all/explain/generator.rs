//! Generates random content for explanations: entities with random attributes and parents, and policies.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::random_content::{RandomContent, Uid, reference, uid};

/// The attributes and parents of an entity.
type Entity = (Value, Vec<Uid>);

/// Policies, at most two entities of each type, and a context.
pub fn random_content() -> impl Strategy<Value = RandomContent> {
    let policies = prop::collection::vec(random_policy(), 1..5);
    let teams_of_t0 = prop::sample::subsequence(vec!["t1"], 0..=1);
    (policies, teams_of_t0, random_user(), random_user(), random_document(), random_context()).prop_map(
        |(policies, teams_of_t0, u0, u1, document, context)| {
            let without_attributes = |parents: Vec<Uid>| (json!({}), parents);
            let teams_of_t0 = teams_of_t0.iter().map(|id| uid("Team", id));
            let invitation = (json!({ "invited": user_reference(0) }), vec![uid("Team", "t1")]);
            let entities = BTreeMap::from([
                (uid("Club", "k0"), without_attributes(Vec::new())),
                (uid("Club", "k1"), without_attributes(Vec::new())),
                (uid("Company", "c0"), without_attributes(Vec::new())),
                (uid("Company", "c1"), without_attributes(Vec::new())),
                (uid("Team", "t0"), without_attributes(teams_of_t0.chain([uid("Company", "c0")]).collect())),
                (uid("Team", "t1"), without_attributes(vec![uid("Company", "c1")])),
                (uid("Invitation", "i0"), invitation),
                (uid("User", "u0"), u0),
                (uid("User", "u1"), u1),
                (uid("Doc", "d0"), document),
            ]);
            RandomContent { policies, entities, context }
        },
    )
}

fn user_reference(number: u8) -> Value {
    reference(&uid("User", &format!("u{number}")))
}

fn random_user() -> impl Strategy<Value = Entity> {
    let roles = prop::sample::subsequence(vec!["admin", "guest"], 0..=2);
    (any::<bool>(), 0..4_i64, random_groups(), roles, 0..2_u8, prop::option::of(0..2_u8)).prop_map(
        |(active, level, groups, roles, home, boss)| {
            let roles: Vec<Value> = roles.iter().map(|role| reference(&uid("Role", role))).collect();
            let home = reference(&uid("Team", &format!("t{home}")));
            let mut attrs = json!({ "active": active, "level": level, "roles": roles, "home": home });
            if let Some(boss) = boss {
                attrs["boss"] = user_reference(boss);
            }
            (attrs, groups)
        },
    )
}

fn random_document() -> impl Strategy<Value = Entity> {
    let users = prop::sample::subsequence(vec!["u0", "u1"], 0..=1);
    (0..2_u8, any::<bool>(), random_groups(), users, prop::option::of("[ab]")).prop_map(
        |(owner, secret, groups, users, label)| {
            let mut attrs = json!({ "owner": user_reference(owner), "secret": secret });
            if let Some(label) = label {
                attrs["label"] = json!(label);
            }
            let users = users.iter().map(|id| uid("User", id));
            (attrs, groups.into_iter().chain(users).collect())
        },
    )
}

fn random_context() -> impl Strategy<Value = Value> {
    let channels = prop::sample::select(vec!["api", "ui", "mail"]);
    (channels, any::<bool>(), prop::option::of(0..2_u8)).prop_map(|(channel, urgent, user)| {
        let mut context = json!({ "channel": channel, "urgent": urgent });
        if let Some(user) = user {
            context["for_"] = user_reference(user);
        }
        context
    })
}

fn random_groups() -> impl Strategy<Value = Vec<Uid>> {
    let groups = [("Team", "t0"), ("Team", "t1"), ("Club", "k0"), ("Club", "k1")];
    prop::sample::subsequence(groups.map(|(entity_type, id)| uid(entity_type, id)).to_vec(), 0..=3)
}

/// A policy. A few of them are not valid.
fn random_policy() -> impl Strategy<Value = String> {
    // `principal` and `resource` are listed twice, so that they are chosen more often.
    let principals = vec![
        "principal",
        "principal",
        "principal in Team::\"t1\"",
        "principal == User::\"u1\"",
        "principal in Company::\"c1\"",
    ];
    let resources = vec![
        "resource",
        "resource",
        "resource in Team::\"t0\"",
        "resource in Company::\"c1\"",
        "resource == Doc::\"d0\"",
    ];
    let effect = prop_oneof![3 => Just("permit"), 2 => Just("forbid")];
    let conditions = prop::collection::vec((any::<bool>(), random_condition()), 1..3);
    (effect, prop::sample::select(principals), prop::sample::select(resources), conditions).prop_map(
        |(effect, principal, resource, conditions)| {
            let clause = |(when, text): (bool, String)| {
                format!("{} {{ {text} }}", if when { "when" } else { "unless" })
            };
            let clauses: Vec<String> = conditions.into_iter().map(clause).collect();
            format!("{effect} ({principal}, action == Action::\"read\", {resource}) {};", clauses.join(" "))
        },
    )
}

fn random_condition() -> impl Strategy<Value = String> {
    let term = prop::sample::select(vec![
        "principal.active",
        "resource.owner.active",
        "resource.secret",
        "context.urgent",
        "context.channel == Channel::\"ui\"",
        "[Channel::\"ui\", Channel::\"api\"].contains(context.channel)",
        "context.channel != Channel::\"api\"",
        "resource in principal",
        "principal in resource.owner.home",
        "resource in principal.home",
        "principal in Team::\"t1\"",
        "principal in [Team::\"t0\", Company::\"c1\"]",
        "resource.owner == principal",
        "resource.owner in Team::\"t0\"",
        "principal.roles.contains(Role::\"admin\")",
        "principal.roles.containsAll([Role::\"admin\", Role::\"guest\"])",
        "principal.roles.containsAny([Role::\"admin\", Role::\"guest\"])",
        "principal.level > 1",
        "principal.level <= resource.owner.level",
        "principal.level < 3 && principal.level > 1",
        "principal has boss",
        "principal has boss && principal.boss == resource.owner",
        "principal has boss && principal.boss.active",
        "resource has label && resource.label like \"a*\"",
        "resource has label && resource.label != \"b\"",
        "context has for_ && context.for_ in Team::\"t1\"",
        "context has for_ && context.for_ == resource.owner",
        "resource in Company::\"c0\"",
        "principal.active == resource.secret",
        "principal in Club::\"k0\"",
        "principal in [Club::\"k0\", Club::\"k1\"]",
        "resource in Club::\"k1\"",
        "resource.owner in Club::\"k0\"",
    ]);
    term.prop_map(|term| format!("({term})")).prop_recursive(2, 5, 3, |inner| {
        prop_oneof![
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => inner.clone().prop_map(|a| format!("!{a}")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}
