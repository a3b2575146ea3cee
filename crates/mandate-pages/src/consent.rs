//! What an organization has accepted. It is read from the entities; requests only tell when and by whom.

use mandate_changes::RequestRule;
use mandate_core::display;
use mandate_core::schema::{ActionId, EntityUidRef, Type};
use mandate_core::value::Value;
use mandate_pdp::access_request::RequestStatus;
use mandate_pdp::{Asked, View, wall_clock};
use mandate_store::EntityName;
use serde_json::{Map, json};

use crate::people;
use crate::session::Session;
use crate::text::encode;
use crate::visit::Visit;

/// Something that an organization has accepted.
pub struct Consent<'v> {
    pub rule: &'v RequestRule,
    pub name: EntityName,
    /// Who of the organization looks at it.
    pub reviewer: EntityName,
    pub organization: EntityName,
    /// Those whom it is for.
    pub requesters: Vec<EntityName>,
    /// What was asked for, as it is now.
    pub context: Map<String, serde_json::Value>,
    /// In seconds since 1970.
    pub since: Option<i64>,
    pub accepted_by: Option<EntityName>,
    /// What the reviewer may do with it now, by the names of the rule.
    pub may: Vec<String>,
}

impl Consent<'_> {
    pub fn path(&self) -> String {
        path_of(&self.name)
    }

    /// What its page shows, for the token of its form.
    pub fn shown(&self, verb: &str) -> Vec<u8> {
        let shown = json!({ "name": self.name, "context": self.context, "do": verb });
        shown.to_string().into_bytes()
    }

    /// The question whether the reviewer may do something with it.
    pub fn asked(&self, action: ActionId, view: &View<'_>) -> Asked {
        let action = display::action(action, view.snapshot().schema());
        Asked::new(self.reviewer.clone(), action, self.name.clone())
    }
}

fn path_of(name: &EntityName) -> String {
    format!("/consents/{}/{}", encode(people::short_type(name)), encode(&name.id))
}

/// The consent that a path names, if one of the reader's organizations has accepted it.
pub fn find<'v>(
    visit: &Visit,
    view: &'v View<'_>,
    session: &Session,
    (entity_type, id): (&str, &str),
) -> Option<Consent<'v>> {
    let named =
        |consent: &Consent<'_>| people::short_type(&consent.name) == entity_type && consent.name.id == id;
    let reviewers = session.principals.iter().filter(|it| people::is_reviewer(view, it));
    reviewers.flat_map(|reviewer| consents_of(visit, view, reviewer).1).find(named)
}

/// What the organization of a reviewer has accepted, and what the organization is called.
pub fn consents_of<'v>(
    visit: &Visit,
    view: &'v View<'_>,
    reviewer: &EntityName,
) -> (String, Vec<Consent<'v>>) {
    let (entities, schema) = (view.snapshot().entities(), view.snapshot().schema());
    let rules = view.changes().requests().iter().filter(|rule| people::reviews(view, rule, reviewer));
    let mut organization_name = String::new();
    let mut consents: Vec<Consent<'v>> = Vec::new();
    for rule in rules {
        let Some(organization) = people::organization(view, rule, reviewer) else { continue };
        organization_name = people::display_name(view, &organization);
        let Some(uid) = people::uid(view, &organization) else { continue };
        for parent in entities.parents(uid.as_uid_ref()).filter(|it| rule.created.contains(&it.entity_type)) {
            let name = EntityName::new(parent, schema);
            if consents.iter().all(|known| known.name != name) {
                let names = (name, reviewer.clone(), organization.clone());
                consents.push(consent(visit, (view, rule), parent, names));
            }
        }
    }
    consents.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.name.cmp(&b.name)));
    (organization_name, consents)
}

fn consent<'v>(
    visit: &Visit,
    (view, rule): (&'v View<'_>, &'v RequestRule),
    uid: EntityUidRef<'_>,
    (name, reviewer, organization): (EntityName, EntityName, EntityName),
) -> Consent<'v> {
    let (entities, schema) = (view.snapshot().entities(), view.snapshot().schema());
    let request = visit.pages.commits.requests().by_created(&name).unwrap_or_else(|error| {
        tracing::warn!(%error, "a request cannot be read");
        None
    });
    let request = request.filter(|it| it.status_at(wall_clock::now()) == RequestStatus::Approved);
    // Several rules may create the same type: the request knows which.
    let own = request.as_ref().and_then(|request| view.changes().request(&request.rule));
    let rule = own.unwrap_or(rule);
    let ended = request.as_ref().and_then(|request| request.ended.as_ref());
    let asked = view.changes().requests().iter().filter(|it| it.created.contains(&uid.entity_type));
    let types: Vec<_> = asked.flat_map(|rule| &rule.requesters).collect();
    let above = entities.ancestors(uid).into_iter().filter(|it| types.contains(&&it.entity_type));
    let mut consent = Consent {
        rule,
        name,
        reviewer,
        organization,
        requesters: above.map(|it| EntityName::new(it, schema)).collect(),
        context: request.as_ref().map(|request| request.context.clone()).unwrap_or_default(),
        since: ended.map(|ended| ended.at),
        accepted_by: ended.map(|ended| ended.by.clone()).or_else(|| accepted_by(view, uid)),
        may: Vec::new(),
    };
    context_now(view, uid, &mut consent);
    let may = |(name, action): &(String, ActionId)| {
        let asked = consent.asked(*action, view);
        let may =
            people::would_change(view, &asked) && people::permitted(view, &asked, visit.language).is_ok();
        may.then(|| name.clone())
    };
    consent.may = rule.manage.iter().filter_map(may).collect();
    consent
}

/// Who accepted, by the attribute that the schema requires of what has members.
fn accepted_by(view: &View<'_>, uid: EntityUidRef<'_>) -> Option<EntityName> {
    let schema = view.snapshot().schema();
    let attribute = schema.entity_type(uid.entity_type).rules.member_requires.as_ref()?;
    let stored = view.snapshot().entities().get(uid)?;
    Some(EntityName::new(stored.entity.entity_attribute(attribute, schema)?, schema))
}

/// The members of the context as the entity has them now: its attributes of the same name, and its parents.
fn context_now(view: &View<'_>, uid: EntityUidRef<'_>, consent: &mut Consent<'_>) {
    let schema = view.snapshot().schema();
    let Some(stored) = view.snapshot().entities().get(uid) else { return };
    let data = stored.entity.unpack(schema);
    for (name, member) in schema.action(consent.rule.ask).context_type.iter() {
        let value = match (data.attributes.get(name), &member.ty) {
            (Some(Value::Bool(on)), Type::Bool) => Some(json!(on)),
            (None, Type::Entity(entity_type)) => {
                let parent = data.parents.iter().find(|parent| parent.entity_type == *entity_type);
                parent.map(|parent| json!(EntityName::new(parent.as_uid_ref(), schema)))
            }
            (Some(_) | None, _) => None,
        };
        if let Some(value) = value {
            consent.context.insert(name.to_string(), value);
        }
    }
}
