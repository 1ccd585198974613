//! Cuts a byte stream into messages by Content-Length (RFC 3261 §18.3), with limits.

use bytes::BytesMut;

use super::Message;

/// What the stream held next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Message(Box<Message>),
    /// A double CRLF between messages (RFC 5626 §3.5.1 ping): the flow answers a single CRLF.
    Ping,
}

/// Limits of one flow; every one is named in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub head_bytes_max: usize,
    pub headers_max: usize,
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 32 * 1024, headers_max: 256, body_bytes_max: 64 * 1024 }
    }
}

/// Why the stream cannot go on, or one message cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("placeholder")]
    Placeholder,
}

/// Bytes in, frames out; holds no bytes while idle.
#[derive(Debug, Default)]
pub struct Framer {
    _limits: Limits,
    _buffer: BytesMut,
}

impl Framer {
    pub fn new(limits: Limits) -> Self {
        Self { _limits: limits, _buffer: BytesMut::new() }
    }

    /// Takes received bytes.
    pub fn push(&mut self, _bytes: &[u8]) {}

    /// The next frame, if a whole one is there. After an `Err` the flow is closed; `FrameError::reply` holds the 400 to send first, if one can be made.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        Ok(None)
    }

    /// Whether a message has begun and is not complete: the flow's header time-out runs.
    pub fn is_mid_message(&self) -> bool {
        false
    }
}
