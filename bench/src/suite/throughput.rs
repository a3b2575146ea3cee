//! Requests a second of hits and misses, by policies and by customers, beside the limit.

use std::io;

use crate::numbers::ratio;
use crate::results::{Bound, Results, Samples, of, p99s, rates};
use crate::setup::{Setup, Target};
use crate::shot::{for_the_limit, questions, random_questions};
use crate::world::FEW;

/// All servers up and loaded in turn.
pub fn throughput(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let mut targets = targets(setup)?;
    for connections in [16, 64] {
        let samples = setup.measure(&targets, connections)?;
        bars(setup, results, &samples, connections);
        results.samples(connections, samples);
    }
    if let Some(customers) = targets.last_mut() {
        customers.shots = random_questions(setup.customers, 300_000.min(setup.customers));
    }
    let samples = setup.measure(&targets, 16)?;
    let random = ratio(&rates(of(&samples, "customers")), &rates(of(&samples, "hits")));
    let (what, note) = ("many customers, of few, random customers", "of hits among few; 16 connections");
    results.bar(what, random, "", Bound::AtLeast(0.6), note);
    Ok(())
}

/// The servers; the one with the many customers is the last.
fn targets(setup: &Setup) -> io::Result<Vec<Target>> {
    let (pack, others) = (setup.policies(0)?, setup.policies(setup.policies)?);
    let (few, many) = (setup.entities(FEW)?, setup.entities(setup.customers)?);
    let uncached = &["--cache-entries", "0"];
    let (hot, hot_many) = (questions(FEW), questions(setup.customers));
    let mut targets = vec![Target::new("limit", setup.limit()?, &for_the_limit(&hot))];
    let sidecars = [
        ("hits", &pack, &few, &[][..], &hot),
        ("uncached", &pack, &few, uncached, &hot),
        ("policies", &others, &few, &[], &hot),
        ("policies uncached", &others, &few, uncached, &hot),
        ("customers", &pack, &many, &[], &hot_many),
    ];
    for (name, policies, entities, options, shots) in sidecars {
        targets.push(Target::new(name, setup.mandate(name, policies, entities, options)?, shots));
    }
    Ok(targets)
}

fn bars(setup: &Setup, results: &mut Results, samples: &Samples, connections: usize) {
    let ratio_of = |name, by| ratio(&rates(of(samples, name)), &rates(of(samples, by)));
    let c = format!("{connections} connections");
    results.bar("hits, of the limit", ratio_of("hits", "limit"), "", Bound::AtLeast(0.90), &c);
    let p99 = ratio(&p99s(of(samples, "hits")), &p99s(of(samples, "limit")));
    results.bar("p99 of hits, of the limit's", p99, " ×", Bound::AtMost(1.2), &c);
    results.bar("cache off, of the limit", ratio_of("uncached", "limit"), "", Bound::AtLeast(0.65), &c);
    let note = format!("24 policies of the pack and {} more that cannot match; {c}", setup.policies);
    let hits = ratio_of("policies", "hits");
    results.bar("many policies, of few, hits", hits, "", Bound::AtLeast(0.90), &note);
    let uncached = ratio_of("policies uncached", "uncached");
    results.bar("many policies, of few, cache off", uncached, "", Bound::AtLeast(0.90), &note);
    let note = format!("{} customers, of {FEW}; {c}", setup.customers);
    let customers = ratio_of("customers", "hits");
    results.bar("many customers, of few, 2,000 hot questions", customers, "", Bound::AtLeast(0.85), &note);
}
