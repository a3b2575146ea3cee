//! Proofs as text: the broken claims with their counterexamples, and counterexamples as test cases.
//! `prove.rs` and `diff.rs` print them.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use mandate_analysis::claims::ClaimKind;
use mandate_analysis::counterexample::Witness;
use mandate_analysis::prove::{CheckedClaim, ClaimResult, Counterexample, describe_decision};
use mandate_core::display;
use mandate_core::schema::Schema;

/// Why a claim is not proven, with the counterexample if there is one.
pub fn describe(proof: &CheckedClaim, schema: &Schema) -> String {
    let claim = &proof.claim;
    let span = claim
        .span
        .as_ref()
        .map_or_else(String::new, |span| format!(" ({}:{})", span.source.path, span.line_column().0));
    let mut text = format!("\n{}{span}\n  {}\n", claim.id, claim.because);
    match &proof.result {
        ClaimResult::Proven => {}
        ClaimResult::Unknown(why) => {
            let _ = writeln!(text, "  Not proven: {why}");
        }
        ClaimResult::Broken(found) => {
            let _ = writeln!(text, "  {}", sentence(found));
            text += &witness(&found.witness, schema);
        }
    }
    text
}

/// What the counterexample shows, in a sentence.
fn sentence(found: &Counterexample) -> String {
    let Some(decision) = &found.decision else {
        return "Broken according to the solver, but these entities may violate the loading rules:"
            .to_owned();
    };
    match &found.counterfactual {
        None if decision.errors.is_empty() => format!("This request is {}:", describe_decision(decision)),
        None => format!("On this request {}:", describe_decision(decision)),
        Some((value, counterfactual)) => format!(
            "This request is {}, but {} if the attribute is {value} everywhere:",
            describe_decision(decision),
            describe_decision(counterfactual)
        ),
    }
}

/// A request and its entities, indented.
pub fn witness(witness: &Witness, schema: &Schema) -> String {
    let request = &witness.request;
    let mut text = String::new();
    let parts = [
        ("principal", display::uid(request.principal.as_uid_ref(), schema)),
        ("action", display::action(request.action, schema)),
        ("resource", display::uid(request.resource.as_uid_ref(), schema)),
        ("context", display::record(&request.context, schema)),
    ];
    for (part, value) in parts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "    {part:9}  {value}");
    }
    for (n, entity) in witness.entities.values().enumerate() {
        let label = if n == 0 { "entities" } else { "" };
        let _ = writeln!(text, "    {label:9}  {}", display::entity(entity, schema));
    }
    text
}

/// The counterexamples as a test suite; each case fails until its claim holds.
pub fn as_suite(proofs: &[CheckedClaim], schema: &Schema) -> String {
    let mut text = String::from("cases:\n");
    let mut none = true;
    for proof in proofs {
        let ClaimResult::Broken(found) = &proof.result else { continue };
        // A suite can only hold entities that can be loaded, and cannot expect a policy not to error.
        if found.decision.is_none() || proof.claim.kind == ClaimKind::NeverErrors {
            let _ = writeln!(
                text,
                "  # the counterexample of {} cannot be written as a test case; see `mandate prove`",
                proof.claim.id
            );
            continue;
        }
        none = false;
        let expect = if proof.claim.kind == ClaimKind::Floor { "permit" } else { "deny" };
        text += &case(&proof.claim.id, &proof.claim.because, &found.witness, expect, schema);
    }
    if none { text.replacen("cases:\n", "cases: []\n", 1) } else { text }
}

/// A request with its entities as a test case.
pub fn case(name: &str, why: &str, witness: &Witness, expect: &str, schema: &Schema) -> String {
    let request = &witness.request;
    let text = |text: &str| json!(text).to_string();
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut case = format!("  # {why}\n  - name: {}\n", text(name));
    let _ = writeln!(case, "    principal: {}", text(&display::uid(request.principal.as_uid_ref(), schema)));
    let _ = writeln!(case, "    action: {}", text(&display::action(request.action, schema)));
    let _ = writeln!(case, "    resource: {}", text(&display::uid(request.resource.as_uid_ref(), schema)));
    let context: Json = display::request_json(&request.context, schema);
    if context.as_object().is_some_and(|context| !context.is_empty()) {
        let _ = writeln!(case, "    context: {context}");
    }
    let _ = writeln!(case, "    given:");
    for entity in witness.entities.values() {
        let _ = writeln!(case, "      - add: {}", display::entity_json(entity, schema));
    }
    let _ = writeln!(case, "    expect: {expect}");
    case
}
