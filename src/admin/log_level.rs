//! `/api/v1/log-level`: which record lines are written, for a while or until the next word.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::api::{operator_of, problem};
use super::server::Caller;
use crate::logging::{self, AUDIT, Filter};

/// The longest time after which a filter returns by itself.
const FOR_S_MAX: u64 = 7 * 24 * 3600;

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevelView {
    pub filter: String,
    pub configured: String,
    /// When the configured one comes back by itself.
    pub returns_in_s: Option<u64>,
}

/// What shall be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevelWish {
    /// `None`: what is configured.
    pub filter: Option<String>,
    #[serde(default)]
    pub for_s: Option<u64>,
}

fn view(filter: &Filter) -> Response {
    let (now, left) = filter.now();
    let returns_in_s = left.map(|left| left.as_secs());
    Json(LogLevelView { filter: now, configured: filter.configured().to_owned(), returns_in_s }).into_response()
}

fn not_ours() -> Response {
    problem(StatusCode::CONFLICT, "this process does not write a log of its own")
}

pub(super) async fn show() -> Response {
    logging::filter().map_or_else(not_ours, view)
}

pub(super) async fn change(
    ConnectInfo(Caller(from)): ConnectInfo<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wish: LogLevelWish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(why) => {
            let expected = "expected {\"filter\": \"info,lyncpin::actor=debug\", \"for_s\": 600}";
            return problem(StatusCode::BAD_REQUEST, format!("{expected}: {why}"));
        }
    };
    if wish.for_s.is_some_and(|seconds| !(1..=FOR_S_MAX).contains(&seconds)) {
        return problem(StatusCode::BAD_REQUEST, format!("expected \"for_s\" from 1 to {FOR_S_MAX}"));
    }
    let Some(filter) = logging::filter() else { return not_ours() };
    let wanted = wish.filter.as_deref().unwrap_or(filter.configured());
    let length = wish.for_s.map(Duration::from_secs).filter(|_| wish.filter.is_some());
    match filter.take(wanted, length) {
        Ok(change) => {
            let for_s = length.map(|length| length.as_secs());
            info!(target: AUDIT, operator = operator_of(&headers), peer = %from, filter = wanted, for_s, "audit: an operator changed the log level");
            if let Some(length) = length {
                tokio::spawn(async move {
                    tokio::time::sleep(length).await;
                    if filter.come_back(change) {
                        info!(target: AUDIT, filter = filter.configured(), "the log level is as configured again");
                    }
                });
            }
            view(filter)
        }
        Err(why) => problem(StatusCode::BAD_REQUEST, why.to_string()),
    }
}
