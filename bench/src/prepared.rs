//! HTTP requests as bytes, and the answers that they have to get.

use std::rc::Rc;

use crate::world::{Question, World, mix};

/// A request as bytes, and the answer that it has to get.
#[derive(Debug, Clone)]
pub struct Shot {
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// What the body of an answer has to hold.
#[derive(Debug, Clone)]
pub enum Expected {
    Anything,
    /// The body begins with this.
    Start(&'static [u8]),
    /// This stands anywhere in the body.
    Anywhere(&'static [u8]),
    /// These are the decisions in the body, in this order, and there are no others.
    Decisions(Rc<[bool]>),
}

impl Shot {
    /// A POST of a body.
    pub fn post(path: &str, body: &str, expected: Expected) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { bytes: (head + body).into_bytes(), expected }
    }

    /// A question for an `AuthZEN` server.
    pub fn evaluation(question: &Question) -> Self {
        Self::post("/access/v1/evaluation", &question.body(), decision(question.permitted))
    }

    /// Several questions for an `AuthZEN` server, in one request.
    pub fn evaluations(questions: &[Question]) -> Self {
        let bodies: Vec<String> = questions.iter().map(Question::body).collect();
        let body = format!("{{\"evaluations\":[{}]}}", bodies.join(","));
        let decisions = questions.iter().map(|question| question.permitted).collect();
        Self::post("/access/v1/evaluations", &body, Expected::Decisions(decisions))
    }

    pub fn is_answered_by(&self, body: &[u8]) -> bool {
        match &self.expected {
            Expected::Anything => true,
            Expected::Start(start) => body.starts_with(start),
            Expected::Anywhere(part) => body.windows(part.len()).any(|window| window == *part),
            Expected::Decisions(decisions) => are_decisions(body, decisions),
        }
    }
}

/// How the answer to one question begins.
pub fn decision(permitted: bool) -> Expected {
    Expected::Start(if permitted { br#"{"decision":true"# } else { br#"{"decision":false"# })
}

fn are_decisions(body: &[u8], decisions: &[bool]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let mut expected = decisions.iter().map(|decision| if *decision { "true" } else { "false" });
    let mut found = text.split("\"decision\":").skip(1);
    found.all(|rest| expected.next().is_some_and(|word| rest.starts_with(word))) && expected.next().is_none()
}

/// 2,000 questions about customers all over the world.
pub fn questions(customers: u64) -> Rc<[Shot]> {
    World { customers }.questions(2_000, mix).iter().map(Shot::evaluation).collect()
}

/// Questions about customers that are drawn anew each time: far more than the cache holds.
pub fn random_questions(customers: u64, count: u64) -> Rc<[Shot]> {
    World { customers }.questions(count, |n| mix(n ^ 0xABCD_EF01)).iter().map(Shot::evaluation).collect()
}

/// The questions for the limit, which always answers the same.
pub fn for_the_limit(shots: &Rc<[Shot]>) -> Rc<[Shot]> {
    shots.iter().map(|shot| Shot { expected: Expected::Anything, ..shot.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_of_a_batch_are_all_checked() {
        let body = br#"{"evaluations":[{"decision":true},{"decision":false,"context":{"reason":"x"}}]}"#;
        assert!(are_decisions(body, &[true, false]));
        for wrong in [&[true, true][..], &[true], &[true, false, false], &[]] {
            assert!(!are_decisions(body, wrong), "{wrong:?}");
        }
    }
}
