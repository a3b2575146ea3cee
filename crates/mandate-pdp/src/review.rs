//! Requests that wait for a review: how they are made, accepted, declined and taken back. Each step is an action that
//! the policies decide at its moment; a request is accepted only if its requester could still ask for it.

use mandate_changes::RequestRule;
use mandate_core::display;
use mandate_core::request::Request;
use mandate_core::schema::ActionId;
use mandate_store::EntityName;
use serde_json::{Map, Value};

use crate::access_request::{AccessRequest, BY_CREATED, RequestStatus, name_key};
use crate::asked::Asked;
use crate::change::author_of;
use crate::commit_group::{CommitGroup, Work, transaction, unreadable};
use crate::generation::Generation;
use crate::proposal::{Committed, Proposal, Refusal};
use crate::request_changes::Review;
use crate::review_operation::{NewRequest, ReviewOperation};
use crate::review_rules::{
    check_requester, check_required, ended, has_accepted, new_request, permitted, read, requester_denied,
    resource_of, rule_for, rule_of, time_text,
};
use crate::wall_clock;

impl CommitGroup<'_> {
    /// Does something with a request.
    pub(crate) fn review(
        &mut self,
        proposal: &Proposal,
        operation: &ReviewOperation,
        current: &Generation,
    ) -> Result<Committed, Refusal> {
        let mut work = self.begin();
        match operation {
            ReviewOperation::Ask(new) => self.ask(&mut work, proposal, new, current)?,
            ReviewOperation::Accept { link, reviewer } => {
                self.accept(&mut work, proposal, (link, reviewer), current)?;
            }
            ReviewOperation::Decline { link, reviewer } => {
                let request = self.waiting(&work, link)?;
                let not_reviewable = |reason: &str| Refusal::NotReviewable(reason.to_owned());
                let action = rule_of(&work.generation, &request)?.decline.ok_or_else(|| {
                    not_reviewable("a request of this kind cannot be declined: leave the link unused")
                })?;
                let created = request.created.clone().ok_or_else(|| {
                    not_reviewable(
                        "this link asks nobody in particular, so it cannot be declined: leave it unused",
                    )
                })?;
                let review = Review { request, becomes: RequestStatus::Denied };
                self.end_by(&mut work, proposal, (action, reviewer, created), current, review)?;
            }
            ReviewOperation::Withdraw { link, by } => {
                self.withdraw(&mut work, proposal, (link, by), current)?;
            }
            ReviewOperation::AskAll(new) => self.ask_all(&mut work, proposal, new, current)?,
            ReviewOperation::CancelTask { id, cancellation } => {
                self.cancel_task(&mut work, proposal, (id, cancellation), current)?;
            }
            ReviewOperation::CallbackDone { id, delivered } => {
                self.callback_done(&mut work, proposal, (id, *delivered))?;
            }
        }
        Ok(self.end(work))
    }

    pub(crate) fn ask(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        new: &NewRequest,
        current: &Generation,
    ) -> Result<(), Refusal> {
        let generation = work.generation.clone();
        let (rule, schema) = (rule_for(&generation, new)?, generation.snapshot().schema());
        let valid_for = new.valid_for.unwrap_or(rule.valid_for);
        if valid_for > rule.valid_for_at_most {
            let reason =
                format!("a link of this kind is valid for at most {}", time_text(rule.valid_for_at_most));
            return Err(Refusal::NotReviewable(reason));
        }
        // What the rule says stands in for what the requester leaves out.
        let mut context: Map<String, Value> =
            rule.context.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        context.extend(new.context.clone());
        check_required(rule, (&new.requester, &context), schema)?;
        let mut request = AccessRequest {
            context,
            language: new.language.clone(),
            ..new_request(rule, &new.requester, &proposal.caller, schema)
        };
        request.expires_at = Some(request.asked_at.saturating_add_unsigned(valid_for));
        if let Some(resource) = &new.resource {
            let asked = request.asked(resource.clone());
            let asked = read(&asked, work)?;
            // Members that the schema does not know are left out.
            request.context = Asked::of(&asked, schema).context;
            request.resource = Some(resource.clone());
            let review = Review { request, becomes: RequestStatus::Pending };
            return self.act(work, proposal, (0, &asked), current, Some(review));
        }
        let Some(offer) = rule.offer else {
            let reason = "a request of this kind has to name its resource".to_owned();
            return Err(Refusal::NotReviewable(reason));
        };
        if rule.standing {
            (request.standing, request.expires_at) = (true, None);
        }
        let mut asked = request.asked(new.requester.clone());
        asked.action = display::action(offer, schema);
        request.context = Asked::of(&read(&asked, work)?, schema).context;
        let standing = if rule.standing { self.standing_of(&request)? } else { None };
        if let Some(standing) = standing {
            work.decisions.push(permitted(work, &asked, current)?.1);
            work.requests.push(standing);
            return Ok(());
        }
        self.check_open(rule, &request.requester)?;
        record_only(work, proposal, &asked, current, request)
    }

    fn accept(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (link, reviewer): (&str, &EntityName),
        current: &Generation,
    ) -> Result<(), Refusal> {
        let mut request = self.waiting(work, link)?;
        let generation = work.generation.clone();
        let rule = rule_of(&generation, &request)?;
        let created = if let Some(created) = request.created.clone() {
            created
        } else {
            let (created, resource) = self.make_for(work, proposal, (&request, rule, reviewer), current)?;
            if !request.standing {
                (request.created, request.resource) = (Some(created.clone()), Some(resource));
            }
            created
        };
        let review = Review { request, becomes: RequestStatus::Approved };
        self.end_by(work, proposal, (rule.accept, reviewer, created), current, review)
    }

    /// Performs what was asked for, with the resource that the reviewer brings; gives the entity to review, and the
    /// resource.
    fn make_for(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (request, rule, reviewer): (&AccessRequest, &RequestRule, &EntityName),
        current: &Generation,
    ) -> Result<(EntityName, EntityName), Refusal> {
        let resource = resource_of(&work.generation, rule, reviewer)?;
        if request.standing && has_accepted(&work.generation, rule, (&request.requester, &resource)) {
            return Err(Refusal::AcceptedAlready);
        }
        let asked = read(&request.asked(resource.clone()), work)?;
        // What is made here is reviewed at once.
        let review = Review { request: request.clone(), becomes: RequestStatus::Pending };
        self.act(work, proposal, (0, &asked), current, Some(review)).map_err(requester_denied)?;
        let created = work.created.last().and_then(|created| created.first()).cloned();
        let created =
            created.ok_or_else(|| Refusal::NotReviewable("nothing was created to accept".into()))?;
        Ok((created, resource))
    }

    pub(crate) fn withdraw(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (link, by): (&str, &EntityName),
        current: &Generation,
    ) -> Result<(), Refusal> {
        let request = self.waiting(work, link)?;
        let Some(action) = rule_of(&work.generation, &request)?.withdraw else {
            return Err(Refusal::NotReviewable("a request of this kind cannot be withdrawn".to_owned()));
        };
        if let Some(created) = request.created.clone() {
            let review = Review { request, becomes: RequestStatus::Cancelled };
            return self.end_by(work, proposal, (action, by, created), current, review);
        }
        let schema = work.generation.snapshot().schema();
        let asked = Asked::new(by.clone(), display::action(action, schema), request.requester.clone());
        let ended = ended(request, RequestStatus::Cancelled, by.clone());
        record_only(work, proposal, &asked, current, ended)
    }

    /// Performs an action on what a request created, which ends the request.
    fn end_by(
        &self,
        work: &mut Work,
        proposal: &Proposal,
        (action, by, created): (ActionId, &EntityName, EntityName),
        current: &Generation,
        review: Review,
    ) -> Result<(), Refusal> {
        let action = display::action(action, work.generation.snapshot().schema());
        let request = read(&Asked::new(by.clone(), action, created), work)?;
        if review.becomes == RequestStatus::Approved {
            check_requester(work, &review.request)?;
        }
        self.act(work, proposal, (0, &request), current, Some(review))
    }

    /// The request that an action ends although nobody named it: its reviewer acts on the entity itself.
    pub(crate) fn review_of(&self, work: &Work, request: &Request) -> Result<Option<Review>, Refusal> {
        let changes = work.generation.changes();
        let becomes = |rule: &RequestRule| match Some(request.action) {
            action if action == Some(rule.accept) => Some(RequestStatus::Approved),
            action if action == rule.decline => Some(RequestStatus::Denied),
            action if action == rule.withdraw => Some(RequestStatus::Cancelled),
            _ => None,
        };
        let mut rules = changes.requests().iter();
        let rule = rules
            .find_map(|rule| becomes(rule).filter(|_| rule.created.contains(&request.resource.entity_type)));
        let Some(becomes) = rule else { return Ok(None) };
        let schema = work.generation.snapshot().schema();
        let created = EntityName::new(request.resource.as_uid_ref(), schema);
        let Some(found) = self.find(work, BY_CREATED, &name_key(&created))? else { return Ok(None) };
        let now = wall_clock::now();
        match found.status_at(now) {
            RequestStatus::Pending => {}
            RequestStatus::Expired => return Err(Refusal::RequestEnded(RequestStatus::Expired)),
            RequestStatus::Approved | RequestStatus::Denied | RequestStatus::Cancelled => return Ok(None),
        }
        if becomes == RequestStatus::Approved {
            check_requester(work, &found)?;
        }
        Ok(Some(Review { request: found, becomes }))
    }

    /// The requests as an action that was permitted leaves them.
    pub(crate) fn requests_after(
        &self,
        work: &Work,
        proposal: &Proposal,
        request: &Request,
        created: &[EntityName],
        review: Option<Review>,
    ) -> Result<Vec<AccessRequest>, Refusal> {
        let schema = work.generation.snapshot().schema();
        if let Some(Review { request: reviewed, becomes }) = review {
            if becomes == RequestStatus::Pending {
                // A link to which the reviewer brings the resource is reviewed at once.
                if reviewed.resource.is_none() {
                    return Ok(Vec::new());
                }
                return self.made(work, AccessRequest { created: created.first().cloned(), ..reviewed });
            }
            let by = EntityName::new(request.principal.as_uid_ref(), schema);
            // A standing link stays as it is.
            let stays = reviewed.standing && becomes == RequestStatus::Approved;
            return Ok(if stays { vec![reviewed] } else { vec![ended(reviewed, becomes, by)] });
        }
        let changes = work.generation.changes();
        let Some(rule) = changes.request_by(request.action, request.principal.entity_type) else {
            return Ok(Vec::new());
        };
        let requester = EntityName::new(request.principal.as_uid_ref(), schema);
        let new = new_request(rule, &requester, &proposal.caller, schema);
        let Asked { context, .. } = Asked::of(request, schema);
        self.made(
            work,
            AccessRequest {
                resource: Some(EntityName::new(request.resource.as_uid_ref(), schema)),
                created: created.first().cloned(),
                context,
                ..new
            },
        )
    }

    fn made(&self, work: &Work, request: AccessRequest) -> Result<Vec<AccessRequest>, Refusal> {
        self.check_open(rule_of(&work.generation, &request)?, &request.requester)?;
        Ok(vec![request])
    }
}

/// Decides an action that changes nothing but a request.
fn record_only(
    work: &mut Work,
    proposal: &Proposal,
    asked: &Asked,
    current: &Generation,
    request: AccessRequest,
) -> Result<(), Refusal> {
    let (asked, decided) = permitted(work, asked, current)?;
    let author = author_of(&asked, &decided.decision, work.generation.snapshot().schema());
    let record = request.to_record().map_err(unreadable)?;
    work.transactions.extend(transaction(proposal, author, Vec::new(), (None, vec![record])));
    work.decisions.push(decided);
    work.requests.push(request);
    Ok(())
}
