//! The operations whose instructions are counted. Each prepares its input, and then does the same work for
//! thousands of different questions inside [`measured`]. Hash tables have random seeds, so one question
//! takes more instructions in one run than in another; the mean of thousands hardly does.

use std::hint::black_box;
use std::io;
use std::path::Path;

use crate::gateway::GatewayRequest;
use crate::inside::{self, DecisionContext, Generation, Json, Pdp, Request, RequestFields, Transport, Words};
use crate::world::{Question, World, mix};

/// An operation, by the name that its budget has.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    /// How often the content is loaded anew. Some tables are small and used by every question, so that only
    /// other seeds change how they are searched.
    loads: u64,
    run: fn(&Input) -> io::Result<u64>,
}

pub const OPERATIONS: &[Operation] = &[
    // A question in words to a decision that the cache holds.
    Operation { name: "hit", loads: 1, run: hit },
    // A question in words to a decision that the cache does not hold, and takes up.
    Operation { name: "miss", loads: 1, run: miss },
    // A request to the entities that a decision needs.
    Operation { name: "gather", loads: 8, run: gather },
    // A request and its entities to a decision.
    Operation { name: "decide", loads: 8, run: decide },
    // A snapshot of 9,840 entities and one changed entity to the next snapshot.
    Operation { name: "apply", loads: 1, run: apply },
    // An HTTP request to a question in words, by the routes of the pack.
    Operation { name: "route", loads: 1, run: route },
    // The JSON body of an AuthZEN evaluation to a question in words.
    Operation { name: "read_json", loads: 1, run: read_json },
];

/// Customers, with three entities each.
pub const CUSTOMERS: u64 = 3_000;

/// Different questions.
const QUESTIONS: u64 = 2_000;

/// How often all questions are asked.
const PASSES: usize = 5;

/// Runs the work once for each number below `count`. Callgrind counts the instructions between the start
/// and the end of this function, which it finds by name.
#[inline(never)]
fn measured(count: usize, work: &mut dyn FnMut(usize)) {
    for n in 0..count {
        work(n);
    }
}

/// The pattern by which callgrind finds [`measured`].
pub const MEASURED: &str = "mandate_bench::instructions::operations::measured*";

/// What the operations work on.
struct Input {
    generation: Generation,
    questions: Vec<Question>,
    requests: Vec<Request>,
}

/// Does one operation many times; how many times.
///
/// # Errors
/// There is no such operation, the content cannot be loaded, or an answer is wrong.
pub fn run(name: &str, policies: &Path, entities: &Path) -> io::Result<u64> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| io::Error::other(format!("there is no operation `{name}`")))?;
    let mut count = 0;
    for _ in 0..operation.loads {
        let generation = inside::load_generation(policies, entities)?;
        let questions = World { customers: CUSTOMERS }.questions(QUESTIONS, mix);
        let requests = inside::requests(generation.snapshot(), &questions)?;
        count += (operation.run)(&Input { generation, questions, requests })?;
    }
    Ok(count)
}

/// Does the work for all items in turn, several times; how often in all.
fn repeated<T, R>(items: &[T], mut work: impl FnMut(&T) -> R) -> io::Result<u64> {
    right(!items.is_empty())?;
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
        inside::pdp(self.generation.clone())
    }

    /// Calls `ask` with all questions in words.
    fn with_words<T>(&self, ask: impl FnOnce(&[Words<'_>]) -> io::Result<T>) -> io::Result<T> {
        let contexts: Vec<String> = self.questions.iter().map(inside::context).collect();
        let parsed = contexts.iter().map(|context| Json::parse(context.as_bytes()));
        let contexts = parsed.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let words = self.questions.iter().zip(&contexts);
        ask(&words.map(|(question, context)| inside::words(question, context)).collect::<Vec<_>>())
    }
}

fn is_permitted(pdp: &Pdp, words: &Words<'_>) -> bool {
    inside::permits(pdp, words).unwrap_or(false)
}

fn hit(input: &Input) -> io::Result<u64> {
    let pdp = input.pdp();
    input.with_words(|questions| {
        for (question, words) in input.questions.iter().zip(questions) {
            right(is_permitted(&pdp, words) == question.permitted)?;
        }
        repeated(questions, |words| is_permitted(&pdp, words))
    })
}

fn miss(input: &Input) -> io::Result<u64> {
    let expected = input.questions.iter().filter(|question| question.permitted).count();
    input.with_words(|questions| {
        for _ in 0..PASSES {
            let (pdp, mut permits) = (input.pdp(), 0);
            measured(questions.len(), &mut |n| {
                permits += usize::from(questions.get(n).is_some_and(|words| is_permitted(&pdp, words)));
            });
            right(permits == expected)?;
        }
        Ok((questions.len() * PASSES) as u64)
    })
}

fn gather(input: &Input) -> io::Result<u64> {
    repeated(&input.requests, |request| {
        black_box(input.generation.snapshot().gather(request));
    })
}

fn decide(input: &Input) -> io::Result<u64> {
    let gathered =
        input.requests.iter().map(|request| (request, input.generation.snapshot().gather(request)));
    let gathered: Vec<_> = gathered.collect();
    repeated(&gathered, |(request, slice)| input.generation.snapshot().decide(request, slice))
}

fn apply(input: &Input) -> io::Result<u64> {
    let mut current = input.generation.snapshot().clone();
    let changes = inside::changes(&current, CUSTOMERS, QUESTIONS / 2)?;
    let mut applied = 0;
    measured(changes.len(), &mut |n| {
        if let Some(change) = changes.get(n)
            && let Ok(snapshot) = current.apply(black_box(change))
        {
            current = snapshot;
            applied += 1;
        }
    });
    right(applied == changes.len())?;
    Ok(applied as u64)
}

fn route(input: &Input) -> io::Result<u64> {
    let requests: Vec<GatewayRequest> = input.questions.iter().filter_map(GatewayRequest::pack).collect();
    let pdp = input.pdp();
    let http: Vec<_> = requests.iter().map(inside::http_request).collect();
    for (request, http) in requests.iter().zip(&http) {
        let (view, context) = (pdp.view(), DecisionContext::new(Transport::InProcess));
        let routed = view.route(http, &context).map_err(|error| io::Error::other(error.to_string()))?;
        let decision = view.decide(&routed.question(), &context).map_err(io::Error::other)?;
        right(decision.is_permit() == request.permitted)?;
    }
    let routes = input.generation.routes();
    repeated(&http, |http| {
        let routed = routes.route(http);
        black_box(routed.as_ref().map(|routed| black_box(routed.question())).is_ok())
    })
}

fn read_json(input: &Input) -> io::Result<u64> {
    let bodies: Vec<String> = input.questions.iter().map(Question::body).collect();
    let read = |body: &String| {
        let json = Json::parse_with_max_depth(body.as_bytes(), LEVELS).ok();
        let question = json
            .as_ref()
            .and_then(Json::as_object)
            .map(|object| RequestFields::from_object(object).question());
        black_box(question.is_some_and(|question| black_box(question).is_ok()))
    };
    bodies.iter().try_for_each(|body| right(read(body)))?;
    repeated(&bodies, read)
}

/// Levels of arrays and objects that the server accepts by default.
const LEVELS: usize = 64;

fn right(is_right: bool) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(io::Error::other("an answer is wrong")) }
}
