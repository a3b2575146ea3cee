//! Throughput of cached and uncached decisions, compared with the limit: with few and many policies, and with
//! few and many customers.

use std::io;

use crate::dataset::FEW_CUSTOMERS;
use crate::numbers::ratio;
use crate::prepared::{evaluation_requests, random_evaluation_requests, with_any_answer};
use crate::results::{Bound, Results, Samples, p99s, rates, samples_of};
use crate::setup::{Setup, Target};

/// Loads all servers in turn, first with 16 and then with 64 connections. Finally, the server with many
/// customers gets questions about random customers.
pub fn throughput(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let mut targets = start_targets(setup)?;
    for connections in [16, 64] {
        let samples = setup.measure(&targets, connections)?;
        add_requirements(setup, results, &samples, connections);
        results.add_samples(connections, samples);
    }
    if let Some(many_customers) = targets.last_mut() {
        many_customers.requests =
            random_evaluation_requests(setup.many_customers, 300_000.min(setup.many_customers));
    }
    let samples = setup.measure(&targets, 16)?;
    let random = ratio(&rates(samples_of(&samples, "customers")), &rates(samples_of(&samples, "hits")));
    let (what, note) = ("many customers, of few, random customers", "of hits among few; 16 connections");
    results.require(what, random, "", Bound::AtLeast(0.6), note);
    Ok(())
}

/// Starts the servers. The one with many customers is the last.
fn start_targets(setup: &Setup) -> io::Result<Vec<Target>> {
    let (pack, with_extra) = (setup.policies_folder(0)?, setup.policies_folder(setup.extra_policies)?);
    let (few, many) = (setup.entities_folder(FEW_CUSTOMERS)?, setup.entities_folder(setup.many_customers)?);
    let uncached = &["--cache-entries", "0"];
    let (requests, requests_many) =
        (evaluation_requests(FEW_CUSTOMERS), evaluation_requests(setup.many_customers));
    let mut targets = vec![Target::new("limit", setup.start_limit()?, &with_any_answer(&requests))];
    let sidecars = [
        ("hits", &pack, &few, &[][..], &requests),
        ("uncached", &pack, &few, uncached, &requests),
        ("policies", &with_extra, &few, &[], &requests),
        ("policies uncached", &with_extra, &few, uncached, &requests),
        ("customers", &pack, &many, &[], &requests_many),
    ];
    for (name, policies, entities, options, requests) in sidecars {
        targets.push(Target::new(name, setup.start_mandate(name, policies, entities, options)?, requests));
    }
    Ok(targets)
}

fn add_requirements(setup: &Setup, results: &mut Results, samples: &Samples, connections: usize) {
    let ratio_of = |name, other| ratio(&rates(samples_of(samples, name)), &rates(samples_of(samples, other)));
    let connections = format!("{connections} connections");
    results.require("hits, of the limit", ratio_of("hits", "limit"), "", Bound::AtLeast(0.90), &connections);
    let p99 = ratio(&p99s(samples_of(samples, "hits")), &p99s(samples_of(samples, "limit")));
    results.require("p99 of hits, of the limit's", p99, " ×", Bound::AtMost(1.2), &connections);
    let uncached = ratio_of("uncached", "limit");
    results.require("cache off, of the limit", uncached, "", Bound::AtLeast(0.65), &connections);
    let note =
        format!("24 policies of the pack and {} more that cannot match; {connections}", setup.extra_policies);
    let hits = ratio_of("policies", "hits");
    results.require("many policies, of few, hits", hits, "", Bound::AtLeast(0.90), &note);
    let uncached = ratio_of("policies uncached", "uncached");
    results.require("many policies, of few, cache off", uncached, "", Bound::AtLeast(0.90), &note);
    let note = format!("{} customers, of {FEW_CUSTOMERS}; {connections}", setup.many_customers);
    let customers = ratio_of("customers", "hits");
    let what = "many customers, of few, 2,000 hot questions";
    results.require(what, customers, "", Bound::AtLeast(0.85), &note);
}
