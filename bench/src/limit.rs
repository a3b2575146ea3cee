//! The limit over HTTP: a bare axum server that parses the same body into a typed struct and answers a
//! constant. The difference between Mandate and the limit is the cost of deciding.

use axum::Json;
use axum::response::IntoResponse;
use axum::routing::post;
use serde::Deserialize;

/// One `AuthZEN` evaluation.
#[derive(Debug, Deserialize)]
pub struct Evaluation {
    pub subject: Entity,
    pub action: Action,
    pub resource: Entity,
    pub context: Context,
}

#[derive(Debug, Deserialize)]
pub struct Entity {
    #[serde(rename = "type")]
    pub entity_type: String,
    pub id: String,
}

#[derive(Debug, Deserialize)]
pub struct Action {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Context {
    pub channel: String,
}

/// A batch of `AuthZEN` evaluations.
#[derive(Debug, Deserialize)]
pub struct Evaluations {
    pub evaluations: Vec<Evaluation>,
}

/// Serves until the process ends.
pub async fn serve(address: &str) -> std::io::Result<()> {
    let app = axum::Router::new()
        .route("/access/v1/evaluation", post(answer))
        .route("/access/v1/evaluations", post(answer_batch));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        app,
    )
    .await
}

async fn answer(Json(evaluation): Json<Evaluation>) -> impl IntoResponse {
    std::hint::black_box(evaluation);
    ([("content-type", "application/json")], r#"{"decision":true}"#)
}

async fn answer_batch(Json(Evaluations { evaluations }): Json<Evaluations>) -> impl IntoResponse {
    let count = evaluations.len();
    std::hint::black_box(evaluations);
    let decisions = vec![r#"{"decision":true}"#; count].join(",");
    ([("content-type", "application/json")], format!(r#"{{"evaluations":[{decisions}]}}"#))
}
