//! AuthZEN evaluation and evaluations: answers one question, or a batch of them. HTTP is in `http`, the JSON
//! in `wire`; decisions are made in `mandate_pdp`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};

use super::api::{Api, ApiError, RequestScope, to_json_bytes};
use super::wire::{EvaluationResponse, RequestFields, ShapeError, optional_object};
use crate::access_requests::issuer::Asking;
use crate::access_requests::offer::{APPROVAL, Answered, AskerContext};
use mandate_core::decision::Decision;
use mandate_core::json::{Json, Object, quoted};
use mandate_core::moment::Moment;
use mandate_core::request::Question;
use mandate_pdp::{DecisionContext, DecisionId, TimedDecision, View};
use mandate_query::explain::{Budget, Explanation};

/// Whether a request, or an item of its batch, asks for an explanation.
pub fn explains(object: &Object<'_>) -> bool {
    // A malformed option is reported when the request is answered.
    let asks = |object: &Object<'_>| matches!(Options::explain(object), Ok(Some(true)));
    let item_asks = |item: &Json<'_>| matches!(item, Json::Object(item) if asks(item));
    asks(object)
        || matches!(object.get("evaluations"), Some(Json::Array(items)) if items.iter().any(item_asks))
}

/// Answers one question.
pub fn single(
    _: &Api,
    object: &Object<'_>,
    scope: &RequestScope<'_>,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    let options = Options::read(object)?;
    let (fields, mut budget) = (RequestFields::from_object(object), options.explain.then(Budget::single));
    let explained = match scope.asking {
        None => ExplainedDecision::decide(&fields.question()?, view, scope.context, budget.as_mut()),
        Some(asking) => {
            ExplainedDecision::for_asker(fields, view, scope.context, budget.as_mut(), (asking, None))
        }
    };
    to_json_bytes(&explained?.with_context(view))
}

/// Answers a batch of questions, all of them by one revision.
pub fn batch(
    api: &Api,
    object: &Object<'_>,
    scope: &RequestScope<'_>,
    view: &View<'_>,
) -> Result<Vec<u8>, ApiError> {
    let items = match object.get("evaluations") {
        None => return single(api, object, scope, view),
        Some(Json::Array(items)) if items.is_empty() => return single(api, object, scope, view),
        Some(Json::Array(items)) => items,
        Some(other) => {
            return Err(ShapeError::wrong_type("evaluations", "an array", other).into());
        }
    };
    if items.len() > api.limits.max_batch_items {
        return Err(ApiError::bad_request(format!(
            "evaluations: has {} items, at most {} are allowed",
            items.len(),
            api.limits.max_batch_items
        )));
    }
    let options = Options::read(object)?;
    let defaults = RequestFields::from_object(object);
    defaults.check_objects()?;
    let batch = Batch { api, view, items, defaults, options, scope, timed_out: Cell::new(false) };
    let answer = to_json_bytes(&batch);
    if batch.timed_out.get() {
        return Err(ApiError::timed_out("the answer took too long: send fewer evaluations in one request"));
    }
    answer
}

/// A batch. It is answered while the answer is written, from one view.
struct Batch<'j> {
    api: &'j Api,
    view: &'j View<'j>,
    items: &'j [Json<'j>],
    defaults: RequestFields<'j>,
    options: Options,
    scope: &'j RequestScope<'j>,
    /// Set when the deadline passed before the last item.
    timed_out: Cell<bool>,
}

impl Serialize for Batch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Batch", 1)?;
        body.serialize_field("evaluations", &Evaluations(self))?;
        body.end()
    }
}

struct Evaluations<'b, 'j>(&'b Batch<'j>);

impl Serialize for Evaluations<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Batch { api, view, items, defaults, options, scope, timed_out } = self.0;
        let mut answers = serializer.serialize_seq(None)?;
        let mut budget = Budget::batch();
        for (index, item) in items.iter().enumerate() {
            if Instant::now() > scope.deadline {
                timed_out.set(true);
                break;
            }
            let context = scope.context.next();
            let asking = scope.asking.map(|asking| (asking, Some(index)));
            let explained =
                evaluate_item(view, item, *defaults, (context, asking), options.explain, &mut budget);
            let answer = match &explained {
                Ok(explained) if explained.explanation.is_some() || explained.asker.is_some() => {
                    explained.with_context(view)
                }
                Ok(explained) => {
                    let ExplainedDecision { decision, valid_until, .. } = explained;
                    EvaluationResponse::decision_only(decision).with_valid_until(*valid_until)
                }
                Err(ApiError { status, message, .. }) => {
                    if status.is_client_error() {
                        api.pdp.count_bad_request();
                    }
                    EvaluationResponse::error(context.id, status.as_u16(), message.clone())
                }
            };
            answers.serialize_element(&answer)?;
            if options.semantic.stops_after(answer.decision) {
                break;
            }
        }
        answers.end()
    }
}

fn evaluate_item(
    view: &View<'_>,
    item: &Json<'_>,
    defaults: RequestFields<'_>,
    (context, asking): (DecisionContext<'_>, Option<(&Asking<'_>, Option<usize>)>),
    explain: bool,
    budget: &mut Budget,
) -> Result<ExplainedDecision, ApiError> {
    let Json::Object(object) = item else {
        return Err(ApiError::bad_request(format!(
            "an evaluation has to be an object, found {}",
            item.describe()
        )));
    };
    let explain = Options::explain(object)?.unwrap_or(explain);
    let fields = RequestFields::from_object(object).or_defaults(defaults);
    let budget = explain.then_some(budget);
    match asking {
        None => ExplainedDecision::decide(&fields.question()?, view, context, budget),
        Some(asking) => ExplainedDecision::for_asker(fields, view, context, budget, asking),
    }
}

/// A decision, with its explanation if the request asked for one.
struct ExplainedDecision {
    id: DecisionId,
    decision: Arc<Decision>,
    valid_until: Option<Moment>,
    explanation: Option<Explanation>,
    /// For callers that may submit access requests.
    asker: Option<Box<AskerContext>>,
}

impl ExplainedDecision {
    /// Decides for a caller that may submit access requests: it may bring an approval, which is no part of the question.
    fn for_asker(
        fields: RequestFields<'_>,
        view: &View<'_>,
        context: DecisionContext<'_>,
        budget: Option<&mut Budget>,
        (asking, item): (&Asking<'_>, Option<usize>),
    ) -> Result<Self, ApiError> {
        let without_approval = fields.context_without(APPROVAL);
        let fields = match &without_approval {
            Some(context) => fields.with_context(context),
            None => fields,
        };
        let (question, has_approval) = (fields.question()?, without_approval.is_some());
        let explained = Self::decide(&question, view, context, budget)?;
        let answered = Answered {
            id: explained.id,
            question: &question,
            decision: &explained.decision,
            view,
            item,
            has_approval,
        };
        let asker = if has_approval {
            // It is looked up on the disk.
            tokio::task::block_in_place(|| answered.for_asker(asking))
        } else {
            answered.for_asker(asking)
        };
        Ok(Self { asker: asker.map(Box::new), ..explained })
    }

    /// Decides on a question, and explains the decision if there is a budget.
    fn decide(
        question: &Question<'_>,
        view: &View<'_>,
        context: DecisionContext<'_>,
        budget: Option<&mut Budget>,
    ) -> Result<Self, ApiError> {
        let TimedDecision { decision, valid_until } = view.decide(question, &context)?;
        let explanation = budget.map(|budget| view.explain(question, &decision, budget)).transpose()?;
        Ok(Self { id: context.id, decision, valid_until, explanation, asker: None })
    }

    fn with_context<'a>(&'a self, view: &'a View<'_>) -> EvaluationResponse<'a> {
        let (id, decision, revision) = (self.id, &self.decision, view.revision().as_str());
        let answer = match &self.explanation {
            Some(explanation) => EvaluationResponse::with_explanation(
                id,
                decision,
                revision,
                explanation,
                view.snapshot().schema(),
            ),
            None => EvaluationResponse::with_context(id, decision, revision, false),
        };
        answer.with_valid_until(self.valid_until).with_asker(self.asker.as_deref())
    }
}

/// When a batch ends: after its last item, or earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EvaluationsSemantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl EvaluationsSemantic {
    fn stops_after(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// The `options` of a request that Mandate supports.
struct Options {
    semantic: EvaluationsSemantic,
    explain: bool,
}

impl Options {
    fn read(object: &Object<'_>) -> Result<Self, ApiError> {
        let options = optional_object(object.get("options"), "options")?;
        let option = |name| options.and_then(|options| options.get(name));
        let semantic = match option("evaluations_semantic") {
            None => EvaluationsSemantic::ExecuteAll,
            Some(Json::String(name)) => semantic(name)?,
            Some(other) => return Err(unknown_semantic(other.describe())),
        };
        Ok(Self { semantic, explain: Self::explain(object)?.unwrap_or(false) })
    }

    /// `options.explain` of a request or of an item of a batch.
    fn explain(object: &Object<'_>) -> Result<Option<bool>, ApiError> {
        let options = optional_object(object.get("options"), "options")?;
        match options.and_then(|options| options.get("explain")) {
            None => Ok(None),
            Some(Json::Bool(explain)) => Ok(Some(*explain)),
            Some(other) => Err(ShapeError::wrong_type("options.explain", "a boolean", other).into()),
        }
    }
}

fn semantic(name: &str) -> Result<EvaluationsSemantic, ApiError> {
    match name {
        "execute_all" => Ok(EvaluationsSemantic::ExecuteAll),
        "deny_on_first_deny" => Ok(EvaluationsSemantic::DenyOnFirstDeny),
        "permit_on_first_permit" => Ok(EvaluationsSemantic::PermitOnFirstPermit),
        other => Err(unknown_semantic(&quoted(other))),
    }
}

fn unknown_semantic(found: &str) -> ApiError {
    ApiError::bad_request(format!(
        "options.evaluations_semantic: {found} is not valid: expected `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`"
    ))
}
