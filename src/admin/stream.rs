//! `GET /api/v1/events`: the journal as server-sent events (WHATWG HTML, server-sent events).

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::desk::Desk;
use super::event::Event;
use super::journal::Journal;

const LAST_EVENT_ID: &str = "last-event-id";

/// Err: why not, in words.
pub fn events(desk: &Arc<dyn Desk>, journal: &Journal, headers: &HeaderMap) -> Result<Response, String> {
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let node = desk.node();
    let hello = Event::Hello { node: node.name, version: node.version };
    let stream = journal.read(last, &hello).map_err(|why| why.to_string())?;
    let mut response = Body::from_stream(stream.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx and its kin would gather it otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// 503, and when it may work.
pub fn full(mut refused: Response) -> Response {
    *refused.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    refused
}
