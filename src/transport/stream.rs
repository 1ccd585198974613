//! One flow's bytes, whatever carries them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::proxy::{FirstBytes, FirstVerdict};
use super::slot::Slot;
use super::{Counters, Refused};

/// A connected byte stream: TCP, TLS, or memory for tests. Dropping it closes it; `shutdown` first says goodbye
/// (close_notify over TLS).
#[derive(Debug)]
pub struct Stream {
    io: Io,
    _slot: Option<Slot>,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    /// Plain TCP whose first bytes have not been seen: a PROXY header here is an intruder's.
    Unproven(TcpStream, Box<Unproven>),
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
    #[cfg(feature = "legacy-tls")]
    Legacy(Box<super::legacy::LegacyStream>),
    Memory(Box<DuplexStream>),
}

#[derive(Debug)]
struct Unproven {
    first: FirstBytes,
    counters: Arc<Counters>,
}

impl Stream {
    fn of(io: Io) -> Self {
        Self { io, _slot: None }
    }

    pub(super) fn tcp(socket: TcpStream) -> Self {
        Self::of(Io::Tcp(socket))
    }

    pub(super) fn unproven(socket: TcpStream, counters: Arc<Counters>) -> Self {
        Self::of(Io::Unproven(socket, Box::new(Unproven { first: FirstBytes::default(), counters })))
    }

    pub(super) fn tls(tls: impl Into<tokio_rustls::TlsStream<TcpStream>>) -> Self {
        Self::of(Io::Tls(Box::new(tls.into())))
    }

    #[cfg(feature = "legacy-tls")]
    pub(super) fn legacy(tls: super::legacy::LegacyStream) -> Self {
        Self::of(Io::Legacy(Box::new(tls)))
    }

    /// The stream keeps its place in the listener's count for as long as it lives.
    pub(super) fn holding(mut self, slot: Slot) -> Self {
        self._slot = Some(slot);
        self
    }

    /// Two ends joined in memory, each holding at most `bytes_max` unread bytes: flows without sockets in tests.
    pub fn memory(bytes_max: usize) -> (Self, Self) {
        let (near, far) = tokio::io::duplex(bytes_max);
        (Self::of(Io::Memory(Box::new(near))), Self::of(Io::Memory(Box::new(far))))
    }

    pub fn is_secure(&self) -> bool {
        match &self.io {
            Io::Tcp(_) | Io::Unproven(..) | Io::Memory(_) => false,
            Io::Tls(_) => true,
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(_) => true,
        }
    }

    pub(super) fn socket(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Tcp(socket) | Io::Unproven(socket, _) => Some(socket),
            Io::Tls(tls) => Some(tls.get_ref().0),
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(tls) => Some(tls.get_ref()),
            Io::Memory(_) => None,
        }
    }

    /// Our end of the socket; `None` in memory or when the socket is already gone.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.socket()?.local_addr().ok()
    }

    /// The far end of the socket: a balancer's address if one stands between.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.socket()?.peer_addr().ok()
    }

    /// [`read_with`] on this stream.
    pub async fn read_with<T>(&mut self, take: impl FnMut(&[u8]) -> T) -> io::Result<T> {
        read_with(self, take).await
    }
}

const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Waits for bytes and shows them to `take`; an empty slice is the end of the stream. The bytes lie in one buffer a
/// thread, borrowed only while there is something to read, so that an idle flow holds none.
pub async fn read_with<R: AsyncRead + Unpin, T>(reader: &mut R, mut take: impl FnMut(&[u8]) -> T) -> io::Result<T> {
    poll_fn(|context| poll_read_with(reader, context, &mut take)).await
}

/// [`read_with`] for those who poll several things at once.
pub fn poll_read_with<R: AsyncRead + Unpin, T>(
    reader: &mut R,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    // Taken out rather than borrowed: a `take` that reads another flow finds an empty cell, not a panic.
    let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
    let mut buffer = ReadBuf::new(&mut scratch);
    let polled = Pin::new(reader).poll_read(context, &mut buffer);
    let outcome = polled.map_ok(|()| take(buffer.filled()));
    SCRATCH.set(Some(scratch));
    outcome
}

/// No Nagle delay, and a dead peer is noticed: after `keepalive_s` of silence the kernel asks, then every 10 s.
pub(super) fn tune(socket: &TcpStream, keepalive_s: u64) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(keepalive_s))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.io {
            Io::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Io::Unproven(socket, unproven) => {
                let before = buffer.filled().len();
                ready!(Pin::new(socket).poll_read(context, buffer))?;
                match unproven.first.look(&buffer.filled()[before..]) {
                    FirstVerdict::Undecided => {}
                    FirstVerdict::Harmless => this.settle(),
                    FirstVerdict::ProxyHeader => {
                        buffer.set_filled(before);
                        if unproven.counters.count(Refused::ProxyHeaderUnexpected) {
                            let reason = Refused::ProxyHeaderUnexpected.name();
                            tracing::warn!(peer = ?this.remote_address(), reason, "connection refused");
                        }
                        let error = io::Error::new(io::ErrorKind::InvalidData, Refused::ProxyHeaderUnexpected);
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Io::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(tls) => Pin::new(tls).poll_read(context, buffer),
            Io::Memory(memory) => Pin::new(memory).poll_read(context, buffer),
        }
    }
}

impl Stream {
    /// The first bytes were harmless; from here on nobody looks.
    fn settle(&mut self) {
        let placeholder = Io::Memory(Box::new(tokio::io::duplex(1).0));
        self.io = match std::mem::replace(&mut self.io, placeholder) {
            Io::Unproven(socket, _) => Io::Tcp(socket),
            other => other,
        };
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(socket) | Io::Unproven(socket, _) => Pin::new(socket).poll_write(context, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(tls) => Pin::new(tls).poll_write(context, bytes),
            Io::Memory(memory) => Pin::new(memory).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(socket) | Io::Unproven(socket, _) => Pin::new(socket).poll_flush(context),
            Io::Tls(tls) => Pin::new(tls).poll_flush(context),
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(tls) => Pin::new(tls).poll_flush(context),
            Io::Memory(memory) => Pin::new(memory).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(socket) | Io::Unproven(socket, _) => Pin::new(socket).poll_shutdown(context),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            #[cfg(feature = "legacy-tls")]
            Io::Legacy(tls) => Pin::new(tls).poll_shutdown(context),
            Io::Memory(memory) => Pin::new(memory).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn reading_shows_the_bytes_once_and_the_end_as_an_empty_slice() {
        let (mut near, mut far) = Stream::memory(64);
        far.write_all(b"INFO").await.unwrap();
        assert_eq!(near.read_with(<[u8]>::to_vec).await.unwrap(), b"INFO");
        drop(far);
        assert_eq!(near.read_with(<[u8]>::len).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_flow_read_while_another_shows_its_bytes_does_not_disturb_it() {
        use futures_util::FutureExt;
        let (mut near, mut far) = Stream::memory(64);
        let (mut other, mut other_far) = Stream::memory(64);
        far.write_all(b"outer").await.unwrap();
        other_far.write_all(b"inner").await.unwrap();
        let seen = near
            .read_with(|outer| {
                let inner = other.read_with(<[u8]>::to_vec).now_or_never().unwrap().unwrap();
                (outer.to_vec(), inner)
            })
            .await;
        assert_eq!(seen.unwrap(), (b"outer".to_vec(), b"inner".to_vec()));
    }

    #[test]
    fn a_stream_is_small_and_can_move_between_threads() {
        fn is_carrier<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>() {}
        is_carrier::<Stream>();
        assert!(size_of::<Stream>() <= 80, "{}", size_of::<Stream>());
    }
}
