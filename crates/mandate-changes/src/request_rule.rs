//! A rule of requests: an action that takes effect only once somebody else accepts it, and the actions of both sides.
//! It is data; requests are made and reviewed in `mandate-pdp`.

use std::collections::BTreeMap;

use mandate_core::diagnostics::SourceSpan;
use mandate_core::schema::{ActionId, EntityTypeId};
use smol_str::SmolStr;

use crate::texts::Texts;

/// A rule of requests.
#[derive(Debug)]
pub struct RequestRule {
    /// Its name, which no other rule has.
    pub id: String,
    /// The place of the rule in its file.
    pub span: SourceSpan,
    /// The action of the requester. Its change creates the entity that is reviewed.
    pub ask: ActionId,
    /// The types of requesters.
    pub requesters: Vec<EntityTypeId>,
    /// The action of the requester, on itself, that makes a link without a resource: the reviewer brings it.
    pub offer: Option<ActionId>,
    /// Whether such a link stays open after it was accepted, and has no end.
    pub standing: bool,
    /// The action of a reviewer on the created entity, and what it makes of the request.
    pub accept: ActionId,
    pub decline: Option<ActionId>,
    /// The action that takes a request back: on the created entity, or on the requester for a link without resource.
    pub withdraw: Option<ActionId>,
    /// The types of reviewers: the principals of `accept`.
    pub reviewers: Vec<EntityTypeId>,
    /// The attribute of a reviewer that is the resource of `ask`.
    pub reviewer_resource: SmolStr,
    /// The type of that resource.
    pub resource: EntityTypeId,
    /// The types of entities that `ask` creates to be reviewed.
    pub created: Vec<EntityTypeId>,
    /// How long a request waits unless its requester says otherwise, and the longest time.
    pub valid_for: Seconds,
    pub valid_for_at_most: Seconds,
    /// The most requests of one requester that wait.
    pub open_at_most: usize,
    /// The actions on the resource that an accepted request may permit: a request can change their denials.
    pub resolves: Vec<ActionId>,
    /// Members of the context of `ask`, as JSON, that stand in for those that the requester leaves out.
    pub context: BTreeMap<String, serde_json::Value>,
    /// Members of that context that may be chosen in access requests, and in the partner's form.
    pub may_choose: Vec<SmolStr>,
    /// The members of that context that a type of requesters has to choose.
    pub requires: Vec<(EntityTypeId, Vec<SmolStr>)>,
    /// The action that tells a requester whose requests were accepted, by a search over resources.
    pub granted: Option<ActionId>,
    /// Further actions on what was accepted, by the name that people call them.
    pub manage: Vec<(String, ActionId)>,
    /// For people, by language.
    pub texts: BTreeMap<String, Texts>,
}

/// A number of seconds.
pub type Seconds = u64;

impl RequestRule {
    /// The line of the rule in its file.
    pub fn line(&self) -> usize {
        self.span.line_column().0
    }

    /// The texts in a language, or else in English.
    pub fn texts(&self, language: &str) -> &Texts {
        static NONE: Texts = Texts::none();
        self.texts.get(language).or_else(|| self.texts.get("en")).unwrap_or(&NONE)
    }

    /// The members of the context of `ask` that a type of requesters has to choose.
    pub fn required_of(&self, requester: EntityTypeId) -> impl Iterator<Item = &SmolStr> {
        let found = self.requires.iter().filter(move |(entity_type, _)| *entity_type == requester);
        found.flat_map(|(_, members)| members)
    }

    /// The action that people call by this name.
    pub fn managing(&self, name: &str) -> Option<ActionId> {
        self.manage.iter().find(|(known, _)| known == name).map(|(_, action)| *action)
    }
}
