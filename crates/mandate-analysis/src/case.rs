//! One case of a suite: a question or an HTTP request with the expected answer. Suites are read in `suite`;
//! `story` runs a case, with the changes that come before it (`given`) and the steps that follow it.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::error::CaseError;
use crate::given::Given;
use crate::route_case::{RouteCase, Routed};
use crate::suite_file::{Context, ExpectedAnswer, ExpectedDecision};
use mandate_core::Snapshot;
use mandate_core::clock::Clock;
use mandate_core::decision::Decision;
use mandate_core::diagnostics::SourceSpan;
use mandate_core::display;
use mandate_core::json::Json;
use mandate_core::request::{Question, QuestionEntity, Request, RequestError, RequestPart};
use mandate_routes::Routes;

/// One case of a suite.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where the case begins; a cell of a table, where its row begins.
    pub span: SourceSpan,
    /// The case's name; for a cell of a table, the names of table, row and column.
    pub name: String,
    pub(crate) input: CaseInput,
    pub(crate) given: Vec<Given>,
    /// `None` only for a case about an HTTP request, which may expect its question alone.
    pub(crate) expect: Option<ExpectedAnswer>,
    /// What is so once the action has changed the entities.
    pub(crate) after: Vec<Given>,
    /// The steps that follow, one after the other. A step has none itself.
    pub(crate) then: Vec<Case>,
}

/// What a case asks.
#[derive(Debug, Clone)]
pub(crate) enum CaseInput {
    Question(CaseQuestion),
    /// An HTTP request. The routes make its question.
    Http(Box<RouteCase>),
}

#[derive(Debug, Clone)]
pub(crate) struct CaseQuestion {
    pub principal: String,
    pub action: String,
    pub resource: String,
    pub context: Context,
}

/// What came of a case.
pub(crate) enum Answer {
    Decision(Decision),
    /// The question does not fit the schema.
    Invalid(RequestError),
    NoRoute,
    Refused(String),
}

/// What became of the question of a case.
pub(crate) enum Asked {
    /// It is to be decided.
    Request(Request),
    /// It fits no schema or no route, so nothing is to be decided.
    Answered(Answer),
    /// The routes made another question of the HTTP request than the case expects; in lines.
    Differs(String),
    /// The case expects nothing but this question.
    AsExpected,
}

/// A case whose question fits the schema, ready to be decided.
#[derive(Debug)]
pub struct PreparedCase {
    /// The snapshot with the changes of the case.
    pub snapshot: Snapshot,
    pub request: Request,
}

/// The result of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// `None` if the case passed; else the expected and the actual answer, in a few lines.
    pub failure: Option<String>,
    pub took: Duration,
}

impl CaseResult {
    /// The failure in one line.
    pub fn failure_line(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(failure.replace("\n- ", "; expected ").replace("\n+ ", ", found "))
    }
}

impl Case {
    /// The question of the case as a request, by the schema of the snapshot.
    ///
    /// # Errors
    /// Why the case cannot be run.
    pub(crate) fn ask(&self, snapshot: &Snapshot, routes: &Routes) -> Result<Asked, CaseError> {
        let case = match &self.input {
            CaseInput::Question(case) => {
                let request = case.request(snapshot)?;
                return Ok(
                    request.map_or_else(|error| Asked::Answered(Answer::Invalid(error)), Asked::Request)
                );
            }
            CaseInput::Http(case) => case,
        };
        let (routed, differences) = case.route(snapshot, routes)?;
        if !differences.is_empty() {
            return Ok(Asked::Differs(case.title() + &differences));
        }
        Ok(match routed {
            // What is expected of the question was compared.
            Routed::Question(request) if self.expect.is_none() && request.is_ok() => Asked::AsExpected,
            Routed::Question(request) => match *request {
                Ok(request) => Asked::Request(request),
                Err(error) => Asked::Answered(Answer::Invalid(error)),
            },
            Routed::NoRoute => Asked::Answered(Answer::NoRoute),
            Routed::Refused(why) => Asked::Answered(Answer::Refused(why)),
        })
    }

    /// Whether the case asks a question itself. The routes make the question of an HTTP request.
    pub(crate) fn is_question(&self) -> bool {
        matches!(self.input, CaseInput::Question(_))
    }

    /// Whether the case is about what its action changes.
    pub(crate) fn expects_change(&self) -> bool {
        !self.after.is_empty() || !self.then.is_empty()
    }

    /// Who does what to which resource, or the HTTP request.
    pub(crate) fn title(&self) -> String {
        self.input.title()
    }

    /// Whether the case expects this decision.
    pub fn accepts(&self, decision: &Decision) -> bool {
        self.mismatch(&Answer::Decision(decision.clone())).is_none()
    }

    /// How the answer differs from the expected one, in lines; `None` if it does not.
    pub(crate) fn mismatch(&self, answer: &Answer) -> Option<String> {
        let actual = answer.kind();
        let determining_policies = answer.determining_policies();
        let wanted = self.expect.as_ref().and_then(ExpectedAnswer::policies).map(sorted);
        let same_policies = wanted.as_ref().is_none_or(|wanted| *wanted == determining_policies);
        let expected = self.expect.as_ref().map(ExpectedAnswer::decision);
        if expected == Some(actual) && same_policies {
            return None;
        }
        let actual = match answer {
            Answer::Decision(decision) => {
                describe_answer(actual, Some(&determining_policies), Some(decision))
            }
            Answer::Invalid(error) => format!("error: {}: {}", part_name(error.part), error.message),
            Answer::NoRoute => "no-route".to_owned(),
            Answer::Refused(why) => format!("refused: {why}"),
        };
        let expected = expected.map_or_else(
            || "a question".to_owned(),
            |expected| describe_answer(expected, wanted.as_ref(), None),
        );
        Some(format!("{}\n- {expected}\n+ {actual}", self.input.title()))
    }
}

impl CaseQuestion {
    /// The inner error says why the question does not fit the schema, which a case can expect.
    fn request(&self, snapshot: &Snapshot) -> Result<Result<Request, RequestError>, CaseError> {
        let context = serde_json::to_value(&self.context)?;
        let context = Json::deserialize(&context)?;
        let question = Question {
            principal: question_entity(&self.principal)?,
            action: &self.action,
            action_properties: None,
            resource: question_entity(&self.resource)?,
            context: context.as_object(),
        };
        Ok(snapshot.request_from_question(&question, Clock::InQuestion))
    }
}

fn sorted(ids: &[Spanned<String>]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| id.value.clone()).collect();
    ids.sort();
    ids
}

impl CaseInput {
    fn title(&self) -> String {
        match self {
            Self::Question(case) => format!("{} {} {}", case.principal, case.action, case.resource),
            Self::Http(case) => case.title(),
        }
    }
}

impl Answer {
    fn kind(&self) -> ExpectedDecision {
        match self {
            Self::Decision(decision) if decision.is_permit() => ExpectedDecision::Permit,
            Self::Decision(_) => ExpectedDecision::Deny,
            Self::Invalid(_) => ExpectedDecision::Error,
            Self::NoRoute => ExpectedDecision::NoRoute,
            Self::Refused(_) => ExpectedDecision::Refused,
        }
    }

    fn determining_policies(&self) -> Vec<String> {
        let Self::Decision(decision) = self else { return Vec::new() };
        decision.determining_policies().iter().map(|policy| policy.id.to_string()).collect()
    }
}

fn question_entity(text: &str) -> Result<QuestionEntity<'_>, CaseError> {
    let (entity_type, id) = display::parse_type_and_id(text).map_err(|error| CaseError::entity(&error))?;
    Ok(QuestionEntity { entity_type, id, properties: None })
}

fn describe_answer(
    answer: ExpectedDecision,
    policies: Option<&Vec<String>>,
    decision: Option<&Decision>,
) -> String {
    let answer = match answer {
        ExpectedDecision::Permit => "permit",
        ExpectedDecision::Deny => "deny",
        ExpectedDecision::Error => "error",
        ExpectedDecision::NoRoute => "no-route",
        ExpectedDecision::Refused => "refused",
    };
    let unmet = decision.filter(|decision| decision.determining_policies().is_empty()).map(|decision| {
        let unmet: Vec<&str> = decision.reported_policies().iter().map(|policy| policy.id.as_str()).collect();
        let why = decision.outcome.as_str();
        if unmet.is_empty() { why.to_owned() } else { format!("{why}; unmet: {}", unmet.join(", ")) }
    });
    match (policies.filter(|policies| !policies.is_empty()), unmet) {
        (Some(policies), _) => format!("{answer} by {}", policies.join(", ")),
        (None, Some(unmet)) => format!("{answer} ({unmet})"),
        (None, None) if policies.is_some() => format!("{answer} by no policy"),
        (None, None) => answer.to_owned(),
    }
}

/// The key of a suite file that a part of a request comes from.
fn part_name(part: RequestPart) -> &'static str {
    match part {
        RequestPart::PrincipalType | RequestPart::PrincipalId | RequestPart::PrincipalProperties => {
            "principal"
        }
        RequestPart::Action | RequestPart::ActionProperties => "action",
        RequestPart::ResourceType | RequestPart::ResourceId | RequestPart::ResourceProperties => "resource",
        RequestPart::Context => "context",
    }
}
