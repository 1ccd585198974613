//! Routes: what may be asked, by whom, and in which form it is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::desk::{Act, Desk, NotDone};
use super::journal::Journal;
use super::keeper::{Keeper, Verdict};
use super::log_level;
use super::metrics::Scrape;
use super::openapi;
use super::page;
use super::server::Caller;
use super::stream;
use super::trace;
use super::view::{Done, SessionView};
use crate::logging::AUDIT;

/// Of a request; a backup to be restored may have more.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BACKUP_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Sessions of one answer.
const SESSIONS_MAX: usize = 10_000;
/// A changing request carries it: a foreign page in the operator's browser cannot set it without asking first.
pub const OPERATOR_HEADER: &str = "lyncpin-operator";

pub struct Door {
    pub(super) desk: Arc<dyn Desk>,
    keeper: Keeper,
    journal: Arc<Journal>,
}

impl Door {
    pub fn new(desk: Arc<dyn Desk>, keeper: Keeper, journal: Arc<Journal>) -> Self {
        Self { desk, keeper, journal }
    }
}

pub(super) type Shared = State<Arc<Door>>;

pub fn routes(door: Arc<Door>) -> Router {
    let open = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz));
    let kept = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/node", get(node))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/links", get(links))
        .route("/api/v1/refusals", get(refusals))
        .route("/api/v1/events", get(events))
        .route("/api/v1/drain", post(drain).delete(undrain))
        .route("/api/v1/switchover", post(switchover))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/feature-level", post(raise))
        .route("/api/v1/voters", post(add_voter))
        .route("/api/v1/voters/{id}", delete(remove_voter))
        .route("/api/v1/backup", get(backup))
        .route("/api/v1/trace", post(trace::begin))
        .route("/api/v1/log-level", get(log_level::show).put(log_level::change))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route("/api/v1/restore", post(restore).layer(DefaultBodyLimit::max(BACKUP_BYTES_MAX)))
        .layer(middleware::from_fn_with_state(door.clone(), guard));
    open.merge(page::routes()).merge(openapi::routes()).merge(kept).fallback(unknown).with_state(door)
}

/// An answer that is not what was asked for, in words.
#[derive(Debug, Serialize)]
struct Problem {
    error: String,
}

pub(super) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Problem { error: error.into() })).into_response()
}

async fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such address here; the API is under /api/v1")
}

/// Token, lock-out, and what a foreign page must not do.
async fn guard(
    State(door): Shared,
    ConnectInfo(Caller(from)): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match door.keeper.judge(from.ip(), authorization, Instant::now()) {
        Verdict::Welcome => {}
        Verdict::Unknown => {
            let mut refused = problem(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            let ask = HeaderValue::from_static("Basic realm=\"Lyncpin\", charset=\"UTF-8\"");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            return refused;
        }
        Verdict::LockedOut => {
            info!(peer = %from, "locked out of the operator's door for a minute: too many wrong tokens");
            return problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again in a minute");
        }
    }
    if !door.keeper.has_secret() && !is_local_name(headers) {
        return problem(StatusCode::FORBIDDEN, "without a token this door answers to localhost and addresses only");
    }
    let is_changing = !request.method().is_safe();
    if is_changing && !headers.contains_key(OPERATOR_HEADER) {
        let why =
            format!("a request that changes something carries the header {OPERATOR_HEADER} with the operator's name");
        return problem(StatusCode::FORBIDDEN, why);
    }
    let said = is_changing.then(|| (operator_of(headers), format!("{} {}", request.method(), request.uri().path())));
    let response = next.run(request).await;
    if let Some((operator, what)) = said {
        info!(target: AUDIT, operator, peer = %from, what, status = response.status().as_u16(), "audit: an operator changed something");
    }
    response
}

/// Who says that they are at it.
pub(super) fn operator_of(headers: &HeaderMap) -> String {
    let operator = headers.get(OPERATOR_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    operator.chars().take(64).collect()
}

/// A name that an attacker's DNS could point here is not answered.
fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn readyz(State(door): Shared) -> Response {
    match door.desk.readiness().await {
        Ok(()) => "ready\n".into_response(),
        Err(reasons) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; "))).into_response()
        }
    }
}

async fn metrics(State(door): Shared) -> Response {
    let scrape = Scrape {
        node: door.desk.node(),
        cluster: door.desk.cluster().await,
        links: door.desk.links().await,
        counters: door.desk.counters(),
        figures: door.desk.figures(),
        is_ready: door.desk.readiness().await.is_ok(),
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], scrape.text()).into_response()
}

async fn node(State(door): Shared) -> Response {
    Json(door.desk.node()).into_response()
}

async fn cluster(State(door): Shared) -> Response {
    match door.desk.cluster().await {
        Some(cluster) => Json(cluster).into_response(),
        None => problem(StatusCode::NOT_FOUND, "this node is alone: its configuration names no [[cluster.voter]]"),
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    like: String,
    max: Option<usize>,
}

#[derive(Serialize)]
struct Sessions {
    total: usize,
    sessions: Vec<SessionView>,
}

async fn sessions(State(door): Shared, Query(wanted): Query<Wanted>) -> Response {
    let max = wanted.max.unwrap_or(1_000).min(SESSIONS_MAX);
    let (sessions, total) = door.desk.sessions(&wanted.like, max);
    Json(Sessions { total, sessions }).into_response()
}

async fn links(State(door): Shared) -> Response {
    Json(door.desk.links().await).into_response()
}

async fn refusals(State(door): Shared) -> Response {
    Json(door.desk.refusals()).into_response()
}

async fn events(State(door): Shared, headers: HeaderMap) -> Response {
    stream::events(&door.desk, &door.journal, &headers)
        .unwrap_or_else(|why| stream::full(problem(StatusCode::SERVICE_UNAVAILABLE, why)))
}

fn answer(outcome: Result<Done, NotDone>) -> Response {
    match outcome {
        Ok(done) => Json(done).into_response(),
        Err(NotDone::Refused(why)) => problem(StatusCode::CONFLICT, why),
        Err(NotDone::Failed(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn drain(State(door): Shared) -> Response {
    answer(door.desk.act(Act::Drain).await)
}

async fn undrain(State(door): Shared) -> Response {
    answer(door.desk.act(Act::Undrain).await)
}

async fn switchover(State(door): Shared) -> Response {
    answer(door.desk.act(Act::Switchover).await)
}

async fn reload(State(door): Shared) -> Response {
    answer(door.desk.act(Act::Reload).await)
}

async fn raise(State(door): Shared) -> Response {
    answer(door.desk.act(Act::RaiseFeatureLevel).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVoter {
    id: u64,
    address: String,
    #[serde(default)]
    is_witness: bool,
}

async fn add_voter(State(door): Shared, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(NewVoter { id, address, is_witness }) => {
            answer(door.desk.act(Act::AddVoter { id, address, is_witness }).await)
        }
        Err(why) => {
            let expected = "expected {\"id\": 4, \"address\": \"host:port\", \"is_witness\": false}";
            problem(StatusCode::BAD_REQUEST, format!("{expected}: {why}"))
        }
    }
}

async fn remove_voter(State(door): Shared, Path(id): Path<u64>) -> Response {
    answer(door.desk.act(Act::RemoveVoter { id }).await)
}

async fn backup(State(door): Shared) -> Response {
    match door.desk.backup().await {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
        Err(why) => answer(Err(why)),
    }
}

async fn restore(State(door): Shared, body: Bytes) -> Response {
    answer(door.desk.act(Act::Restore { bytes: body.to_vec() }).await)
}
