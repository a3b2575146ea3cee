//! The points of the plots: throughput by number of policies and by number of customers.

use std::io;

use crate::dataset::FEW_CUSTOMERS;
use crate::numbers::median;
use crate::prepared::{evaluation_requests, with_any_answer};
use crate::results::{Point, Results, rates, samples_of};
use crate::setup::{Setup, Target};

/// Measures throughput for sizes that grow tenfold. The rounds are fewer and shorter than those of the
/// tables.
pub fn series(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let rounds = setup.rounds.div_ceil(2);
    let setup = &Setup { rounds, round_length: setup.round_length / 2, ..setup.clone() };
    let sizes = |largest: u64| (0..4).rev().map(move |n| largest / 10_u64.pow(n)).filter(|size| *size > 0);
    for policies in sizes(setup.extra_policies) {
        // The pack has 24 policies of its own.
        let size = policies + 24;
        results.by_policies.push(measure_point(setup, size, policies, FEW_CUSTOMERS)?);
    }
    for customers in sizes(setup.many_customers) {
        results.by_customers.push(measure_point(setup, customers, 0, customers)?);
    }
    Ok(())
}

fn measure_point(setup: &Setup, size: u64, extra_policies: u64, customers: u64) -> io::Result<Point> {
    let (policies, entities) = (setup.policies_folder(extra_policies)?, setup.entities_folder(customers)?);
    let hot = evaluation_requests(customers);
    let mut targets = vec![Target::new("limit", setup.start_limit()?, &with_any_answer(&hot))];
    for (name, options) in [("hits", &[][..]), ("uncached", &["--cache-entries", "0"])] {
        let server = setup.start_mandate(name, &policies, &entities, options)?;
        targets.push(Target::new(name, server, &hot));
    }
    let samples = setup.measure(&targets, 16)?;
    let rate = |name| median(&rates(samples_of(&samples, name)));
    Ok(Point { size, limit: rate("limit"), hits: rate("hits"), uncached: rate("uncached") })
}
