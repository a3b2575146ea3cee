//! Checks a second over gRPC, as Envoy asks, beside a tonic server that only parses.

use std::io;
use std::rc::Rc;

use crate::gateway::GatewayRequest;
use crate::grpc::{self, Check};
use crate::numbers::{float, median, number, ratio};
use crate::results::{Bound, CHECKED, Results};
use crate::setup::Setup;
use crate::world::{FEW, World, mix};

/// Envoy's `ext_authz`, beside a tonic server that only parses.
pub fn over_grpc(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies(0)?, setup.entities(FEW)?);
    let limit = setup.grpc_limit()?;
    let hits = setup.mandate("grpc", &policies, &entities, &[])?;
    let misses = setup.mandate("grpc uncached", &policies, &entities, &["--cache-entries", "0"])?;
    let questions = World { customers: FEW }.questions(2_000, mix);
    let checks: Rc<[Check]> =
        questions.iter().map(GatewayRequest::one_route).map(|request| Check::of(&request)).collect();
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
    results.bar("wrong or failed meanwhile", float(bad), "", Bound::AtMost(0.0), CHECKED);
    Ok(())
}
