//! HTTP requests that are built once, as bytes, and sent many times. Each knows its correct answer.

use std::rc::Rc;

use crate::dataset::{Dataset, TestQuestion, mix};

/// A whole HTTP request as bytes, and the correct answer to it.
#[derive(Debug, Clone)]
pub struct PreparedRequest {
    pub bytes: Vec<u8>,
    pub expected: ExpectedAnswer,
}

/// The requirement for the body of an answer.
#[derive(Debug, Clone)]
pub enum ExpectedAnswer {
    Any,
    StartsWith(&'static [u8]),
    Contains(&'static [u8]),
    /// The body has exactly these decisions, in this order.
    Decisions(Rc<[bool]>),
}

impl PreparedRequest {
    /// A POST request with a JSON body.
    pub fn post(path: &str, body: &str, expected: ExpectedAnswer) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { bytes: (head + body).into_bytes(), expected }
    }

    /// One `AuthZEN` evaluation.
    pub fn evaluation(question: &TestQuestion) -> Self {
        let expected = expected_decision(question.permitted);
        Self::post("/access/v1/evaluation", &question.authzen_body(), expected)
    }

    /// A batch of `AuthZEN` evaluations in one request.
    pub fn evaluations(questions: &[TestQuestion]) -> Self {
        let bodies: Vec<String> = questions.iter().map(TestQuestion::authzen_body).collect();
        let body = format!("{{\"evaluations\":[{}]}}", bodies.join(","));
        let decisions = questions.iter().map(|question| question.permitted).collect();
        Self::post("/access/v1/evaluations", &body, ExpectedAnswer::Decisions(decisions))
    }

    /// Whether `body` is the body of a correct answer.
    pub fn is_answered_by(&self, body: &[u8]) -> bool {
        match &self.expected {
            ExpectedAnswer::Any => true,
            ExpectedAnswer::StartsWith(start) => body.starts_with(start),
            ExpectedAnswer::Contains(part) => body.windows(part.len()).any(|window| window == *part),
            ExpectedAnswer::Decisions(decisions) => has_exactly_decisions(body, decisions),
        }
    }
}

/// The answer to one evaluation. Only the decision is checked, not the reasons after it.
pub fn expected_decision(permitted: bool) -> ExpectedAnswer {
    ExpectedAnswer::StartsWith(if permitted { br#"{"decision":true"# } else { br#"{"decision":false"# })
}

fn has_exactly_decisions(body: &[u8], decisions: &[bool]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let mut expected = decisions.iter().map(|decision| if *decision { "true" } else { "false" });
    let mut found = text.split("\"decision\":").skip(1);
    found.all(|rest| expected.next().is_some_and(|word| rest.starts_with(word))) && expected.next().is_none()
}

/// 2,000 evaluations about customers from the whole data set. The cache can hold all their decisions.
pub fn evaluation_requests(customers: u64) -> Rc<[PreparedRequest]> {
    Dataset { customers }.questions(2_000, mix).iter().map(PreparedRequest::evaluation).collect()
}

/// `count` evaluations about random customers. A large `count` gives more decisions than the cache can hold.
pub fn random_evaluation_requests(customers: u64, count: u64) -> Rc<[PreparedRequest]> {
    let questions = Dataset { customers }.questions(count, |n| mix(n ^ 0xABCD_EF01));
    questions.iter().map(PreparedRequest::evaluation).collect()
}

/// The same requests for the limit, whose answer is a constant.
pub fn with_any_answer(requests: &[PreparedRequest]) -> Rc<[PreparedRequest]> {
    let with_any_answer =
        |request: &PreparedRequest| PreparedRequest { expected: ExpectedAnswer::Any, ..request.clone() };
    requests.iter().map(with_any_answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_of_a_batch_is_checked() {
        let body = br#"{"evaluations":[{"decision":true},{"decision":false,"context":{"reason":"x"}}]}"#;
        assert!(has_exactly_decisions(body, &[true, false]));
        for wrong in [&[true, true][..], &[true], &[true, false, false], &[]] {
            assert!(!has_exactly_decisions(body, wrong), "{wrong:?}");
        }
    }
}
