//! The task that owns a connection: reads into the link's mailbox, writes what the link hands it.

use actix::{Message, WeakAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::LinkActor;
use crate::cti::{BoxedStream, Connecting};
use crate::machine::link::Trouble;

/// Sentences waiting to be written; with more the PBX is not reading and the link refuses services.
pub(super) const WRITES_MAX: usize = 1_024;
/// Read at a time.
const READ_BYTES_MAX: usize = 16 * 1024;
/// Sentences put into one write.
const BATCH_MAX: usize = 64;

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Opened {
    pub(super) generation: u64,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Arrived {
    pub(super) generation: u64,
    pub(super) bytes: Vec<u8>,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub(super) generation: u64,
    pub(super) trouble: Trouble,
}

/// Dropping it closes the connection, finished or not.
pub(super) struct Connection {
    pub(super) generation: u64,
    writes: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Must be called on the link's own arbiter or local set.
    pub(super) fn open(generation: u64, connecting: Connecting, link: WeakAddr<LinkActor>) -> Self {
        let (writes, sentences) = mpsc::channel(WRITES_MAX);
        let task = tokio::task::spawn_local(carry(generation, connecting, sentences, link));
        Self { generation, writes, task }
    }

    /// Room for one sentence, taken now; `None` when the PBX does not read.
    pub(super) fn room(&self) -> Option<mpsc::Permit<'_, Vec<u8>>> {
        self.writes.try_reserve().ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(generation: u64, connecting: Connecting, sentences: mpsc::Receiver<Vec<u8>>, link: WeakAddr<LinkActor>) {
    let trouble = match connecting.await {
        Err(error) => Trouble::ConnectFailed(error.kind()),
        Ok(stream) => {
            let Some(address) = link.upgrade() else { return };
            if address.send(Opened { generation }).await.is_err() {
                return;
            }
            drop(address);
            let (reading, writing) = tokio::io::split(stream);
            tokio::select! {
                trouble = read(generation, reading, &link) => trouble,
                trouble = write(writing, sentences) => trouble,
            }
        }
    };
    if let Some(address) = link.upgrade() {
        // A link that is gone needs no news.
        let _ = address.send(Ended { generation, trouble }).await;
    }
}

/// Waits for the link to take each piece before reading the next: a PBX that floods fills its own window.
async fn read(generation: u64, mut stream: ReadHalf<BoxedStream>, link: &WeakAddr<LinkActor>) -> Trouble {
    let mut piece = vec![0; READ_BYTES_MAX];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return Trouble::ClosedByPbx,
            Ok(read) => {
                let Some(address) = link.upgrade() else { return Trouble::ClosedByPbx };
                let arrived = Arrived { generation, bytes: piece[..read].to_vec() };
                if address.send(arrived).await.is_err() {
                    return Trouble::ClosedByPbx;
                }
            }
            Err(error) => return Trouble::Broken(error.kind()),
        }
    }
}

async fn write(mut stream: WriteHalf<BoxedStream>, mut sentences: mpsc::Receiver<Vec<u8>>) -> Trouble {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if sentences.recv_many(&mut batch, BATCH_MAX).await == 0 {
            // The link let go of the connection.
            return Trouble::ClosedByPbx;
        }
        let bytes = if batch.len() == 1 { batch.pop().unwrap_or_default() } else { batch.concat() };
        batch.clear();
        if let Err(error) = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        }
        .await
        {
            return Trouble::Broken(error.kind());
        }
    }
}
