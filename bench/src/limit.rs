//! The limit: a bare axum server that parses the same body into a typed struct and answers a
//! constant. What a decision costs beside it is what Mandate costs.

use axum::Json;
use axum::response::IntoResponse;
use axum::routing::post;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Evaluation {
    pub subject: Named,
    pub action: Action,
    pub resource: Named,
    pub context: Context,
}

#[derive(Debug, Deserialize)]
pub struct Named {
    #[serde(rename = "type")]
    pub kind: String,
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

/// Several questions in one request.
#[derive(Debug, Deserialize)]
pub struct Evaluations {
    pub evaluations: Vec<Evaluation>,
}

/// Serves until the process is ended.
pub async fn serve(address: &str) -> std::io::Result<()> {
    let app = axum::Router::new()
        .route("/access/v1/evaluation", post(answer))
        .route("/access/v1/evaluations", post(answer_all));
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

/// The same constant for each question.
async fn answer_all(Json(Evaluations { evaluations }): Json<Evaluations>) -> impl IntoResponse {
    let count = evaluations.len();
    std::hint::black_box(evaluations);
    let decisions = vec![r#"{"decision":true}"#; count].join(",");
    ([("content-type", "application/json")], format!(r#"{{"evaluations":[{decisions}]}}"#))
}
