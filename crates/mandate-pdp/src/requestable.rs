//! Whether a request can change a denial into a permit: what would be decided if its subject asked, and somebody
//! accepted. It only computes, on one generation, and changes nothing. How requests are made is in `review`.

use mandate_changes::RequestRule;
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::decision::{Decision, Outcome};
use mandate_core::display;
use mandate_core::request::{Question, Request};
use mandate_core::schema::{EntityTypeId, Type};
use mandate_store::EntityName;
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use crate::asked::Asked;
use crate::change::ChangeDecision;
use crate::decision_point::{PdpError, View};
use crate::generation::Generation;

/// The most entities that are tried to find out whether a choice of one of them would help.
const MAX_TRIED: usize = 50;

/// A request that would change a denial into a permit.
#[derive(Debug)]
pub struct Requestable<'g> {
    pub rule: &'g RequestRule,
    pub requester: EntityName,
    pub resource: EntityName,
    /// The context of the question by which the requester asks.
    pub context: Map<String, Value>,
    /// The member of that context that the requester has to choose.
    pub choice: Option<Choice>,
}

/// What a question comes to.
#[derive(Debug)]
pub enum Found<'g> {
    Permitted,
    /// It is denied, and a request would change that.
    Requestable(Requestable<'g>),
    /// It is denied, and no request would change that.
    Denied(Decision),
}

/// What a requester has to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The member of the context.
    pub member: SmolStr,
    /// The type of entities to choose from: those in the requester itself.
    pub entity_type: EntityTypeId,
}

impl View<'_> {
    /// The request that would change a denial of this view into a permit. `chosen` has members of the context that the
    /// requester chose.
    pub fn requestable(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        chosen: &Map<String, Value>,
    ) -> Option<Requestable<'_>> {
        let request = self.request(question).ok()?;
        requestable(&self.generation, (&request, decision), chosen, self.clock)
    }

    /// The decision on an action of a reviewer on what a question would create, if it were performed; `None` if it could
    /// not be. Nothing is changed or recorded.
    pub fn decide_on_new(&self, asked: &Asked, (action, reviewer): (&str, &EntityName)) -> Option<Decision> {
        let (after, created) = performed(&self.generation, asked, self.clock, &mut made_ids())?;
        let request = Asked::new(reviewer.clone(), action, created).request(&after, self.clock).ok()?;
        after.decide(&request, &after.gather(&request)).ok()
    }

    /// Whether a question is denied now, and a request would change that. Nothing is recorded.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn can_be_requested(
        &self,
        question: &Question<'_>,
        chosen: &Map<String, Value>,
    ) -> Result<Found<'_>, PdpError> {
        let request = self.request(question)?;
        let snapshot = self.snapshot();
        let decision = match self.generation.suspended() {
            Some(suspended) => Decision::clone(suspended),
            None => snapshot.decide(&request, &snapshot.gather(&request))?,
        };
        if decision.is_permit() {
            return Ok(Found::Permitted);
        }
        let found = requestable(&self.generation, (&request, &decision), chosen, self.clock);
        Ok(found.map_or(Found::Denied(decision), Found::Requestable))
    }
}

/// The request that would change a denial into a permit.
pub fn requestable<'g>(
    generation: &'g Generation,
    (request, decision): (&Request, &Decision),
    chosen: &Map<String, Value>,
    clock: Clock,
) -> Option<Requestable<'g>> {
    // A forbid stays, whatever is accepted; an unknown subject can ask for nothing.
    if !matches!(decision.outcome, Outcome::NotPermitted(_)) || generation.suspended().is_some() {
        return None;
    }
    let fits = |rule: &&RequestRule| {
        rule.resolves.contains(&request.action)
            && rule.requesters.contains(&request.principal.entity_type)
            && rule.resource == request.resource.entity_type
    };
    let mut rules = generation.changes().requests().iter().filter(fits);
    rules.find_map(|rule| Attempt { generation, rule, request, clock }.requestable(chosen))
}

/// The members that a requester can choose from: the entities of the type that are in the requester itself.
pub fn choices(
    snapshot: &Snapshot,
    requester: &EntityName,
    choice: &Choice,
    limit: usize,
) -> Vec<EntityName> {
    let schema = snapshot.schema();
    let Ok(entity_type) = schema.resolve_entity_type(&requester.entity_type) else { return Vec::new() };
    let parent = mandate_core::schema::EntityUidRef { entity_type, id: &requester.id };
    let members = snapshot.entities().members(Some(parent), choice.entity_type, None, schema);
    members.take(limit).map(|entity| EntityName::new(entity.uid(), schema)).collect()
}

/// The members of the context of `ask` that are entities, which a requester may choose.
pub fn entity_choices<'r>(
    rule: &'r RequestRule,
    snapshot: &Snapshot,
) -> impl Iterator<Item = Choice> + use<'r> {
    let schema = snapshot.schema();
    let context = &schema.action(rule.ask).context_type;
    let of = |member: &'r SmolStr| match context.get(member)?.ty {
        Type::Entity(entity_type) if schema.entity_type(entity_type).enum_ids.is_none() => {
            Some(Choice { member: member.clone(), entity_type })
        }
        _ => None,
    };
    rule.may_choose.iter().filter_map(of).collect::<Vec<_>>().into_iter()
}

/// The entities as a permitted question would leave them, and the first that it would create.
fn performed(
    generation: &Generation,
    asked: &Asked,
    clock: Clock,
    make_id: &mut dyn FnMut() -> String,
) -> Option<(Snapshot, EntityName)> {
    let snapshot = generation.snapshot();
    let request = asked.request(snapshot, clock).ok()?;
    let decided = generation.decide_change(&request, make_id).ok()?;
    let ChangeDecision::Permitted(_, edits) = decided else { return None };
    let created = EntityName::new(edits.created.first()?.as_uid_ref(), snapshot.schema());
    Some((snapshot.apply(&edits.changes).ok()?, created))
}

/// Ids that no entity has.
fn made_ids() -> impl FnMut() -> String {
    let mut made = 0;
    move || {
        made += 1;
        format!("\0requested-{made}")
    }
}

/// A rule, and the denial that it may change.
struct Attempt<'g, 'r> {
    generation: &'g Generation,
    rule: &'g RequestRule,
    request: &'r Request,
    clock: Clock,
}

impl<'g> Attempt<'g, '_> {
    fn requestable(&self, chosen: &Map<String, Value>) -> Option<Requestable<'g>> {
        let may_choose = |name: &str| self.rule.may_choose.iter().any(|member| member == name);
        let mut context: Map<String, Value> =
            self.rule.context.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        context.extend(
            chosen
                .iter()
                .filter(|(name, _)| may_choose(name))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        if self.would_help(&context) {
            return Some(self.found(context, None));
        }
        let snapshot = self.generation.snapshot();
        let open =
            entity_choices(self.rule, snapshot).filter(|choice| !chosen.contains_key(choice.member.as_str()));
        open.into_iter().find_map(|choice| self.with_choice(&context, choice))
    }

    /// Tries what can be chosen: with one that would help, there is no choice to make.
    fn with_choice(&self, context: &Map<String, Value>, choice: Choice) -> Option<Requestable<'g>> {
        let snapshot = self.generation.snapshot();
        let requester = EntityName::new(self.request.principal.as_uid_ref(), snapshot.schema());
        let candidates = choices(snapshot, &requester, &choice, MAX_TRIED + 1);
        let tries = candidates.iter().take(MAX_TRIED).map(|name| {
            let mut context = context.clone();
            context.insert(choice.member.to_string(), json!({ "type": name.entity_type, "id": name.id }));
            context
        });
        let mut helpful = tries.filter(|context| self.would_help(context));
        let first = helpful.next()?;
        let is_only = candidates.len() <= MAX_TRIED && helpful.next().is_none();
        Some(if is_only { self.found(first, None) } else { self.found(context.clone(), Some(choice)) })
    }

    fn found(&self, context: Map<String, Value>, choice: Option<Choice>) -> Requestable<'g> {
        let schema = self.generation.snapshot().schema();
        let requester = EntityName::new(self.request.principal.as_uid_ref(), schema);
        let resource = EntityName::new(self.request.resource.as_uid_ref(), schema);
        Requestable { rule: self.rule, requester, resource, context, choice }
    }

    /// Whether the denied request would be permitted once this was asked for and accepted.
    fn would_help(&self, context: &Map<String, Value>) -> bool {
        self.accepted(context).is_some_and(|snapshot| {
            let decided = snapshot.decide(self.request, &snapshot.gather(self.request));
            decided.is_ok_and(|decision| decision.is_permit())
        })
    }

    /// The entities as they would be. Who accepts is not known, so whether they may is not asked.
    fn accepted(&self, context: &Map<String, Value>) -> Option<Snapshot> {
        let (snapshot, changes) = (self.generation.snapshot(), self.generation.changes());
        let schema = snapshot.schema();
        let mut make_id = made_ids();
        let requester = EntityName::new(self.request.principal.as_uid_ref(), schema);
        let resource = EntityName::new(self.request.resource.as_uid_ref(), schema);
        let ask = Asked::new(requester, display::action(self.rule.ask, schema), resource);
        let ask = Asked { context: context.clone(), ..ask };
        let (asked, created) = performed(self.generation, &ask, self.clock, &mut make_id)?;

        let reviewer = *self.rule.reviewers.first()?;
        let name = schema.entity_type(reviewer).name.to_string();
        let reviewer_name = EntityName { entity_type: name, id: "\0reviewer".to_owned() };
        let action = display::action(self.rule.accept, schema);
        let created_type = schema.entity_type_by_full_name(&created.entity_type)?;
        let accept = Asked::new(reviewer_name, action, created);
        let accept = accept.request(&asked, self.clock).ok()?;
        let change = changes.changes_for(self.rule.accept, reviewer, created_type)?;
        let edits = change.edits(&accept, &asked, &mut make_id).ok()?;
        asked.apply(&edits.changes).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mandate_core::clock::Clock;
    use mandate_core::snapshot::RequestConfig;
    use mandate_sources::loader::{ContentPaths, Loader};
    use mandate_store::EntityName;
    use serde_json::{Map, Value, json};

    use super::{Requestable, choices, requestable};
    use crate::asked::Asked;
    use crate::generation::Generation;

    fn pack() -> Generation {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut loader = Loader::new(&ContentPaths {
            policies: root.join("policies"),
            entities: root.join("entities"),
            terms: RequestConfig::default(),
            identity_sources: None,
            policy_limits: mandate_sources::policy_limits::PolicyLimits::default(),
        });
        loader.load().unwrap().into()
    }

    fn name(text: &str) -> EntityName {
        let (entity_type, id) = text.split_once("::").unwrap();
        EntityName { entity_type: entity_type.to_owned(), id: id.to_owned() }
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn find<'g>(
        generation: &'g Generation,
        (principal, action, resource): (&str, &str, &str),
        context: &Value,
        chosen: &Value,
    ) -> Option<Requestable<'g>> {
        let asked = Asked { context: object(context), ..Asked::new(name(principal), action, name(resource)) };
        let request = asked.request(generation.snapshot(), Clock::InQuestion).unwrap();
        let decision =
            generation.snapshot().decide(&request, &generation.snapshot().gather(&request)).unwrap();
        requestable(generation, (&request, &decision), &object(chosen), Clock::InQuestion)
    }

    /// Registers over a channel, and gives the rule and the context that would help.
    fn registering(
        principal: &str,
        customer: &str,
        channel: &str,
    ) -> Option<(String, Value, Option<String>)> {
        let generation = pack();
        let customer = format!("Customer::{customer}");
        let asked = (principal, "registerDevice", customer.as_str());
        let found = find(&generation, asked, &json!({ "channel": channel }), &json!({}))?;
        let choice = found.choice.map(|choice| choice.member.to_string());
        Some((found.rule.id.clone(), Value::Object(found.context), choice))
    }

    #[test]
    fn what_a_consent_would_permit_can_be_requested() {
        let alone = json!({ "delegatedAdministration": false });
        let direct = registering("DirectBillPartner::fabrikam", "relecloud", "partner-center-api");
        assert_eq!(direct, Some(("csp-consent".into(), alone.clone(), None)));
        let oem = registering("Oem::trey", "relecloud", "oem-api");
        assert_eq!(oem, Some(("oem-consent".into(), alone.clone(), None)));
        let reseller = registering("IndirectReseller::litware", "contoso", "partner-center-ui");
        assert_eq!(reseller, Some(("csp-consent".into(), alone, None)));
        let viewing = ("DirectBillPartner::fabrikam", "viewCustomer", "Customer::relecloud");
        assert!(find(&pack(), viewing, &json!({}), &json!({})).is_some());
    }

    #[test]
    fn what_stays_forbidden_cannot() {
        for (principal, customer, channel, why) in [
            ("DirectBillPartner::fabrikam", "contoso", "partner-center-api", "it is permitted"),
            ("IndirectReseller::tailspin", "contoso", "partner-center-api", "a reseller never has the API"),
            ("DirectBillPartner::fabrikam", "relecloud", "oem-api", "the channel stays wrong"),
            ("DirectBillPartner::lucerne", "relecloud", "partner-center-api", "it is suspended"),
            ("DirectBillPartner::nobody", "relecloud", "partner-center-api", "it is unknown"),
            ("DirectBillPartner::fabrikam", "nobody", "partner-center-api", "the customer is unknown"),
            ("TenantUser::user@contoso", "contoso", "intune", "no rule is for users"),
        ] {
            assert_eq!(registering(principal, customer, channel), None, "{principal} {customer}: {why}");
        }
        let device = ("DirectBillPartner::fabrikam", "deregisterDevice", "Device::nothing");
        assert!(find(&pack(), device, &json!({ "channel": "partner-center-api" }), &json!({})).is_none());
        let context = json!({ "delegatedAdministration": true });
        let consent = ("Oem::trey", "requestConsent", "Customer::relecloud");
        assert!(find(&pack(), consent, &context, &json!({})).is_none());
    }

    #[test]
    fn a_provider_has_to_choose_a_partnership_unless_it_has_one() {
        let generation = pack();
        let asked = ("IndirectProvider::wingtip", "registerDevice", "Customer::contoso");
        let context = json!({ "channel": "partner-center-api" });
        let open = find(&generation, asked, &context, &json!({})).unwrap();
        let choice = open.choice.clone().unwrap();
        assert_eq!(choice.member, "partnership");
        let of_wingtip = choices(generation.snapshot(), &open.requester, &choice, 10);
        let ids: Vec<&str> = of_wingtip.iter().map(|name| name.id.as_str()).collect();
        assert_eq!(ids.len(), 2, "{ids:?}");

        let chosen = json!({ "partnership": "wingtip--tailspin", "ignored": 1 });
        let found = find(&generation, asked, &context, &chosen).unwrap();
        assert!(found.choice.is_none());
        assert_eq!(found.context.get("partnership"), Some(&json!("wingtip--tailspin")));
        assert!(!found.context.contains_key("ignored"));
        for wrong in ["proseware--tailspin", "nothing"] {
            let chosen = json!({ "partnership": wrong });
            assert!(find(&generation, asked, &context, &chosen).is_none(), "{wrong}");
        }
    }

    #[test]
    fn one_partnership_is_no_choice() {
        let generation = pack();
        let (snapshot, schema) = (generation.snapshot(), generation.snapshot().schema());
        let entity_type = schema.resolve_entity_type("Partnership").unwrap();
        let removals = ["wingtip--tailspin", "proseware--tailspin", "proseware--litware"];
        let removals: Vec<_> = removals
            .iter()
            .map(|id| mandate_core::schema::EntityUid { entity_type, id: (*id).into() })
            .collect();
        let consent = schema.resolve_entity_type("CspConsent").unwrap();
        let customer = mandate_core::schema::EntityUid {
            entity_type: schema.resolve_entity_type("Customer").unwrap(),
            id: "northwind".into(),
        };
        let members = snapshot
            .entities()
            .parents(customer.as_uid_ref())
            .map(mandate_core::schema::EntityUidRef::to_owned);
        let mut changes = mandate_core::entities::EntityChanges { removals, ..Default::default() };
        changes.removals.extend(members.filter(|it| it.entity_type == consent));
        changes.removals.push(customer);
        let generation = generation.with_entities(snapshot.apply(&changes).unwrap());
        let asked = ("IndirectProvider::wingtip", "registerDevice", "Customer::contoso");
        let found =
            find(&generation, asked, &json!({ "channel": "partner-center-api" }), &json!({})).unwrap();
        assert!(found.choice.is_none());
        assert_eq!(found.context["partnership"]["id"], "wingtip--adventure-works");
    }
}
