//! Times of the engine in process: deciding, gathering, applying a change, and loading, by number of policies
//! and of customers. `MANDATE_BENCH_CUSTOMERS` and `MANDATE_BENCH_POLICIES` add a larger size.

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use mandate_bench::dataset::{self, Dataset, TestQuestion, mix};
use mandate_bench::in_process::{self, Request, Snapshot};

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args().sample_size(30);
    let folder = tempfile::tempdir()?;
    let policies = |extra: u64| -> io::Result<PathBuf> {
        let policies = folder.path().join(format!("policies-{extra}"));
        dataset::write_policies(&pack(), &policies, extra)?;
        Ok(policies)
    };
    let entities = |customers: u64| -> io::Result<PathBuf> {
        let entities = folder.path().join(format!("entities-{customers}"));
        Dataset { customers }.write(&entities)?;
        Ok(entities)
    };
    for extra in sizes(&[0, 1_000], "MANDATE_BENCH_POLICIES") {
        let snapshot = in_process::load_snapshot(&policies(extra)?, &entities(1_000)?)?;
        // The pack has 24 policies of its own.
        measure_by_policies(&mut criterion, extra + 24, &snapshot)?;
    }
    for customers in sizes(&[1_000, 100_000], "MANDATE_BENCH_CUSTOMERS") {
        let snapshot = in_process::load_snapshot(&policies(0)?, &entities(customers)?)?;
        measure_by_customers(&mut criterion, customers, &snapshot)?;
    }
    measure_loading(&mut criterion, 10_000, &policies(0)?, &entities(10_000)?);
    criterion.final_summary();
    Ok(())
}

/// Loading of all policies and entities.
fn measure_loading(criterion: &mut Criterion, customers: u64, policies: &Path, entities: &Path) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10).throughput(Throughput::Elements(Dataset { customers }.entities()));
    group.bench_function(BenchmarkId::new("customers", customers), |bencher| {
        bencher
            .iter(|| in_process::load_snapshot(policies, entities).map(|snapshot| snapshot.entities().len()));
    });
    group.finish();
}

fn pack() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"))
}

/// The default sizes, and the size in an environment variable if it is set.
fn sizes(default_sizes: &[u64], variable: &str) -> Vec<u64> {
    let additional = std::env::var(variable).ok().and_then(|size| size.parse().ok());
    default_sizes.iter().copied().chain(additional).collect()
}

/// Questions about customers of the data set, and the same questions as requests.
fn questions_and_requests(
    customers: u64,
    snapshot: &Snapshot,
) -> io::Result<(Vec<TestQuestion>, Vec<Request>)> {
    let questions = Dataset { customers }.questions(2_000, mix);
    let requests = in_process::requests(snapshot, &questions)?;
    Ok((questions, requests))
}

/// Decisions without and with the cache, by number of policies.
fn measure_by_policies(criterion: &mut Criterion, count: u64, snapshot: &Snapshot) -> io::Result<()> {
    let (questions, requests) = questions_and_requests(1_000, snapshot)?;
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("decide/policies/{count}"), |bencher| {
        bencher.iter(|| next.next().map(|request| in_process::decide(snapshot, request)));
    });
    let pdp = in_process::pdp(snapshot.clone());
    let ask_pdp = |question: &TestQuestion| {
        in_process::ask_and_check(question, |question| Ok((in_process::permits(&pdp, question)?, ())))
    };
    // Puts all decisions into the cache.
    questions.iter().try_for_each(ask_pdp)?;
    let mut next = questions.iter().cycle();
    criterion.bench_function(&format!("hit/policies/{count}"), |bencher| {
        bencher.iter(|| next.next().map(ask_pdp));
    });
    Ok(())
}

/// Deciding, gathering and applying a change, by number of customers.
fn measure_by_customers(criterion: &mut Criterion, customers: u64, snapshot: &Snapshot) -> io::Result<()> {
    let (_, requests) = questions_and_requests(customers, snapshot)?;
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("decide/customers/{customers}"), |bencher| {
        bencher.iter(|| next.next().map(|request| in_process::decide(snapshot, request)));
    });
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("gather/customers/{customers}"), |bencher| {
        bencher.iter(|| next.next().map(|request| black_box(snapshot.gather(request)).look_ups().len()));
    });
    let mut n = 0;
    criterion.bench_function(&format!("apply/customers/{customers}"), |bencher| {
        let change = || {
            n += 1;
            in_process::consent_change(snapshot, mix(n) % customers, true)
        };
        let apply = |change: io::Result<_>| change.map(|change| snapshot.apply(&change));
        bencher.iter_batched(change, apply, BatchSize::SmallInput);
    });
    Ok(())
}
