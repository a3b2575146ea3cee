//! Throughput of Envoy's `ext_authz` checks over gRPC, compared with the limit over gRPC.

use std::io;
use std::rc::Rc;

use crate::dataset::{Dataset, FEW_CUSTOMERS, mix};
use crate::gateway::GatewayRequest;
use crate::grpc::{self, Check};
use crate::numbers::{float, median, number, ratio};
use crate::results::{Bound, Results};
use crate::setup::Setup;

/// Compares cached and uncached checks with the limit.
pub fn over_grpc(setup: &Setup, results: &mut Results) -> io::Result<()> {
    let (policies, entities) = (setup.policies_folder(0)?, setup.entities_folder(FEW_CUSTOMERS)?);
    let limit = setup.start_grpc_limit()?;
    let hits = setup.start_mandate("grpc", &policies, &entities, &[])?;
    let misses = setup.start_mandate("grpc uncached", &policies, &entities, &["--cache-entries", "0"])?;
    let questions = Dataset { customers: FEW_CUSTOMERS }.questions(2_000, mix);
    let checks: Rc<[Check]> =
        questions.iter().map(GatewayRequest::by_single_route).map(|request| Check::new(&request)).collect();
    let limit_checks: Rc<[Check]> = checks.iter().map(Check::with_any_answer).collect();
    let servers = [(&limit, &limit_checks), (&hits, &checks), (&misses, &checks)];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut wrong_or_failed = 0;
    for round in 0..=setup.rounds {
        for ((server, checks), rates) in servers.iter().zip(&mut rates) {
            let result = grpc::load(server.port, checks, 16, setup.round_length)?;
            wrong_or_failed += result.wrong + result.failed;
            // Round 0 is the warm-up.
            if round > 0 {
                rates.push(result.rate());
            }
        }
    }
    let [limit, hits, misses] = &rates;
    let note =
        format!("the bare one: {} checks a second, 16 in flight on 4 connections", number(median(limit)));
    let [hit, miss] = [hits, misses].map(|rates| ratio(rates, limit));
    results.require("gRPC ext_authz, hits, of a bare tonic server", hit, "", Bound::AtLeast(0.85), &note);
    results.require("gRPC ext_authz, cache off", miss, "", Bound::AtLeast(0.65), "the same");
    results.require_correct_answers(float(wrong_or_failed));
    Ok(())
}
