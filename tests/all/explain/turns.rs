//! Requests with explanations take turns, so that ordinary decisions find a free core.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::EVALUATIONS;
use crate::support::wire::{Connection, Version};
use crate::support::{Sidecar, register, until};

#[test]
fn decisions_do_not_wait_for_explanations() {
    const DECISIONS: usize = 20;
    let sidecar = Sidecar::of_pack(&[]);
    let question = register(("DirectBillPartner", "lucerne"), "relecloud", "partner-center-api");
    let mut batch = question.clone();
    batch["options"] = json!({ "explain": true });
    batch["evaluations"] = vec![json!({}); 50].into();
    let batch = batch.to_string();
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answered_meanwhile = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(sidecar.post(EVALUATIONS, &batch).status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut connection = Connection::open(&sidecar.decisions, Version::Http1, None).unwrap();
        until("batches are answered", || answered.load(Ordering::Relaxed) > 2);
        let before = answered.load(Ordering::Relaxed);
        let decided =
            (0..DECISIONS).all(|_| connection.ask(&question, None).is_ok_and(|it| it.status == 200));
        let meanwhile = answered.load(Ordering::Relaxed) - before;
        is_over.store(true, Ordering::Relaxed);
        assert!(decided);
        meanwhile
    });
    assert!(answered_meanwhile < DECISIONS, "{answered_meanwhile} batches during {DECISIONS} decisions");
}
