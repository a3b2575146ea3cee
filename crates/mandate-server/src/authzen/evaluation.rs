//! `AuthZEN` evaluation and evaluations: one question, or several at once.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};

use super::endpoints::{Api, Deadline, Problem, written};
use super::wire::{Answer, Parts, optional};
use mandate_core::decision::Decision;
use mandate_core::json::{Json, Object, quoted};
use mandate_core::request::Question;
use mandate_pdp::View;
use mandate_query::explain::{Budget, Explanation};

/// Answers one question.
pub fn single(api: &Api, object: &Object<'_>, _: Deadline) -> Result<Vec<u8>, Problem> {
    let options = Options::read(object)?;
    let question = Parts::of(object).question().map_err(Problem::bad)?;
    let view = api.pdp.view();
    let answered = Answered::to(&question, &view, options.explain.then(Budget::single).as_mut())?;
    written(&answered.with_context(&view))
}

/// Answers several questions by one revision.
pub fn batch(api: &Api, object: &Object<'_>, deadline: Deadline) -> Result<Vec<u8>, Problem> {
    let items = match object.get("evaluations") {
        None => return single(api, object, deadline),
        Some(Json::Array(items)) if items.is_empty() => return single(api, object, deadline),
        Some(Json::Array(items)) => items,
        Some(other) => {
            return Err(Problem::bad(format!("evaluations: has to be an array, found {}", other.kind())));
        }
    };
    if items.len() > api.limits.batch {
        return Err(Problem::bad(format!(
            "evaluations: at most {}, found {}",
            api.limits.batch,
            items.len()
        )));
    }
    let options = Options::read(object)?;
    let defaults = Parts::of(object);
    defaults.are_objects().map_err(Problem::bad)?;
    let batch =
        Batch { api, view: api.pdp.view(), items, defaults, options, deadline, late: Cell::new(false) };
    let answer = written(&batch);
    if batch.late.get() {
        return Err(Problem::late("the answer took too long: ask fewer questions at a time"));
    }
    answer
}

/// A batch, which is answered while its answer is written: all of it from one view.
struct Batch<'j> {
    api: &'j Api,
    view: View<'j>,
    items: &'j [Json<'j>],
    defaults: Parts<'j>,
    options: Options,
    deadline: Deadline,
    /// Whether the deadline came first.
    late: Cell<bool>,
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
        let Batch { api, view, items, defaults, options, deadline, late } = self.0;
        let mut answers = serializer.serialize_seq(None)?;
        let mut budget = Budget::batch();
        for item in *items {
            if Instant::now() > *deadline {
                late.set(true);
                break;
            }
            let answered = answer_item(view, item, *defaults, options.explain, &mut budget);
            let answer = match &answered {
                Ok(answered) if answered.explanation.is_some() => answered.with_context(view),
                Ok(answered) => Answer::bare(&answered.decision),
                Err(Problem { status, message, .. }) => {
                    if status.is_client_error() {
                        api.pdp.count_bad_request();
                    }
                    Answer::broken(status.as_u16(), message.clone())
                }
            };
            answers.serialize_element(&answer)?;
            if options.semantic.ends_with(answer.decision) {
                break;
            }
        }
        answers.end()
    }
}

fn answer_item(
    view: &View<'_>,
    item: &Json<'_>,
    defaults: Parts<'_>,
    explain: bool,
    budget: &mut Budget,
) -> Result<Answered, Problem> {
    let Json::Object(object) = item else {
        return Err(Problem::bad(format!("an evaluation has to be an object, found {}", item.kind())));
    };
    let explain = Options::explain(object)?.unwrap_or(explain);
    let question = Parts::of(object).or(defaults).question().map_err(Problem::bad)?;
    Answered::to(&question, view, explain.then_some(budget))
}

/// What a question came to.
struct Answered {
    decision: Arc<Decision>,
    explanation: Option<Explanation>,
}

impl Answered {
    /// Decides on a question, and explains the decision if there is a budget for it.
    fn to(question: &Question<'_>, view: &View<'_>, budget: Option<&mut Budget>) -> Result<Self, Problem> {
        let decision = view.decide(question)?;
        let explanation = budget.map(|budget| view.explain(question, &decision, budget)).transpose()?;
        Ok(Self { decision, explanation })
    }

    fn with_context<'a>(&'a self, view: &'a View<'_>) -> Answer<'a> {
        let (decision, revision) = (&self.decision, view.revision().as_str());
        match &self.explanation {
            Some(explanation) => Answer::explained(decision, revision, explanation, view.snapshot().schema()),
            None => Answer::with_context(decision, revision, false),
        }
    }
}

/// How a batch goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn ends_with(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// The `options` of a request that mean something here.
struct Options {
    semantic: Semantic,
    explain: bool,
}

impl Options {
    fn read(object: &Object<'_>) -> Result<Self, Problem> {
        let options = optional(object.get("options"), "options").map_err(Problem::bad)?;
        let option = |name| options.and_then(|options| options.get(name));
        let semantic = match option("evaluations_semantic") {
            None => Semantic::ExecuteAll,
            Some(Json::String(name)) => semantic(name)?,
            Some(_) => return Err(unknown_semantic("it")),
        };
        Ok(Self { semantic, explain: Self::explain(object)?.unwrap_or(false) })
    }

    /// Whether a request or an item of a batch wants to be explained, if it says so.
    fn explain(object: &Object<'_>) -> Result<Option<bool>, Problem> {
        let options = optional(object.get("options"), "options").map_err(Problem::bad)?;
        match options.and_then(|options| options.get("explain")) {
            None => Ok(None),
            Some(Json::Bool(explain)) => Ok(Some(*explain)),
            Some(other) => {
                Err(Problem::bad(format!("options.explain: has to be a boolean, found {}", other.kind())))
            }
        }
    }
}

fn semantic(name: &str) -> Result<Semantic, Problem> {
    match name {
        "execute_all" => Ok(Semantic::ExecuteAll),
        "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
        "permit_on_first_permit" => Ok(Semantic::PermitOnFirstPermit),
        other => Err(unknown_semantic(&quoted(other))),
    }
}

fn unknown_semantic(found: &str) -> Problem {
    Problem::bad(format!(
        "options.evaluations_semantic: {found} is none of `execute_all`, `deny_on_first_deny`, `permit_on_first_permit`"
    ))
}
