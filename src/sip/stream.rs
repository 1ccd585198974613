//! Cuts a byte stream into messages by Content-Length (RFC 3261 §18.3), with limits.
//!
//! No byte is read as part of two messages, and none is read twice as something else: whenever another parser could place
//! the end of a message elsewhere, the stream is given up.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::text::{is_blank, is_token_byte};
use super::{Malformed, Message, length, parse, reason_of, reply};

/// What the stream held next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message that passed [`Message::check`].
    Message(Box<Message>),
    /// A double CRLF between messages (RFC 5626 §3.5.1 ping): the flow answers a single CRLF. A single CRLF is skipped.
    Ping,
    /// A message that cannot be used but has a known end: the flow sends the reply, if there is one, and goes on.
    Malformed { error: Malformed, reply: Option<Box<Message>> },
}

/// Limits of one flow; every one is named in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line and headers with the empty line.
    pub head_bytes_max: usize,
    pub headers_max: usize,
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 32 * 1024, headers_max: 256, body_bytes_max: 64 * 1024 }
    }
}

/// Why the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamFault {
    /// A bare CR or LF, or a folded line that could be the header's end.
    #[error("a line does not end as SIP lines do")]
    LineEnd,
    /// The first line is not SIP's: another protocol, or the peer and we no longer agree where messages begin.
    #[error("not SIP")]
    NotSip,
    #[error("the header is longer than {max} bytes")]
    HeadTooLong { max: usize },
    /// Known from the header alone: no byte of the body has been buffered.
    #[error("the body is longer than {max} bytes")]
    BodyTooLong { max: usize },
    /// Not 1*DIGIT up to 2^31 - 1, or a header that some would read as Content-Length.
    #[error("Content-Length cannot be read")]
    Length,
    #[error("two Content-Lengths that differ")]
    LengthsDiffer,
    /// A Content-Type announces a body. Without one, a missing Content-Length is taken as 0, as most servers do.
    #[error("Content-Length is missing")]
    LengthMissing,
}

impl StreamFault {
    /// What [`FrameError::reply`] answers: RFC 3261 §21.4.1, §21.4.11, §21.5.7.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLong { .. } => 513,
            Self::BodyTooLong { .. } => 413,
            _ => 400,
        }
    }
}

/// The stream cannot go on: send the reply, if there is one, and close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    pub fault: StreamFault,
    reply: Option<Box<Message>>,
}

impl FrameError {
    /// The 400, 413 or 513 to send before closing; `None` when what it must copy could not be read.
    pub fn reply(&self) -> Option<&Message> {
        self.reply.as_deref()
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for FrameError {}

/// Bytes in, frames out; holds no bytes while idle.
///
/// Call [`Framer::next_frame`] until it has nothing after every [`Framer::push`]: then what stays buffered is less than one
/// message within the limits.
#[derive(Debug, Default)]
pub struct Framer {
    limits: Limits,
    /// Begins with the first byte of a message, or is empty.
    buffer: BytesMut,
    progress: Progress,
    closed: Option<FrameError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Between messages; so many bytes of a CRLF CRLF have come and been dropped.
    Between {
        of_ping: usize,
    },
    Head(HeadScan),
    /// The head is whole, the body is not.
    Body {
        head_bytes: usize,
        body_bytes: usize,
    },
}

/// How far a head has been looked at: its whole lines end at `lines_end`, and no LF stands from there to `scanned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HeadScan {
    lines: usize,
    lines_end: usize,
    scanned: usize,
}

impl Default for Progress {
    fn default() -> Self {
        Self::Between { of_ping: 0 }
    }
}

impl Framer {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes received bytes. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.closed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame, if a whole one is there. After an `Err` the flow is closed; `FrameError::reply` holds the answer to
    /// send first, if one can be made. Asked again it says the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let result = self.advance();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        result.map_err(|fault| {
            let error = FrameError { fault, reply: self.last_words(fault) };
            self.buffer = BytesMut::new();
            self.progress = Progress::default();
            self.closed = Some(error.clone());
            error
        })
    }

    /// Whether a message has begun and is not complete: the flow's header time-out runs.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether nothing is buffered; an idle framer holds no heap memory.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of memory set aside for what is buffered: for metrics and for tests of the bound.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn advance(&mut self) -> Result<Option<Frame>, StreamFault> {
        loop {
            match self.progress {
                Progress::Between { of_ping } => match self.skip_line_ends(of_ping)? {
                    Skipped::Ping => return Ok(Some(Frame::Ping)),
                    Skipped::All => return Ok(None),
                    Skipped::ToMessage => self.progress = Progress::Head(HeadScan::default()),
                },
                Progress::Head(scan) => match self.scan_head(scan)? {
                    Some(head_bytes) => {
                        let body_bytes = length::body_bytes(&self.buffer[..head_bytes], &self.limits)?;
                        self.progress = Progress::Body { head_bytes, body_bytes };
                    }
                    None => return Ok(None),
                },
                Progress::Body { head_bytes, body_bytes } => {
                    let total = head_bytes + body_bytes;
                    if self.buffer.len() < total {
                        return Ok(None);
                    }
                    let frame = self.cut(head_bytes, body_bytes);
                    self.buffer.advance(total);
                    self.progress = Progress::default();
                    return Ok(Some(frame));
                }
            }
        }
    }

    /// Drops CRLFs between messages without keeping them; a half-arrived double CRLF is a number, not bytes.
    fn skip_line_ends(&mut self, mut of_ping: usize) -> Result<Skipped, StreamFault> {
        let mut taken = 0;
        let skipped = loop {
            let Some(&byte) = self.buffer.get(taken) else { break Skipped::All };
            if byte == b"\r\n\r\n"[of_ping] {
                taken += 1;
                of_ping += 1;
                if of_ping == 4 {
                    of_ping = 0;
                    break Skipped::Ping;
                }
            } else if of_ping % 2 == 1 || matches!(byte, b'\r' | b'\n') {
                return Err(StreamFault::LineEnd);
            } else if is_token_byte(byte) {
                break Skipped::ToMessage;
            } else {
                return Err(StreamFault::NotSip);
            }
        };
        self.buffer.advance(taken);
        self.progress = Progress::Between { of_ping };
        Ok(skipped)
    }

    /// Looks at each new line once; the head's length when its empty line has come.
    fn scan_head(&mut self, mut scan: HeadScan) -> Result<Option<usize>, StreamFault> {
        let max = self.limits.head_bytes_max;
        let mut head_bytes = None;
        let mut fault = None;
        while let Some(feed) = memchr(b'\n', &self.buffer[scan.scanned..]) {
            let end = scan.scanned + feed + 1;
            if end > max {
                break;
            }
            let line = &self.buffer[scan.lines_end..end];
            fault = line_fault(line, scan.lines);
            if fault.is_some() {
                break;
            }
            let is_last = line == b"\r\n";
            scan = HeadScan { lines: scan.lines + 1, lines_end: end, scanned: end };
            if is_last {
                head_bytes = Some(end);
                break;
            }
        }
        if head_bytes.is_none() && fault.is_none() {
            scan.scanned = self.buffer.len();
            fault = (self.buffer.len() > max).then_some(StreamFault::HeadTooLong { max });
        }
        self.progress = Progress::Head(scan);
        fault.map_or(Ok(head_bytes), Err)
    }

    fn cut(&self, head_bytes: usize, body_bytes: usize) -> Frame {
        let head = &self.buffer[..head_bytes];
        let parsed = parse::head(head, self.limits.headers_max).and_then(|(start, headers)| {
            // Copied, not shared: a message that is kept does not keep the flow's buffer.
            let body = Bytes::copy_from_slice(&self.buffer[head_bytes..head_bytes + body_bytes]);
            let message = Message { start, headers, body };
            message.headers.content_length()?;
            message.check()?;
            Ok(message)
        });
        match parsed {
            Ok(message) => Frame::Message(Box::new(message)),
            Err(error) => {
                let status = error.status();
                let reply = reply::refusal(head, status, format!("{}: {error}", reason_of(status)));
                Frame::Malformed { error, reply }
            }
        }
    }

    /// The answer before closing, from the whole lines of the head at hand.
    fn last_words(&self, fault: StreamFault) -> Option<Box<Message>> {
        let lines_end = match self.progress {
            Progress::Between { .. } => return None,
            Progress::Head(scan) => scan.lines_end,
            Progress::Body { head_bytes, .. } => head_bytes,
        };
        let status = fault.status();
        reply::refusal(&self.buffer[..lines_end], status, format!("{}: {fault}", reason_of(status)))
    }
}

enum Skipped {
    Ping,
    All,
    ToMessage,
}

/// What is wrong with a line, its LF included, that has so many lines of the head before it.
fn line_fault(line: &[u8], lines_before: usize) -> Option<StreamFault> {
    let Some(content) = line.strip_suffix(b"\r\n").filter(|content| memchr(b'\r', content).is_none()) else {
        return Some(StreamFault::LineEnd);
    };
    let is_fold = content.first().is_some_and(|byte| is_blank(*byte));
    if lines_before == 0 {
        let is_sip = content.windows(4).any(|part| part.eq_ignore_ascii_case(b"SIP/"));
        return (!is_sip).then_some(StreamFault::NotSip);
    }
    (is_fold && (lines_before == 1 || content.iter().all(|byte| is_blank(*byte)))).then_some(StreamFault::LineEnd)
}
