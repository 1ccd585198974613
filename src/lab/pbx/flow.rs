//! One TCP connection of a link: bytes in, frames to the board; frames from the board, bytes out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::board::{Board, Life, Outgoing};
use super::serve;
use crate::cti::frame::FrameReader;

const READ_BYTES: usize = 16 * 1024;
/// Frames written in one go.
const BATCH_FRAMES: usize = 256;

/// The board, which nobody holds while waiting.
pub type Shared = Arc<Mutex<Board>>;

pub fn lock(board: &Shared) -> MutexGuard<'_, Board> {
    // A panic elsewhere under the lock is a bug that a test has already seen; the rest of the laboratory goes on.
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the connection until either side ends it.
pub async fn serve(board: Shared, link: usize, stream: TcpStream, peer: SocketAddr, is_frozen: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let outbox_frames_max = lock(&board).options.outbox_frames_max.max(1);
    let (outbox, frames) = mpsc::channel(outbox_frames_max);
    let (life_set, life) = watch::channel(Life::Open);
    let Some(flow) = lock(&board).connected(link, peer, outbox, life_set) else { return };
    let (read, write) = stream.into_split();
    let reading = async {
        let end = read_all(&board, flow, read, life.clone(), is_frozen.clone()).await;
        lock(&board).close(flow, Life::Closing);
        end
    };
    // The read half lives until the writer is done too, and the writer ends nothing on a frozen link.
    tokio::join!(reading, write_all(write, frames, life.clone(), is_frozen.clone()));
}

/// Resolves when the flow is to end at once, and never when the board has merely let go of it.
async fn killed(life: &mut watch::Receiver<Life>) {
    if life.wait_for(|life| *life == Life::Killed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the link is not frozen; `false` when the flow has been killed meanwhile.
async fn thawed(is_frozen: &mut watch::Receiver<bool>, life: &mut watch::Receiver<Life>) -> bool {
    tokio::select! {
        biased;
        () = killed(life) => false,
        _ = is_frozen.wait_for(|frozen| !frozen) => true,
    }
}

async fn read_all(
    board: &Shared,
    flow: u64,
    mut read: OwnedReadHalf,
    mut life: watch::Receiver<Life>,
    mut is_frozen: watch::Receiver<bool>,
) -> OwnedReadHalf {
    let mut frames = FrameReader::default();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        if !thawed(&mut is_frozen, &mut life).await {
            return read;
        }
        let count = tokio::select! {
            biased;
            _ = life.wait_for(|life| *life != Life::Open) => None,
            Ok(_) = is_frozen.wait_for(|frozen| *frozen) => continue,
            count = read.read(&mut bytes) => Some(count),
        };
        let Some(Ok(count @ 1..)) = count else { return read };
        let Ok(received) = frames.received(&bytes[..count]) else {
            lock(board).malformed(flow);
            return read;
        };
        let arrived: Vec<_> = received.iter().map(|frame| (frame.invoke, serve::understand(frame))).collect();
        {
            let mut board = lock(board);
            for (invoke, arrived) in arrived {
                board.arrived(flow, invoke, arrived);
            }
        }
        // A busy connection must not keep the others of a single-threaded runtime waiting.
        tokio::task::yield_now().await;
    }
}

async fn write_all(
    mut write: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Outgoing>,
    mut life: watch::Receiver<Life>,
    mut is_frozen: watch::Receiver<bool>,
) {
    let mut batch = Vec::with_capacity(BATCH_FRAMES);
    let mut bytes = BytesMut::new();
    loop {
        let count = tokio::select! {
            biased;
            () = killed(&mut life) => return,
            count = frames.recv_many(&mut batch, BATCH_FRAMES) => count,
        };
        if !thawed(&mut is_frozen, &mut life).await || count == 0 {
            return;
        }
        for Outgoing { bytes: frame, not_before } in batch.drain(..) {
            if let Some(at) = not_before.filter(|at| *at > Instant::now()) {
                if !write_one(&mut write, &mut bytes, &mut life, &mut is_frozen).await {
                    return;
                }
                tokio::select! {
                    biased;
                    () = killed(&mut life) => return,
                    () = sleep_until(at) => {}
                }
            }
            bytes.extend_from_slice(&frame);
        }
        if !write_one(&mut write, &mut bytes, &mut life, &mut is_frozen).await {
            return;
        }
    }
}

/// Writes and empties the buffer; `false` when the flow is at its end. A peer that reads nothing keeps us here until
/// the board closes the flow for its full outbox.
async fn write_one(
    write: &mut OwnedWriteHalf,
    bytes: &mut BytesMut,
    life: &mut watch::Receiver<Life>,
    is_frozen: &mut watch::Receiver<bool>,
) -> bool {
    while !bytes.is_empty() {
        if !thawed(is_frozen, life).await {
            return false;
        }
        tokio::select! {
            biased;
            Ok(_) = life.wait_for(|life| *life != Life::Open) => {
                // What is left may still go out, but nobody waits for a peer that does not read.
                let is_all = write.try_write(bytes).is_ok_and(|count| count == bytes.len());
                bytes.clear();
                return is_all;
            }
            Ok(_) = is_frozen.wait_for(|frozen| *frozen) => {}
            written = write.write_buf(bytes) => {
                if written.is_err() {
                    return false;
                }
            }
        }
    }
    true
}
