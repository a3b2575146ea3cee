//! All that is measured, one function for each question that the table answers.

use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::bars::{Bar, Bound, median, number, ratio};
use crate::busy;
use crate::grpc::{self, Check};
use crate::http::{Sample, Samples, Setup, Target, for_the_limit, questions, random_questions};
use crate::inside;
use crate::load::Shot;
use crate::process::{self, Server};
use crate::report::{Point, Results};
use crate::world::{self, World, mix};

/// How answers are known to be right.
pub const CHECKED: &str = "every answer is checked";

/// Customers of the small world.
pub const FEW: u64 = 1_000;

type Part = (&'static str, fn(&Setup, &mut Results) -> io::Result<()>);

const PARTS: &[Part] = &[
    ("load and memory", large),
    ("hits and misses, by policies and by customers", throughput),
    ("over gRPC", over_grpc),
    ("while entities change", busy::changes),
    ("while policies reload", busy::reloads),
    ("while guardrails are proven", busy::proofs),
    ("batches", batch),
    ("in process", in_process),
    ("size and start", start),
    ("series for the plots", series),
];

/// Measures every part, or those whose name contains `only`.
///
/// # Errors
/// A server does not start, or what it should do cannot be asked of it.
pub fn run(setup: &Setup, only: &str, say: &dyn Fn(&str)) -> io::Result<Results> {
    let mut results = Results::default();
    for (name, part) in PARTS.iter().filter(|(name, _)| name.contains(only)) {
        say(name);
        part(setup, &mut results)?;
    }
    Ok(results)
}

/// Requests a second.
pub fn rates(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.rate).collect()
}

/// In microseconds.
pub fn p99s(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.p99_micros).collect()
}

fn of<'s>(samples: &'s Samples, name: &str) -> &'s [Sample] {
    samples.get(name).map_or(&[], Vec::as_slice)
}

/// Starts the sidecar with the many customers, on both cores: how long it takes, how much memory it
/// keeps, and how soon a change among them counts.
fn large(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies(0)?, setup.entities(setup.customers)?);
    let changing = entities.join("changing.ndjson");
    let more = 3_333.min(setup.customers);
    write_changing(&changing, setup.customers, more, 0)?;
    process::unpin(2)?;
    let port = process::free_port()?;
    let mut command = std::process::Command::new(&setup.mandate);
    command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--policies").arg(&policies).arg("--entities").arg(&entities).args(["--guardrails", "off"]);
    let server = Server::start(&mut command, port, &setup.folder.join("large.log"), Duration::from_mins(10))?;
    let mebibytes = |name| crate::http::float(server.memory(name)) / 1024.0 / 1024.0;
    let size = format!(
        "{} customers, {} entities, NDJSON",
        setup.customers,
        World { customers: setup.customers }.entities()
    );
    results.bar(
        "load, cold start to ready",
        server.ready_after.as_secs_f64(),
        " s",
        Bound::AtMost(15.0),
        &size,
    );
    std::thread::sleep(Duration::from_secs(2));
    let peak = format!("peak while loading {:.0} MiB", mebibytes("VmHWM"));
    results.bar("memory after loading", mebibytes("VmRSS"), " MiB", Bound::AtMost(1024.0), &peak);

    let shot = World { customers: u64::MAX }.questions(1, |_| setup.customers).first().map(Shot::evaluation);
    let shot = shot.ok_or_else(|| io::Error::other("no question"))?;
    let mut times = Vec::new();
    for step in 1..=11 {
        write_changing(&changing, setup.customers, more, step)?;
        let begun = Instant::now();
        let expected: &[u8] = if step % 2 == 1 { br#"{"decision":false"# } else { shot.expected };
        while !crate::load::one(port, &shot.bytes)?.starts_with(expected) {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("the change is never seen"));
            }
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let note = format!("file of {} entities among all these; median of {}", 3 * more, times.len());
    results.bar(
        "a changed consent: file complete to first answer by it",
        median(&times),
        " ms",
        Bound::AtMost(250.0),
        &note,
    );
    Ok(())
}

/// Customers beyond the world's own, in a file of their own; in odd steps the first has lost its
/// consents.
fn write_changing(file: &Path, first: u64, count: u64, step: u64) -> io::Result<()> {
    let mut text: String = (first + 1..first + count).map(|n| world::lines_of(n, false)).collect();
    text +=
        &if step % 2 == 1 { world::customer_without_consents(first) } else { world::lines_of(first, false) };
    let written = file.with_extension("new");
    fs::write(&written, text)?;
    fs::rename(written, file)
}

/// All servers up and loaded in turn.
fn throughput(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (pack, others) = (setup.policies(0)?, setup.policies(setup.policies)?);
    let few = setup.entities(FEW)?;
    let uncached = ["--cache-entries", "0"];
    let (hot, hot_many) = (questions(FEW), questions(setup.customers));
    let random = random_questions(setup.customers, 300_000.min(setup.customers));
    let mut targets = vec![
        Target::new("limit", setup.limit()?, &for_the_limit(&hot)),
        Target::new("hits", setup.mandate("hits", &pack, &few, &[])?, &hot),
        Target::new("uncached", setup.mandate("uncached", &pack, &few, &uncached)?, &hot),
        Target::new("policies", setup.mandate("policies", &others, &few, &[])?, &hot),
        Target::new("policies uncached", setup.mandate("policies uncached", &others, &few, &uncached)?, &hot),
        Target::new(
            "customers",
            setup.mandate("customers", &pack, &setup.entities(setup.customers)?, &[])?,
            &hot_many,
        ),
    ];
    for connections in [16, 64] {
        let samples = setup.measure(&targets, connections)?;
        let ratio_of = |name, by| ratio(&rates(of(&samples, name)), &rates(of(&samples, by)));
        let c = format!("{connections} connections");
        results.bar("hits, of the limit", ratio_of("hits", "limit"), "", Bound::AtLeast(0.90), &c);
        let p99 = ratio(&p99s(of(&samples, "hits")), &p99s(of(&samples, "limit")));
        results.bar("p99 of hits, of the limit's", p99, " ×", Bound::AtMost(1.2), &c);
        results.bar("cache off, of the limit", ratio_of("uncached", "limit"), "", Bound::AtLeast(0.65), &c);
        let note = format!("{} policies of the pack and {} more that cannot match; {c}", 24, setup.policies);
        results.bar(
            "many policies, of few, hits",
            ratio_of("policies", "hits"),
            "",
            Bound::AtLeast(0.90),
            &note,
        );
        results.bar(
            "many policies, of few, cache off",
            ratio_of("policies uncached", "uncached"),
            "",
            Bound::AtLeast(0.90),
            &note,
        );
        let note = format!("{} customers, of {FEW}; {c}", setup.customers);
        results.bar(
            "many customers, of few, 2,000 hot questions",
            ratio_of("customers", "hits"),
            "",
            Bound::AtLeast(0.85),
            &note,
        );
        results.samples(connections, samples);
    }
    if let Some(customers) = targets.last_mut() {
        customers.shots = random;
    }
    let samples = setup.measure(&targets, 16)?;
    let uniform = ratio(&rates(of(&samples, "customers")), &rates(of(&samples, "hits")));
    results.bar(
        "many customers, of few, random customers",
        uniform,
        "",
        Bound::AtLeast(0.6),
        "of hits among few; 16 connections",
    );
    Ok(())
}

/// Envoy's `ext_authz`, beside a tonic server that only parses.
fn over_grpc(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies(0)?, setup.entities(FEW)?);
    let limit = setup.grpc_limit()?;
    let hits = setup.mandate("grpc", &policies, &entities, &[])?;
    let misses = setup.mandate("grpc uncached", &policies, &entities, &["--cache-entries", "0"])?;
    let checks: Rc<[Check]> = World { customers: FEW }.questions(2_000, mix).iter().map(Check::of).collect();
    let any: Rc<[Check]> = checks.iter().map(Check::any_answer).collect();
    let servers = [(&limit, &any), (&hits, &checks), (&misses, &checks)];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut bad = 0;
    for round in 0..=setup.rounds {
        for ((server, checks), rates) in servers.iter().zip(&mut rates) {
            let brought = grpc::load(server.port, checks, 16, setup.round)?;
            bad += brought.wrong + brought.failed;
            // The first round only warms up.
            rates.extend((round > 0).then(|| brought.rate()));
        }
    }
    let [limit, hits, misses] = &rates;
    let note =
        format!("the bare one: {} checks a second, 16 in flight on 4 connections", number(median(limit)));
    let [hit, miss] = [hits, misses].map(|rates| ratio(rates, limit));
    results.bar("gRPC ext_authz, hits, of a bare tonic server", hit, "", Bound::AtLeast(0.85), &note);
    results.bar("gRPC ext_authz, cache off", miss, "", Bound::AtLeast(0.65), "the same");
    results.bar("wrong or failed meanwhile", crate::http::float(bad), "", Bound::AtMost(0.0), CHECKED);
    Ok(())
}

/// One batch of 1,000 questions after the other.
fn batch(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let server = setup.mandate("batch", &setup.policies(0)?, &setup.entities(FEW)?, &[])?;
    let questions = World { customers: FEW }.questions(1_000, mix);
    let bodies: Vec<String> = questions.iter().map(world::Question::body).collect();
    let body = format!("{{\"evaluations\":[{}]}}", bodies.join(","));
    let shot = Shot::post("/access/v1/evaluations", &body, br#"{"evaluations":[{"decision":true},"#);
    let target = Target { name: "batch".to_owned(), server, shots: [shot].into() };
    let samples = setup.measure(&[target], 1)?;
    let rate = median(&rates(of(&samples, "batch"))) * 1_000.0;
    results.bar(
        "decisions a second in batches of 1,000",
        rate,
        "",
        Bound::AtLeast(250_000.0),
        "one core, one connection, hits",
    );
    Ok(())
}

/// Decisions by number of policies, and one change among many entities.
fn in_process(setup: &Setup, results: &mut Results) -> io::Result<()> {
    process::pin(process::LOAD_CORE)?;
    let few = setup.entities(FEW)?;
    let questions = World { customers: FEW }.questions(2_000, mix);
    let decide = |policies: &Path| -> io::Result<f64> {
        let snapshot = inside::load(policies, &few)?;
        let requests = inside::requests(&snapshot, &questions)?;
        let all = |_| {
            for request in &requests {
                std::hint::black_box(inside::decide(&snapshot, request));
            }
        };
        Ok(inside::median_nanos(50, all) / crate::http::float(requests.len() as u64))
    };
    let (pack, others) = (decide(&setup.policies(0)?)?, decide(&setup.policies(setup.policies)?)?);
    let note = format!(
        "{pack:.0} ns with the pack's 24, {others:.0} ns with {} more; gather and decide",
        setup.policies
    );
    results.bar(
        "in-process decision with many policies, of few",
        others / pack,
        " ×",
        Bound::AtMost(1.5),
        &note,
    );

    process::unpin(2)?;
    let snapshot = inside::load(&setup.policies(0)?, &setup.entities(setup.customers)?)?;
    process::pin(process::LOAD_CORE)?;
    let changes = [true, false].map(|delegated| {
        (0..512)
            .map(|n| inside::one_change(&snapshot, mix(n) % setup.customers, delegated))
            .collect::<io::Result<Vec<_>>>()
    });
    let [one, other] = changes;
    let changes: Vec<_> = one?.into_iter().zip(other?).flat_map(<[_; 2]>::from).collect();
    let mut current = snapshot;
    let mut next = changes.iter().cycle();
    let micros = inside::median_nanos(1_024, |_| {
        if let Some(change) = next.next()
            && let Ok(snapshot) = current.apply(change)
        {
            current = snapshot;
        }
    }) / 1e3;
    let note = format!("among {} entities", current.entities().len());
    results.bar("in-process apply of one change", micros, " µs", Bound::AtMost(50.0), &note);
    Ok(())
}

/// The sidecar with the pack as it ships.
fn start(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let size = fs::metadata(&setup.mandate)?.len();
    results.bar("size of the program", crate::http::float(size) / 1e6, " MB", Bound::AtMost(25.0), "");
    let entities = setup.pack.with_file_name("entities");
    let mut times = Vec::new();
    for _ in 0..11 {
        let server = setup.mandate("start", &setup.pack, &entities, &[])?;
        times.push(server.ready_after.as_secs_f64() * 1e3);
    }
    results.bar(
        "start to ready with the sample pack",
        median(&times),
        " ms",
        Bound::AtMost(50.0),
        "one core, guardrails off; median of 11",
    );
    if process::has_solver() {
        let mut times = Vec::new();
        for _ in 0..11 {
            let server = setup.mandate("start", &setup.pack, &entities, &["--guardrails", "enforce"])?;
            times.push(server.ready_after.as_secs_f64() * 1e3);
        }
        let note = "the 16 claims of the pack; one core, shared with the solver; median of 11";
        results.bar("the same, guardrails proven first", median(&times), " ms", Bound::AtMost(1_000.0), note);
    }
    Ok(())
}

/// Throughput by policies and by customers, for the plots.
fn series(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let rounds = setup.rounds.div_ceil(2);
    let setup = &Setup { rounds, round: setup.round / 2, ..setup.clone() };
    let steps = |most: u64| (0..4).rev().map(move |n| most / 10_u64.pow(n)).filter(|n| *n > 0);
    for policies in steps(setup.policies) {
        let point = point(setup, policies, FEW)?;
        results.by_policies.push(Point { of: policies + 24, ..point });
    }
    for customers in steps(setup.customers) {
        results.by_customers.push(Point { of: customers, ..point(setup, 0, customers)? });
    }
    Ok(())
}

fn point(setup: &Setup, policies: u64, customers: u64) -> io::Result<Point> {
    let (policies, entities) = (setup.policies(policies)?, setup.entities(customers)?);
    let hot = questions(customers);
    let mut targets =
        vec![Target { name: "limit".to_owned(), server: setup.limit()?, shots: for_the_limit(&hot) }];
    for (name, options) in [("hits", &[][..]), ("uncached", &["--cache-entries", "0"])] {
        let server = setup.mandate(name, &policies, &entities, options)?;
        targets.push(Target { name: name.to_owned(), server, shots: Rc::clone(&hot) });
    }
    let samples = setup.measure(&targets, 16)?;
    let rate = |name| median(&rates(of(&samples, name)));
    Ok(Point { of: 0, limit: rate("limit"), hits: rate("hits"), uncached: rate("uncached") })
}

impl Results {
    /// A line of the table.
    pub fn bar(&mut self, what: &str, measured: f64, unit: &'static str, bound: Bound, note: &str) {
        self.bars.push(Bar { what: what.to_owned(), measured, unit, bound, note: note.to_owned() });
    }
}
