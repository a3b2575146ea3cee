//! Throughput by number of policies and of customers, for the plots.

use std::io;

use crate::numbers::median;
use crate::results::{Point, Results, of, rates};
use crate::setup::{Setup, Target};
use crate::shot::{for_the_limit, questions};
use crate::world::FEW;

/// Throughput by policies and by customers, for the plots.
pub fn series(setup: &Setup, results: &mut Results) -> io::Result<()> {
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
    let mut targets = vec![Target::new("limit", setup.limit()?, &for_the_limit(&hot))];
    for (name, options) in [("hits", &[][..]), ("uncached", &["--cache-entries", "0"])] {
        let server = setup.mandate(name, &policies, &entities, options)?;
        targets.push(Target::new(name, server, &hot));
    }
    let samples = setup.measure(&targets, 16)?;
    let rate = |name| median(&rates(of(&samples, name)));
    Ok(Point { of: 0, limit: rate("limit"), hits: rate("hits"), uncached: rate("uncached") })
}
