//! The operations whose instructions are counted. Each prepares its input, and then does the same work for
//! thousands of different questions inside [`measured`]. Hash tables have random seeds, so the count for one
//! question differs from run to run; the mean of thousands hardly does.

use std::hint::black_box;
use std::io;
use std::path::Path;

use crate::dataset::{Dataset, TestQuestion, mix};
use crate::gateway::GatewayRequest;
use crate::in_process::{
    self, DecisionContext, Generation, Json, Pdp, Question, Request, RequestFields, Transport,
};

/// An operation. Its budget has the same name.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    /// How many times the content is loaded. All questions use a few small hash tables, so a mean over more
    /// questions is no better. Each load gives these tables new seeds.
    loads: u64,
    run: fn(&Input) -> io::Result<u64>,
}

pub const OPERATIONS: &[Operation] = &[
    // From a question to a decision that is in the cache.
    Operation { name: "hit", loads: 1, run: hit },
    // From a question to a decision that is not in the cache and is put into it.
    Operation { name: "miss", loads: 1, run: miss },
    // From a request to its slice.
    Operation { name: "gather", loads: 8, run: gather },
    // From a request and its slice to a decision.
    Operation { name: "decide", loads: 8, run: decide },
    // From a snapshot of 9,840 entities and one changed entity to the next snapshot.
    Operation { name: "apply", loads: 1, run: apply },
    // From an HTTP request to a question, by the routes of the pack.
    Operation { name: "route", loads: 1, run: route },
    // From the JSON body of an AuthZEN evaluation to a question.
    Operation { name: "read_json", loads: 1, run: read_json },
];

/// The number of customers. Each has three entities.
pub const CUSTOMERS: u64 = 3_000;

/// The number of different questions.
const QUESTIONS: u64 = 2_000;

/// How many times each question is asked.
const PASSES: usize = 5;

/// Calls `work` once for each number below `count`. Callgrind finds this function by its name and counts only
/// the instructions in it and in the functions that it calls.
#[inline(never)]
fn measured(count: usize, work: &mut dyn FnMut(usize)) {
    for n in 0..count {
        work(n);
    }
}

/// The pattern by which callgrind finds [`measured`].
pub const MEASURED_FUNCTION: &str = "mandate_bench::instructions::operations::measured*";

/// The input of all operations.
struct Input {
    generation: Generation,
    questions: Vec<TestQuestion>,
    requests: Vec<Request>,
}

/// Does one operation many times. Returns how many times.
///
/// # Errors
/// There is no such operation, the content cannot be loaded, or an answer is wrong.
pub fn run(name: &str, policies: &Path, entities: &Path) -> io::Result<u64> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| io::Error::other(format!("there is no operation `{name}`")))?;
    let mut count = 0;
    for _ in 0..operation.loads {
        let generation = in_process::load_generation(policies, entities)?;
        let questions = Dataset { customers: CUSTOMERS }.questions(QUESTIONS, mix);
        let requests = in_process::requests(generation.snapshot(), &questions)?;
        count += (operation.run)(&Input { generation, questions, requests })?;
    }
    Ok(count)
}

/// Does the work for all items in turn, [`PASSES`] times. Returns how many times the work was done.
fn repeat_for_all<T, R>(items: &[T], mut work: impl FnMut(&T) -> R) -> io::Result<u64> {
    ensure_correct(!items.is_empty())?;
    let mut items_in_turn = items.iter().cycle();
    let count = items.len() * PASSES;
    measured(count, &mut |_| {
        if let Some(item) = items_in_turn.next() {
            black_box(work(black_box(item)));
        }
    });
    Ok(count as u64)
}

impl Input {
    fn pdp(&self) -> Pdp {
        in_process::pdp(self.generation.clone())
    }

    /// Calls `ask` with all questions. They borrow from their contexts, so they cannot be returned.
    fn with_questions<T>(&self, ask: impl FnOnce(&[Question<'_>]) -> io::Result<T>) -> io::Result<T> {
        let contexts: Vec<String> = self.questions.iter().map(in_process::context_json).collect();
        let parsed = contexts.iter().map(|context| Json::parse(context.as_bytes()));
        let contexts = parsed.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let questions = self.questions.iter().zip(&contexts);
        ask(&questions
            .map(|(question, context)| in_process::as_question(question, context))
            .collect::<Vec<_>>())
    }
}

fn is_permitted(pdp: &Pdp, question: &Question<'_>) -> bool {
    in_process::permits(pdp, question).unwrap_or(false)
}

fn hit(input: &Input) -> io::Result<u64> {
    let pdp = input.pdp();
    input.with_questions(|questions| {
        for (test_question, question) in input.questions.iter().zip(questions) {
            ensure_correct(is_permitted(&pdp, question) == test_question.permitted)?;
        }
        repeat_for_all(questions, |question| is_permitted(&pdp, question))
    })
}

fn miss(input: &Input) -> io::Result<u64> {
    let expected = input.questions.iter().filter(|question| question.permitted).count();
    input.with_questions(|questions| {
        for _ in 0..PASSES {
            let (pdp, mut permits) = (input.pdp(), 0);
            measured(questions.len(), &mut |n| {
                permits += usize::from(questions.get(n).is_some_and(|question| is_permitted(&pdp, question)));
            });
            ensure_correct(permits == expected)?;
        }
        Ok((questions.len() * PASSES) as u64)
    })
}

fn gather(input: &Input) -> io::Result<u64> {
    repeat_for_all(&input.requests, |request| {
        black_box(input.generation.snapshot().gather(request));
    })
}

fn decide(input: &Input) -> io::Result<u64> {
    let gathered =
        input.requests.iter().map(|request| (request, input.generation.snapshot().gather(request)));
    let gathered: Vec<_> = gathered.collect();
    repeat_for_all(&gathered, |(request, slice)| input.generation.snapshot().decide(request, slice))
}

fn apply(input: &Input) -> io::Result<u64> {
    let mut current = input.generation.snapshot().clone();
    let changes = in_process::consent_changes(&current, CUSTOMERS, QUESTIONS / 2)?;
    let mut applied = 0;
    measured(changes.len(), &mut |n| {
        if let Some(change) = changes.get(n)
            && let Ok(snapshot) = current.apply(black_box(change))
        {
            current = snapshot;
            applied += 1;
        }
    });
    ensure_correct(applied == changes.len())?;
    Ok(applied as u64)
}

fn route(input: &Input) -> io::Result<u64> {
    let requests: Vec<GatewayRequest> =
        input.questions.iter().filter_map(GatewayRequest::by_pack_routes).collect();
    let pdp = input.pdp();
    let http_requests: Vec<_> = requests.iter().map(in_process::http_request).collect();
    for (request, http_request) in requests.iter().zip(&http_requests) {
        let (view, context) = (pdp.view(), DecisionContext::new(Transport::InProcess));
        let routed =
            view.route(http_request, &context).map_err(|error| io::Error::other(error.to_string()))?;
        let timed = view.decide(&routed.question(), &context).map_err(io::Error::other)?;
        ensure_correct(timed.decision.is_permit() == request.permitted)?;
    }
    let routes = input.generation.routes();
    repeat_for_all(&http_requests, |http_request| {
        let routed = routes.route(http_request);
        black_box(routed.as_ref().map(|routed| black_box(routed.question())).is_ok())
    })
}

fn read_json(input: &Input) -> io::Result<u64> {
    let bodies: Vec<String> = input.questions.iter().map(TestQuestion::authzen_body).collect();
    let read = |body: &String| {
        let json = Json::parse_with_max_depth(body.as_bytes(), MAX_DEPTH).ok();
        let question = json
            .as_ref()
            .and_then(Json::as_object)
            .map(|object| RequestFields::from_object(object).question());
        black_box(question.is_some_and(|question| black_box(question).is_ok()))
    };
    bodies.iter().try_for_each(|body| ensure_correct(read(body)))?;
    repeat_for_all(&bodies, read)
}

/// The depth of nested arrays and objects that the server accepts by default.
const MAX_DEPTH: usize = 64;

fn ensure_correct(is_correct: bool) -> io::Result<()> {
    if is_correct { Ok(()) } else { Err(io::Error::other("an answer is wrong")) }
}
