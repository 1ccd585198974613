//! One connection's task: bytes to messages and back, over any stream.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use crate::sip::Message;
use crate::sip::stream::{Frame, Framer, Limits};

/// Bytes taken at one read; the buffer lives on the stack only while reading, so an idle flow holds none.
const READ_BYTES: usize = 8 * 1024;
/// With more than this unsent, nothing is read or taken from the queue: the far side is slow.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// Why a flow ended.
#[derive(Debug, thiserror::Error)]
pub enum FlowEnd {
    #[error("the gateway closed the connection")]
    ClosedByGateway,
    #[error("closed on this side")]
    ClosedHere,
    #[error("connection: {0}")]
    Broken(#[from] io::Error),
    #[error("the gateway's bytes are not SIP: {0}")]
    NotSip(#[from] crate::sip::stream::FrameError),
}

/// What a message that came in asks of its flow.
#[derive(Default)]
pub(super) struct Replies {
    pub messages: Vec<Message>,
    /// NEGOTIATE has been answered: the queue may go.
    pub opens_queue: bool,
}

pub(super) struct Flow<S> {
    stream: S,
    queue: mpsc::Receiver<Bytes>,
    framer: Framer,
    unsent: BytesMut,
    is_held: bool,
    is_closing: bool,
    must_flush: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Flow<S> {
    /// `first` is sent at once; with `is_held` the queue waits until a reply opens it.
    pub fn new(stream: S, queue: mpsc::Receiver<Bytes>, limits: Limits, first: Bytes, is_held: bool) -> Self {
        Self {
            stream,
            queue,
            framer: Framer::new(limits),
            unsent: BytesMut::from(&first[..]),
            is_held,
            is_closing: false,
            must_flush: false,
        }
    }

    /// Carries until either side closes; then the queue is closed and what was in it is lost. `receive` gets every
    /// message, `None` for one that is malformed.
    pub async fn carry(mut self, mut receive: impl FnMut(Option<Message>) -> Replies) -> FlowEnd {
        poll_fn(|cx| self.poll(cx, &mut receive)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, receive: &mut impl FnMut(Option<Message>) -> Replies) -> Poll<FlowEnd> {
        loop {
            let moved = match self.poll_once(cx, receive) {
                Ok(moved) => moved,
                Err(end) => return Poll::Ready(end),
            };
            if !moved {
                if self.unsent.is_empty() {
                    self.unsent = BytesMut::new();
                }
                return Poll::Pending;
            }
        }
    }

    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut impl FnMut(Option<Message>) -> Replies,
    ) -> Result<bool, FlowEnd> {
        let mut moved = false;
        if !self.is_held && !self.is_closing && self.unsent.len() < UNSENT_BYTES_MAX {
            match self.queue.poll_recv(cx) {
                Poll::Ready(Some(bytes)) => {
                    self.unsent.extend_from_slice(&bytes);
                    moved = true;
                }
                Poll::Ready(None) => self.is_closing = true,
                Poll::Pending => {}
            }
        }
        moved |= self.poll_send(cx)?;
        if self.is_closing && self.unsent.is_empty() {
            return match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(_) => Err(FlowEnd::ClosedHere),
                Poll::Pending => Ok(false),
            };
        }
        if self.unsent.len() < UNSENT_BYTES_MAX
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            if read? == 0 {
                return Err(FlowEnd::ClosedByGateway);
            }
            moved = true;
            while let Some(frame) = self.framer.next_frame()? {
                match frame {
                    Frame::Ping => self.unsent.extend_from_slice(b"\r\n"),
                    Frame::Malformed { reply, .. } => {
                        receive(None);
                        reply.iter().for_each(|m| self.unsent.extend_from_slice(&m.to_bytes()));
                    }
                    Frame::Message(message) => {
                        let replies = receive(Some(*message));
                        self.is_held &= !replies.opens_queue;
                        replies.messages.iter().for_each(|m| self.unsent.extend_from_slice(&m.to_bytes()));
                    }
                }
            }
        }
        Ok(moved)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, FlowEnd> {
        if !self.unsent.is_empty() {
            if let Poll::Ready(sent) = Pin::new(&mut self.stream).poll_write(cx, &self.unsent) {
                let sent = sent?;
                if sent == 0 {
                    return Err(FlowEnd::ClosedByGateway);
                }
                self.unsent.advance(sent);
                self.must_flush = true;
                return Ok(true);
            }
        } else if self.must_flush
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.must_flush = false;
        }
        Ok(false)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.framer.push(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }
}
