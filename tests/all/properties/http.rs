//! Properties of the decision API of a running sidecar, tested on random batches and random bodies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::config;
use crate::support::{Content, Sidecar, register};

/// A question to the pack; some do not fit the schema.
fn pack_question() -> impl Strategy<Value = Value> {
    let partners = prop::sample::select(vec![
        ("DirectBillPartner", "fabrikam"),
        ("IndirectProvider", "proseware"),
        ("IndirectReseller", "tailspin"),
        ("Oem", "trey"),
        ("Oem", "nobody"),
        ("TenantUser", "intune@contoso"),
        ("Customer", "contoso"),
        ("Nothing", "x"),
    ]);
    let customers = prop::sample::select(vec!["contoso", "northwind", "relecloud", "nobody"]);
    let channels =
        prop::sample::select(vec!["partner-center-api", "partner-center-ui", "oem-api", "intune", "fax"]);
    (partners, customers, channels)
        .prop_map(|(partner, customer, channel)| register(partner, customer, channel))
}

proptest! {
    #![proptest_config(config(25))]

    #[test]
    fn a_batch_answers_each_question_like_a_single_request(batches in prop::collection::vec(prop::collection::vec(pack_question(), 1..8), 1..6)) {
        let sidecar = Sidecar::of_pack(&[]);
        for questions in batches {
            let batch = sidecar.post("/access/v1/evaluations", json!({ "evaluations": questions }).to_string()).json();
            for (question, answer) in questions.iter().zip(batch["evaluations"].as_array().unwrap()) {
                let single = sidecar.post("/access/v1/evaluation", question.to_string());
                if single.status == 200 {
                    prop_assert_eq!(answer, &json!({ "decision": single.json()["decision"] }));
                } else {
                    let (error, id) = (json!({ "status": single.status, "message": single.body }), &answer["context"]["decision_id"]);
                    prop_assert!(id.is_string());
                    prop_assert_eq!(answer, &json!({ "decision": false, "context": { "decision_id": id, "error": error } }));
                }
            }
        }
    }
}

/// The body after one to three edits of its bytes: a byte is replaced, inserted or removed, or a part is repeated.
fn mangled(body: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let body = body.as_bytes().to_vec();
    let bytes = prop::sample::select(b"{}[]\",:x0-e\\\n \xff".to_vec());
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), bytes, 0..4_u8);
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut body = body.clone();
        for (at, other, byte, edit) in edits {
            let (at, other) = (at.index(body.len()), other.index(body.len()));
            match edit {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => drop(body.remove(at)),
                _ => {
                    let piece = body[at.min(other)..at.max(other)].to_vec();
                    body.splice(at..at, piece);
                }
            }
        }
        body
    })
}

/// The parts of a question that the decision depends on.
fn decisive_parts(question: &Value) -> [Option<&Value>; 6] {
    let paths = [
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
        "/context/channel",
    ];
    paths.map(|path| question.pointer(path))
}

/// Every body gets an answer or an error message, and only the original question is permitted.
#[test]
fn mangled_bodies_are_never_permitted_by_mistake() {
    let question = register(("DirectBillPartner", "fabrikam"), "contoso", "partner-center-api");
    let content = Content::of_pack();
    let sidecar = content.serve();
    let mut runner = proptest::test_runner::TestRunner::new(config(2_000));
    let result = runner.run(&mangled(&question.to_string()), |body| {
        let reply = sidecar.post("/access/v1/evaluation", &body);
        prop_assert!([200, 400].contains(&reply.status), "{:?}", reply);
        if reply.status == 200 && reply.json()["decision"] == json!(true) {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            // The channel `partner-center-ui` is permitted, too, but three edits cannot make it.
            prop_assert_eq!(decisive_parts(&asked), decisive_parts(&question));
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
    assert!(sidecar.permits(&question), "the sidecar still answers");
}
