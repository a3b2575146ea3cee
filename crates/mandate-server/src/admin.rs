//! The operators' port: liveness, readiness, status and metrics; and a port with only the first two, for health
//! probes. Decisions are served by `service`, on other listeners.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

pub use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::watch;
use tower_service::Service as _;

use crate::listen::admission::SpecialPaths;
use crate::listen::monitor::ListenerMonitor;
use crate::process_metrics;
use mandate_pdp::{Pdp, register_initial_metrics};

/// The phase of the program's life.
#[derive(Clone)]
pub enum Phase {
    /// The first snapshot is being loaded.
    Loading,
    Serving(Pdp),
    /// The program was told to stop: requests in flight end, and no new ones should come.
    Stopping(Pdp),
}

impl Phase {
    /// Why no requests should be sent here now; `None` if they should.
    fn why_not_ready(&self) -> Option<String> {
        match self {
            Self::Loading => Some("loading".to_owned()),
            Self::Serving(pdp) => {
                let (stale, restored) = (pdp.not_ready_because_stale(), pdp.not_ready_because_restored());
                if !stale.is_empty() {
                    return Some(format!("stale: {} may be out of date", stale.join(" and ")));
                }
                (!restored.is_empty())
                    .then(|| format!("restored: copies of {} are in use", restored.join(" and ")))
            }
            Self::Stopping(_) => Some("stopping".to_owned()),
        }
    }
}

type PhaseReceiver = watch::Receiver<Phase>;

/// Health probes are unauthenticated.
pub const SPECIAL_PATHS: SpecialPaths =
    SpecialPaths { unauthenticated: &["/livez", "/readyz"], grpc_prefix: "" };

/// The state behind the operators' port.
#[derive(Clone)]
struct AdminState {
    phases: PhaseReceiver,
    monitor: Arc<ListenerMonitor>,
    /// The port opens when the process starts.
    started: SystemTime,
}

impl FromRef<AdminState> for PhaseReceiver {
    fn from_ref(state: &AdminState) -> Self {
        state.phases.clone()
    }
}

/// The routes of the operators' port.
///
/// The paths of the store are served once `store` is set.
pub fn router(phases: PhaseReceiver, monitor: Arc<ListenerMonitor>, store: Arc<OnceLock<Router>>) -> Router {
    probes()
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/store/{*path}", any(async move |request: Request| serve_store(store.get(), request).await))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "no such path: use /livez, /readyz, /status, /metrics or /store/v1/\n")
        })
        .with_state(AdminState { phases, monitor, started: SystemTime::now() })
}

async fn serve_store(store: Option<&Router>, request: Request) -> Response {
    match store {
        Some(store) => store.clone().call(request).await.into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no store is served: start with `--store`, or wait until it is loaded\n",
        )
            .into_response(),
    }
}

/// The routes of the port of health probes.
pub fn health_router(phases: PhaseReceiver) -> Router {
    probes()
        .fallback(async || (StatusCode::NOT_FOUND, "no such path: use /livez or /readyz\n"))
        .with_state(phases)
}

fn probes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    PhaseReceiver: FromRef<S>,
{
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(readyz))
}

async fn readyz(State(phases): State<PhaseReceiver>) -> Response {
    match phases.borrow().why_not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn status(State(state): State<AdminState>) -> Response {
    let (phase, pdp) = current_phase(&state.phases);
    let ready = state.phases.borrow().why_not_ready().is_none();
    let mut body = json!({ "phase": phase, "ready": ready, "listeners": state.monitor.status() });
    let status = pdp.and_then(|pdp| serde_json::to_value(pdp.status()).ok());
    if let (Some(body), Some(serde_json::Value::Object(status))) = (body.as_object_mut(), status) {
        body.extend(status);
    }
    ([(CONTENT_TYPE, "application/json")], format!("{body:#}\n")).into_response()
}

/// Encodes all metrics from one registry, which is made for each scrape. Registering copies the handles of
/// the metrics, not their values.
async fn metrics(State(state): State<AdminState>) -> Response {
    let (_, pdp) = current_phase(&state.phases);
    let mut all = Registry::default();
    process_metrics::register(&mut all, state.started);
    let registry = all.sub_registry_with_prefix("mandate");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program", build);
    let ready = ConstGauge::new(i64::from(state.phases.borrow().why_not_ready().is_none()));
    registry.register("ready", "Whether decisions are served", ready);
    state.monitor.register_metrics(registry);
    match pdp {
        Some(pdp) => pdp.register_metrics(registry),
        None => register_initial_metrics(registry),
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &all);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

fn current_phase(phases: &PhaseReceiver) -> (&'static str, Option<Pdp>) {
    match &*phases.borrow() {
        Phase::Loading => ("loading", None),
        Phase::Serving(pdp) => ("serving", Some(pdp.clone())),
        Phase::Stopping(pdp) => ("stopping", Some(pdp.clone())),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn metrics_end_once() {
        let (_phase, phases) = watch::channel(Phase::Loading);
        let state =
            AdminState { phases, monitor: ListenerMonitor::new(Vec::new()), started: SystemTime::now() };
        let body = metrics(State(state)).await.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        for line in [
            "# HELP mandate_ready Whether decisions are served.\n# TYPE mandate_ready gauge\nmandate_ready 0\n",
            "mandate_rejected_total{reason=\"overload\"} 0\n",
            "mandate_handshake_failures_total 0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
