//! The operators' port: is it alive, is it ready, what does it serve, what did it count.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch;

use crate::listen::admission::SpecialPaths;
use crate::listen::monitor::ListenerMonitor;
use mandate_pdp::Pdp;

/// How far the program has come.
#[derive(Clone)]
pub enum Phase {
    /// The first snapshot is being loaded.
    Loading,
    Serving(Pdp),
    /// Told to stop: requests in flight end, and no new ones should come.
    Stopping(Pdp),
}

type PhaseReceiver = watch::Receiver<Phase>;

/// Whoever watches over the process needs no name for that.
pub const SPECIAL_PATHS: SpecialPaths =
    SpecialPaths { unauthenticated: &["/livez", "/readyz"], grpc_prefix: "" };

/// What the operators' port knows.
#[derive(Clone)]
struct AdminState {
    phases: PhaseReceiver,
    monitor: Arc<ListenerMonitor>,
}

/// The routes of the operators' port.
pub fn router(phases: PhaseReceiver, monitor: Arc<ListenerMonitor>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "no such path: use /livez, /readyz, /status or /metrics\n")
        })
        .with_state(AdminState { phases, monitor })
}

async fn readyz(State(state): State<AdminState>) -> Response {
    match &*state.phases.borrow() {
        Phase::Loading => (StatusCode::SERVICE_UNAVAILABLE, "loading\n").into_response(),
        Phase::Serving(_) => "ready\n".into_response(),
        Phase::Stopping(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn status(State(state): State<AdminState>) -> Response {
    let (phase, pdp) = current_phase(&state.phases);
    let ready = phase == "serving";
    let mut body = json!({ "phase": phase, "ready": ready, "listeners": state.monitor.status() });
    let status = pdp.and_then(|pdp| serde_json::to_value(pdp.status()).ok());
    if let (Some(body), Some(serde_json::Value::Object(status))) = (body.as_object_mut(), status) {
        body.extend(status);
    }
    ([(CONTENT_TYPE, "application/json")], format!("{body:#}\n")).into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let (phase, pdp) = current_phase(&state.phases);
    let ready = u8::from(phase == "serving");
    let ready = format!(
        "# HELP mandate_ready Whether decisions are served.\n# TYPE mandate_ready gauge\nmandate_ready {ready}\n"
    );
    let counted = pdp.map_or_else(|| "# EOF\n".to_owned(), |pdp| pdp.metrics());
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], ready + &state.monitor.metrics() + &counted).into_response()
}

fn current_phase(phases: &PhaseReceiver) -> (&'static str, Option<Pdp>) {
    match &*phases.borrow() {
        Phase::Loading => ("loading", None),
        Phase::Serving(pdp) => ("serving", Some(pdp.clone())),
        Phase::Stopping(pdp) => ("stopping", Some(pdp.clone())),
    }
}
