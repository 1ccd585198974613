//! `POST /api/v1/trace`: what one user says and hears, as it happens, one JSON object a line.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::timeout;
use tracing::info;

use super::api::{Shared, operator_of, problem};
use super::desk::{NotDone, TRACE_S_MAX, TraceWish};
use super::server::Caller;
use crate::logging::AUDIT;
use crate::trace::Tracing;

/// An empty line is said in so long a silence, which finds out whether anybody still listens.
const SILENCE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn begin(
    State(door): Shared,
    ConnectInfo(Caller(from)): ConnectInfo<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wish: TraceWish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(why) => {
            let expected = "expected {\"who\": \"alice@contoso.com\", \"shows_numbers\": false, \"for_s\": 600}";
            return problem(StatusCode::BAD_REQUEST, format!("{expected}: {why}"));
        }
    };
    if wish.who.trim().is_empty() || !(1..=TRACE_S_MAX).contains(&wish.for_s) {
        let expected = format!("expected whom to follow in \"who\", and \"for_s\" from 1 to {TRACE_S_MAX}");
        return problem(StatusCode::BAD_REQUEST, expected);
    }
    let operator = operator_of(&headers);
    let TraceWish { who, shows_numbers, for_s } = wish.clone();
    match door.desk.trace(wish) {
        Ok(tracing) => {
            info!(target: AUDIT, operator, peer = %from, user = %who, shows_numbers, for_s, "audit: an operator follows a user");
            let kind = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
            (kind, Body::from_stream(stream::unfold(tracing, next))).into_response()
        }
        Err(NotDone::Refused(why)) => problem(StatusCode::CONFLICT, why),
        Err(NotDone::Failed(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn next(mut tracing: Tracing) -> Option<(Result<Bytes, Infallible>, Tracing)> {
    let line = match timeout(SILENCE_MAX, tracing.next()).await {
        Ok(line) => {
            // Err: never, every field can be written.
            let mut line = serde_json::to_vec(&line?).unwrap_or_default();
            line.push(b'\n');
            line
        }
        Err(_) => b"\n".to_vec(),
    };
    Some((Ok(line.into()), tracing))
}
