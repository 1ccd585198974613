//! A connection whose far end stops reading ends: nobody waits for it, and it keeps no place from others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Nothing could be written for so long.
const STALLED: Duration = Duration::from_secs(15);

/// A byte stream that fails with [`io::ErrorKind::TimedOut`] when a write makes no progress for 15 s.
pub struct Unstalled<S> {
    stream: S,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Unstalled<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, patience: None }
    }

    fn wait<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.patience = None;
            return polled;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wait(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_nobody_reads_fails_and_a_slow_one_does_not() {
        let (near, mut far) = duplex(8);
        let mut near = Unstalled::new(near);
        let began = Instant::now();
        let writing = tokio::spawn(async move { (near.write_all(&[7; 64]).await, near) });
        let mut bytes = [0; 8];
        for _ in 0..7 {
            sleep(STALLED - Duration::from_secs(1)).await;
            far.read_exact(&mut bytes).await.unwrap();
        }
        let (written, mut near) = writing.await.unwrap();
        written.expect("each part was read in time");
        assert!(began.elapsed() > STALLED * 6);
        let began = Instant::now();
        let stalled = near.write_all(&[7; 64]).await.map_err(|why| why.kind());
        assert_eq!((stalled, began.elapsed()), (Err(io::ErrorKind::TimedOut), STALLED + Duration::ZERO));
    }
}
