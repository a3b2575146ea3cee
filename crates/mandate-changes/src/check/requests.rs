//! Holds rules of requests to the schema and to the changes: the actions of a rule fit each other, and what is asked
//! for creates what is reviewed.

use std::collections::BTreeMap;

use mandate_core::diagnostics::{Diagnostic, Diagnostics};
use mandate_core::display;
use mandate_core::json::quoted;
use mandate_core::schema::{ActionId, EntityTypeId, Schema, Type};

use crate::change::Change;
use crate::edit::EditKind;
use crate::request_rule::RequestRule;

/// The change of an action, for a type of principals and one of resources.
pub(crate) type ChangeFor<'a> = &'a dyn Fn(ActionId, EntityTypeId, EntityTypeId) -> Option<&'a Change>;

/// Reports what does not fit, and finds the types that the rules are about.
pub(crate) fn check_requests<'a>(
    rules: &mut [RequestRule],
    change_for: ChangeFor<'a>,
    schema: &'a Schema,
    diagnostics: &mut Diagnostics,
) {
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    let mut by_requester: BTreeMap<(ActionId, EntityTypeId), String> = BTreeMap::new();
    for rule in rules {
        let mut check = RequestCheck { change_for, schema, problems: Vec::new() };
        let place = format!("{}:{}", rule.span.source.path, rule.line());
        if let Some(other) = by_id.insert(rule.id.clone(), place) {
            check.problem(format!("the rule at {other} has the id {}, too", quoted(&rule.id)));
        }
        for requester in &rule.requesters {
            if let Some(other) = by_requester.insert((rule.ask, *requester), rule.id.clone()) {
                let (ask, name) =
                    (display::action(rule.ask, schema), display::entity_type(*requester, schema));
                check.problem(format!("the rule {} is for `{ask}` by `{name}`, too", quoted(&other)));
            }
        }
        check.rule(rule);
        for message in check.problems {
            diagnostics.push(Diagnostic::error(message).at(rule.span.clone()));
        }
    }
}

struct RequestCheck<'a> {
    change_for: ChangeFor<'a>,
    schema: &'a Schema,
    problems: Vec<String>,
}

impl RequestCheck<'_> {
    fn problem(&mut self, message: String) {
        self.problems.push(message);
    }

    fn type_name(&self, entity_type: EntityTypeId) -> &str {
        display::entity_type(entity_type, self.schema)
    }

    fn rule(&mut self, rule: &mut RequestRule) {
        let ask = self.schema.action(rule.ask);
        match ask.resource_types.as_slice() {
            [resource] => rule.resource = *resource,
            _ => self.problem(format!("`{}` has to apply to resources of exactly one type", ask.name)),
        }
        self.created(rule);
        let created = rule.created.clone();
        self.applies(rule.accept, "accept", &created);
        for (action, key) in [(rule.decline, "decline"), (rule.withdraw, "withdraw")] {
            if let Some(action) = action {
                self.applies(action, key, &created);
            }
        }
        for (name, action) in &rule.manage {
            let types = self.schema.action(*action).resource_types.clone();
            if !created.iter().any(|it| types.contains(it)) {
                self.problem(format!("`manage.{name}` applies to nothing that `ask` creates"));
            }
        }
        if let Some(offer) = rule.offer {
            let requesters = rule.requesters.clone();
            self.applies(offer, "offer", &requesters);
            if let Some(withdraw) = rule.withdraw {
                self.applies(withdraw, "withdraw", &requesters);
            }
        } else if rule.standing {
            self.problem(
                "`standing` links name no resource, so `offer` has to say who may make them".to_owned(),
            );
        }
        let resolves = rule.resolves.iter().map(|action| (*action, "resolves"));
        for (action, key) in resolves.chain(rule.granted.map(|action| (action, "granted"))) {
            self.applies(action, key, &[rule.resource]);
        }
        for (requester, members) in &rule.requires {
            if !rule.requesters.contains(requester) {
                self.problem(format!("`requires`: the rule is not for `{}`", self.type_name(*requester)));
            }
            let context = &self.schema.action(rule.ask).context_type;
            for member in members.iter().filter(|member| context.get(member).is_none()) {
                self.problem(format!("`requires`: the context of `ask` has no {}", quoted(member)));
            }
        }
        self.reviewers(rule);
    }

    /// Finds what `ask` creates: the first entity that its change creates.
    fn created(&mut self, rule: &mut RequestRule) {
        for requester in &rule.requesters {
            let change = (self.change_for)(rule.ask, *requester, rule.resource);
            let created = change.and_then(|change| {
                change.edits.iter().find_map(|edit| match &edit.kind {
                    EditKind::Create { entity_type, .. } => Some(*entity_type),
                    _ => None,
                })
            });
            let Some(created) = created else {
                let (ask, requester) =
                    (display::action(rule.ask, self.schema), self.type_name(*requester).to_owned());
                self.problem(format!("no change of `{ask}` by `{requester}` creates an entity to review"));
                continue;
            };
            rule.created.push(created);
        }
        rule.created.sort();
        rule.created.dedup();
    }

    fn applies(&mut self, action: ActionId, key: &str, types: &[EntityTypeId]) {
        let info = self.schema.action(action);
        let missing = types.iter().find(|it| !info.resource_types.contains(it));
        if let Some(missing) = missing {
            let message =
                format!("`{key}`: `{}` does not apply to `{}`", info.name, self.type_name(*missing));
            self.problem(message);
        }
    }

    /// Every type of reviewers has the attribute that is the resource.
    fn reviewers(&mut self, rule: &RequestRule) {
        for reviewer in &rule.reviewers {
            let attribute = self.schema.entity_type(*reviewer).attributes.get(&rule.reviewer_resource);
            let fits = attribute
                .is_some_and(|attribute| attribute.required && attribute.ty == Type::Entity(rule.resource));
            if !fits {
                let (name, reviewer) = (&rule.reviewer_resource, self.type_name(*reviewer));
                let resource = self.type_name(rule.resource);
                let message = format!(
                    "`reviewer_resource`: `{reviewer}` has no required attribute `{name}` of type `{resource}`"
                );
                self.problem(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::changes::Changes;
    use mandate_core::diagnostics::SourceText;
    use mandate_core::schema::Schema;

    const SCHEMA: &str = "
        entity Team = { name: String };
        entity Other;
        entity Wish in [Partner] = { team: Team };
        entity Partner;
        entity User = { team: Team, other?: Team };
        action ask appliesTo { principal: Partner, resource: Team, context: { many?: Bool } };
        action askBoth appliesTo { principal: Partner, resource: [Team, Other], context: {} };
        action offer appliesTo { principal: Partner, resource: Partner, context: { many?: Bool } };
        action accept, decline appliesTo { principal: User, resource: Wish };
        action withdraw appliesTo { principal: Partner, resource: [Wish, Partner] };
        action withdrawWish appliesTo { principal: Partner, resource: Wish };
        action use appliesTo { principal: Partner, resource: Team };
    ";

    const CHANGES: &str = "
        change = [
          { action = 'ask', create = [{ type = 'Wish', id = 'made', attributes = { team = 'resource' } }] },
          { action = 'askBoth', set = [{ entity = 'resource', attributes = { name = '\"x\"' } }], resource = ['Team'] },
        ]
    ";

    const TEXTS: &str =
        "title = '', question = '', ends = '', confirm = '', who = '', email_subject = '', email_body = ''";

    /// Parses a rule of these keys beside those that every rule needs.
    fn parse(keys: &str, texts: &str) -> Result<Changes, Vec<String>> {
        let schema = Schema::parse(&SourceText::new("s.cedarschema", SCHEMA)).unwrap().0;
        let text = format!("{CHANGES}\n[[request]]\n{keys}\ntexts = {{ {texts} }}\n");
        let parsed = Changes::parse(&[SourceText::new("changes.toml", text)], &schema);
        parsed.map_err(|found| found.iter().map(ToString::to_string).collect())
    }

    fn with_texts(keys: &str) -> Result<Changes, Vec<String>> {
        parse(keys, &format!("en = {{ {TEXTS} }}"))
    }

    const RULE: &str = "id = 'r'\nask = 'ask'\naccept = 'accept'\nreviewer_resource = 'team'\n";

    #[test]
    fn a_rule_knows_its_types_and_defaults() {
        let more = "offer = 'offer'\nwithdraw = 'withdraw'\ndecline = 'decline'\nresolves = ['use']\ngranted = 'use'\n\
            context = { many = true, list = [1, 'a'] }\nvalid_for = '2h'\nmanage = { end = 'withdrawWish' }";
        let changes = with_texts(&format!("{RULE}{more}")).unwrap();
        let [rule] = changes.requests() else { panic!() };
        assert_eq!((rule.valid_for, rule.valid_for_at_most, rule.open_at_most), (7_200, 2_592_000, 1_000));
        assert_eq!(rule.context["list"], serde_json::json!([1, "a"]));
        assert!(rule.created.len() == 1 && !rule.standing && rule.managing("end").is_some());
        assert!(changes.request("r").is_some() && changes.request("x").is_none());
    }

    #[test]
    fn rules_that_do_not_fit_are_refused() {
        for (keys, error) in [
            ("id = 'r'", "`ask` is missing"),
            ("id = 'r'\nask = 'ask'\naccept = 'acept'\nreviewer_resource = 'team'", "no action `acept`"),
            (&format!("{RULE}valid_for = '1 week'"), "has to be a time such as `30d`"),
            (&format!("{RULE}valid_for = '9999d'"), "at most 10 years"),
            (
                &format!("{RULE}valid_for = '2d'\nvalid_for_at_most = '1d'"),
                "is longer than `valid_for_at_most`",
            ),
            (&format!("{RULE}context = {{ many = 1.5 }}"), "a context cannot have a number with a fraction"),
            (&format!("{RULE}open_at_most = -1"), "a whole number that is not negative"),
            (&format!("{RULE}standing = true"), "`offer` has to say who may make them"),
            (&format!("{RULE}standing = 1"), "has to be a boolean"),
            (&format!("{RULE}offer = 'use'"), "`offer`: `use` does not apply to `Partner`"),
            (
                &format!("{RULE}offer = 'offer'\nwithdraw = 'withdrawWish'"),
                "`withdraw`: `withdrawWish` does not apply to `Partner`",
            ),
            (&format!("{RULE}decline = 'use'"), "`decline`: `use` does not apply to `Wish`"),
            (&format!("{RULE}granted = 'accept'"), "does not apply to `Team`"),
            (
                &format!("{RULE}manage = {{ end = 'use' }}"),
                "`manage.end` applies to nothing that `ask` creates",
            ),
            (&format!("{RULE}principal = ['User']"), "`ask` does not apply to the entity type `User`"),
            (&format!("{RULE}acept = 'accept'"), "unknown key `acept`: did you mean `accept`?"),
            (&format!("{RULE}requires = {{ Partner = ['few'] }}"), "the context of `ask` has no `few`"),
            (&format!("{RULE}requires = {{ User = ['many'] }}"), "the rule is not for `User`"),
            (&RULE.replace("'team'", "'other'"), "no required attribute `other` of type `Team`"),
            (&RULE.replace("'ask'", "'askBoth'"), "resources of exactly one type"),
            (&RULE.replace("'ask'", "'use'"), "no change of `use` by `Partner` creates an entity to review"),
            (
                &RULE.replace("accept = 'accept'", "accept = 'use'"),
                "`accept`: `use` does not apply to `Wish`",
            ),
        ] {
            let errors = with_texts(keys).unwrap_err();
            assert!(errors.iter().any(|it| it.contains(error)), "{keys}\n{errors:#?}");
        }
        let twice = format!("{RULE}texts = {{ en = {{ {TEXTS} }} }}\n[[request]]\n{RULE}");
        let errors = with_texts(&twice).unwrap_err();
        assert!(errors.iter().any(|it| it.contains("has the id `r`, too")), "{errors:#?}");
        assert!(errors.iter().any(|it| it.contains("is for `ask` by `Partner`, too")), "{errors:#?}");
    }

    #[test]
    fn texts_are_in_english_at_least() {
        for (texts, error) in [
            (format!("de = {{ {TEXTS} }}"), "`en` is missing"),
            (format!("en = {{ {TEXTS} }}, english = {{ {TEXTS} }}"), "`english` is no language"),
            ("en = { title = 'a' }".to_owned(), "`question` is missing"),
            (format!("en = {{ {TEXTS}, points = 'a' }}"), "has to be an array"),
            (format!("en = {{ {TEXTS}, tittle = 'a' }}"), "did you mean `title`?"),
        ] {
            let errors = parse(RULE, &texts).unwrap_err();
            assert!(errors.iter().any(|it| it.contains(error)), "{texts}\n{errors:#?}");
        }
    }
}
