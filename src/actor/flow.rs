//! A flow: one connection's bytes into messages, and messages into its bytes. Both directions in one task, so that a
//! peer that stops reading never stops us from reading it, and an idle flow costs no buffers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::flows::FlowHandle;
use crate::sip::Message;
use crate::sip::stream::{Frame, Framer, Limits};
use crate::trace::Tap;

/// Bytes gathered into one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Reads in a row before other flows of the thread get their turn.
const READS_IN_A_ROW_MAX: usize = 8;
/// A message, once begun, must be complete within this time unless configured otherwise.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// A peer that takes none of our bytes for this long is gone.
const WRITE_TIMEOUT_MS: u64 = 20_000;

/// Why a flow ended; stable names for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    ClosedByPeer,
    ClosedByUs,
    Malformed,
    HeadTimeout,
    WriteTimeout,
    /// More answers waited than one peer may have waiting.
    TooSlow,
    Broken,
}

impl FlowEnd {
    pub fn name(self) -> &'static str {
        match self {
            Self::ClosedByPeer => "closed_by_peer",
            Self::ClosedByUs => "closed_by_us",
            Self::Malformed => "malformed",
            Self::HeadTimeout => "head_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
        }
    }
}

/// How a flow reads.
#[derive(Clone, Copy, Debug)]
pub struct FlowOptions {
    pub limits: Limits,
    pub head_timeout_ms: u64,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), head_timeout_ms: HEAD_TIMEOUT_MS }
    }
}

/// Carries a flow until it ends. `on_message` gets each message in order; answers go through `handle.outgoing`.
pub async fn run<S>(
    stream: S,
    handle: &FlowHandle,
    options: FlowOptions,
    tap: &Tap,
    on_message: impl FnMut(Box<Message>),
) -> FlowEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut flow = Flow {
        stream,
        handle,
        options,
        tap,
        on_message,
        framer: Framer::new(options.limits),
        writing: BytesMut::new(),
        needs_flush: false,
        ending: None,
        head_timer: None,
        write_timer: None,
    };
    let end = poll_fn(|cx| flow.poll(cx)).await;
    let _ =
        tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| Pin::new(&mut flow.stream).poll_shutdown(cx))).await;
    end
}

struct Flow<'a, S, F> {
    stream: S,
    handle: &'a FlowHandle,
    options: FlowOptions,
    tap: &'a Tap,
    on_message: F,
    framer: Framer,
    /// Taken from the queue, not yet taken by the kernel.
    writing: BytesMut,
    /// The kernel (or TLS) has bytes it was not yet told to send.
    needs_flush: bool,
    /// Set when no more is read and the flow ends after the last write.
    ending: Option<FlowEnd>,
    head_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: FnMut(Box<Message>)> Flow<'_, S, F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FlowEnd> {
        if self.ending.is_none()
            && let Poll::Ready(end) = self.poll_read(cx)
        {
            self.ending = Some(end);
            self.handle.outgoing.close();
        }
        if self.handle.outgoing.is_cut() {
            return Poll::Ready(FlowEnd::TooSlow);
        }
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(self.ending.unwrap_or(FlowEnd::ClosedByUs)),
            Poll::Ready(Err(end)) => return Poll::Ready(self.ending.unwrap_or(end)),
            Poll::Pending => {}
        }
        if self.ending == Some(FlowEnd::Broken) {
            return Poll::Ready(FlowEnd::Broken);
        }
        if let Some(timer) = &mut self.head_timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(FlowEnd::HeadTimeout);
        }
        if let Some(timer) = &mut self.write_timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(FlowEnd::WriteTimeout);
        }
        Poll::Pending
    }

    /// Reads until nothing is there; ready when the flow must end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<FlowEnd> {
        for _ in 0..READS_IN_A_ROW_MAX {
            let framer = &mut self.framer;
            let read = crate::transport::poll_read_with(&mut self.stream, cx, |bytes| {
                framer.push(bytes);
                bytes.len()
            });
            match ready!(read) {
                Ok(0) => return Poll::Ready(FlowEnd::ClosedByPeer),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Poll::Ready(FlowEnd::Broken),
            }
            if let Err(end) = self.take_frames() {
                return Poll::Ready(end);
            }
            self.watch_head();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_frames(&mut self) -> Result<(), FlowEnd> {
        loop {
            match self.framer.next_frame() {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Message(message))) => {
                    self.head_timer = None;
                    self.tap.heard(|| self.handle.ends(), &message);
                    (self.on_message)(message);
                }
                Ok(Some(Frame::Ping)) => {
                    self.handle.outgoing.push(Bytes::from_static(b"\r\n"));
                }
                Ok(Some(Frame::Malformed { reply, .. })) => {
                    self.head_timer = None;
                    if let Some(reply) = reply {
                        self.handle.outgoing.push(reply.to_bytes());
                    }
                }
                Err(error) => {
                    if let Some(reply) = error.reply() {
                        self.handle.outgoing.push(reply.to_bytes());
                    }
                    return Err(FlowEnd::Malformed);
                }
            }
        }
    }

    /// The clock of a message runs from its first byte to its last.
    fn watch_head(&mut self) {
        if !self.framer.is_mid_message() {
            self.head_timer = None;
        } else if self.head_timer.is_none() {
            self.head_timer = Some(Box::pin(sleep(Duration::from_millis(self.options.head_timeout_ms))));
        }
    }

    /// Writes until the queue is empty or the kernel is full; ready when the flow has ended.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FlowEnd>> {
        loop {
            let mut is_last = false;
            while self.writing.len() < WRITE_BYTES_MAX {
                match self.handle.outgoing.poll_next(cx) {
                    Poll::Ready(Some(message)) => {
                        self.tap.said(|| self.handle.ends(), &message);
                        self.writing.extend_from_slice(&message);
                    }
                    Poll::Ready(None) => {
                        is_last = true;
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            if self.writing.is_empty() {
                self.writing = BytesMut::new();
                if self.needs_flush {
                    match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                        Ok(()) => self.needs_flush = false,
                        Err(_) => return Poll::Ready(Err(FlowEnd::Broken)),
                    }
                }
                self.write_timer = None;
                return if is_last { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.writing) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(FlowEnd::Broken)),
                Poll::Ready(Ok(written)) => {
                    self.writing.advance(written);
                    self.needs_flush = true;
                    self.write_timer = None;
                }
                Poll::Pending => {
                    if self.write_timer.is_none() {
                        self.write_timer = Some(Box::pin(sleep(Duration::from_millis(WRITE_TIMEOUT_MS))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
