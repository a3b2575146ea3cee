//! The engine in process: decisions by policies and entities, gathering, changes, and loading.
//! `MANDATE_BENCH_CUSTOMERS` and `MANDATE_BENCH_POLICIES` add a larger size.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use mandate_bench::inside::{self, Request, Snapshot};
use mandate_bench::world::{self, Question, World, mix};

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args().sample_size(30);
    let folder = tempfile::tempdir()?;
    let policies = |more: u64| -> io::Result<PathBuf> {
        let policies = folder.path().join(format!("policies-{more}"));
        world::write_policies(&pack(), &policies, more)?;
        Ok(policies)
    };
    let entities = |customers: u64| -> io::Result<PathBuf> {
        let entities = folder.path().join(format!("entities-{customers}"));
        World { customers }.write(&entities)?;
        Ok(entities)
    };
    for more in sizes(&[0, 1_000], "MANDATE_BENCH_POLICIES") {
        by_policies(&mut criterion, more + 24, &inside::load(&policies(more)?, &entities(1_000)?)?)?;
    }
    for customers in sizes(&[1_000, 100_000], "MANDATE_BENCH_CUSTOMERS") {
        by_customers(&mut criterion, customers, &inside::load(&policies(0)?, &entities(customers)?)?)?;
    }
    let (policies, customers) = (policies(0)?, 10_000);
    let entities = entities(customers)?;
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10).throughput(Throughput::Elements(World { customers }.entities()));
    group.bench_function(BenchmarkId::new("customers", customers), |bencher| {
        bencher.iter(|| inside::load(&policies, &entities).map(|snapshot| snapshot.entities().len()));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn pack() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"))
}

fn sizes(usual: &[u64], more: &str) -> Vec<u64> {
    let more = std::env::var(more).ok().and_then(|size| size.parse().ok());
    usual.iter().copied().chain(more).collect()
}

fn asked(customers: u64, snapshot: &Snapshot) -> io::Result<(Vec<Question>, Vec<Request>)> {
    let questions = World { customers }.questions(2_000, mix);
    let requests = inside::requests(snapshot, &questions)?;
    Ok((questions, requests))
}

/// Gathering and deciding, and what is remembered of it, by number of policies.
fn by_policies(criterion: &mut Criterion, count: u64, snapshot: &Snapshot) -> io::Result<()> {
    let (questions, requests) = asked(1_000, snapshot)?;
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("decide/policies/{count}"), |bencher| {
        bencher.iter(|| next.next().map(|request| inside::decide(snapshot, request)));
    });
    let pdp = inside::pdp(snapshot.clone());
    let remembered =
        |question: &Question| inside::ask(question, |words| Ok((inside::permits(&pdp, words)?, ())));
    questions.iter().try_for_each(remembered)?;
    let mut next = questions.iter().cycle();
    criterion.bench_function(&format!("hit, from the words/policies/{count}"), |bencher| {
        bencher.iter(|| next.next().map(remembered));
    });
    Ok(())
}

/// Gathering, deciding and changing, by number of customers.
fn by_customers(criterion: &mut Criterion, customers: u64, snapshot: &Snapshot) -> io::Result<()> {
    let (_, requests) = asked(customers, snapshot)?;
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("decide/customers/{customers}"), |bencher| {
        bencher.iter(|| next.next().map(|request| inside::decide(snapshot, request)));
    });
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("gather/customers/{customers}"), |bencher| {
        bencher.iter(|| next.next().map(|request| black_box(snapshot.gather(request)).versions().len()));
    });
    let mut n = 0;
    criterion.bench_function(&format!("apply/customers/{customers}"), |bencher| {
        let change = || {
            n += 1;
            inside::one_change(snapshot, mix(n) % customers, true)
        };
        let apply = |change: io::Result<_>| change.map(|change| snapshot.apply(&change));
        bencher.iter_batched(change, apply, BatchSize::SmallInput);
    });
    Ok(())
}
