//! One SIP message: start line, headers, body (RFC 3261 §7).

use bytes::Bytes;

use super::Headers;

/// A message as it stands on the wire; printing a parsed message yields its bytes again, up to line folding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub start: StartLine,
    pub headers: Headers,
    pub body: Bytes,
}

/// Methods are any token (RFC 3261 §7.1), compared with case; the Request-URI is kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

/// Not SIP: where and what was expected. The holder of the flow answers 400 where it can, or closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("placeholder")]
    Placeholder,
}

impl Message {
    pub fn request(method: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            start: StartLine::Request { method: method.into(), uri: uri.into() },
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    pub fn response(status: u16, reason: impl Into<String>) -> Self {
        Self {
            start: StartLine::Response { status, reason: reason.into() },
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Parses one whole message (the framer has cut it out).
    pub fn parse(_bytes: &Bytes) -> Result<Self, Malformed> {
        Err(Malformed::Placeholder)
    }

    /// Prints the message. `Content-Length` is written by this function, last, from the body; a stale one in `headers` is not printed.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::new()
    }

    pub fn method(&self) -> Option<&str> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match &self.start {
            StartLine::Response { status, .. } => Some(*status),
            StartLine::Request { .. } => None,
        }
    }
}
