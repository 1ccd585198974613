//! The way to one other voter: a stream, reconnected as needed, with many questions under way.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::security::{Security, Stream};
use crate::wire::{self, Frame, Hello, Kind};

const CONNECT_MS: u64 = 1_000;
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Questions waiting for the stream; beyond that the link is as good as down.
const OUTBOX_MAX: usize = 1_024;
/// After a failed attempt questions fail at once for this long.
const BACKOFF_MIN_MS: u64 = 10;
const BACKOFF_MAX_MS: u64 = 100;
/// A listener may close after its connections: a refusal within these tries still means that the process is gone.
const DEATH_TRIES: u32 = 40;
const DEATH_PAUSE_MS: u64 = 1;

#[derive(Clone)]
pub struct LinkOptions {
    pub to: u64,
    /// host:port.
    pub address: String,
    pub security: Security,
    pub hello: Hello,
    /// Hears of a death that is proven: the stream ended, and the kernel there refuses a new one.
    pub deaths: Option<mpsc::Sender<u64>>,
    /// Hears of a newer epoch: the cluster went on without this node.
    pub epochs: Option<watch::Sender<u64>>,
}

/// Clones are the same link.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    options: LinkOptions,
    next_id: AtomicU64,
    connecting: tokio::sync::Mutex<Backoff>,
    stream: Mutex<Option<Up>>,
    heard: Mutex<Option<Hello>>,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Backoff {
    until: Option<Instant>,
    pause_ms: u64,
}

type Asked = HashMap<u64, oneshot::Sender<io::Result<Frame>>>;

#[derive(Clone)]
struct Up {
    outbox: mpsc::Sender<Vec<u8>>,
    asked: Arc<Mutex<Option<Asked>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Definite: nothing was sent.
    #[error("node {to} cannot be reached: {why}")]
    NotSent { to: u64, why: String },
    /// It may have been heard.
    #[error("the connection to node {0} was lost")]
    Lost(u64),
    #[error("node {0} did not answer in time")]
    TimedOut(u64),
    /// It was heard and not done.
    #[error("node {to} refused: {why}")]
    Refused { to: u64, why: String },
}

impl Link {
    pub fn new(options: LinkOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            next_id: AtomicU64::new(1),
            connecting: tokio::sync::Mutex::default(),
            stream: Mutex::default(),
            heard: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }))
    }

    pub fn to(&self) -> u64 {
        self.0.options.to
    }

    pub fn is_up(&self) -> bool {
        self.0.stream().as_ref().is_some_and(|up| !up.outbox.is_closed())
    }

    /// What the other node said of itself last.
    pub fn heard(&self) -> Option<Hello> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects again whenever the stream is lost, until the link is closed or dropped: only a stream that is up can tell
    /// of a death.
    pub fn keep_up(&self) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(shared) = weak.upgrade() {
                if shared.is_closed.load(Ordering::Relaxed) {
                    return;
                }
                // Err: tried again after a pause.
                let _ = shared.up().await;
                drop(shared);
                sleep(Duration::from_millis(BACKOFF_MIN_MS)).await;
            }
        });
    }

    /// Ends the stream; the next question, or `keep_up`, connects again.
    pub fn hang_up(&self) {
        self.0.stream().take();
    }

    /// Ends the stream and does not connect again.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        self.0.stream().take();
    }

    pub async fn ask(&self, kind: Kind, body: &[u8], within: Duration) -> Result<Vec<u8>, AskError> {
        let to = self.to();
        let not_sent = |why: String| AskError::NotSent { to, why };
        if body.len() > wire::FRAME_BYTES_MAX - 64 {
            return Err(not_sent(format!("{} bytes are too many", body.len())));
        }
        let deadline = Instant::now() + within;
        let up = match tokio::time::timeout_at(deadline, self.0.up()).await {
            Ok(up) => up.map_err(|error| not_sent(error.to_string()))?,
            Err(_) => return Err(not_sent("no connection in time".to_owned())),
        };
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        match &mut *lock(&up.asked) {
            Some(asked) => asked.insert(id, tell),
            None => return Err(not_sent("the connection was just lost".to_owned())),
        };
        if up.outbox.try_send(wire::frame(kind, id, body)).is_err() {
            lock(&up.asked).as_mut().map(|asked| asked.remove(&id));
            return Err(not_sent("too much waits for the connection".to_owned()));
        }
        let answer = match tokio::time::timeout_at(deadline, told).await {
            Ok(Ok(Ok(frame))) => frame,
            Ok(_) => return Err(AskError::Lost(to)),
            Err(_) => {
                lock(&up.asked).as_mut().map(|asked| asked.remove(&id));
                return Err(AskError::TimedOut(to));
            }
        };
        match Kind::of(answer.kind) {
            Some(Kind::Answer) => Ok(answer.body),
            Some(Kind::Failed) => {
                Err(AskError::Refused { to, why: String::from_utf8_lossy(&answer.body).into_owned() })
            }
            _ => Err(AskError::Refused { to, why: "it does not know the question".to_owned() }),
        }
    }
}

fn lock(asked: &Mutex<Option<Asked>>) -> MutexGuard<'_, Option<Asked>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn stream(&self) -> MutexGuard<'_, Option<Up>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream, connected if it is not.
    async fn up(self: &Arc<Self>) -> io::Result<Up> {
        let ready = |up: &Up| !up.outbox.is_closed();
        if let Some(up) = self.stream().clone().filter(ready) {
            return Ok(up);
        }
        let mut backoff = self.connecting.lock().await;
        if let Some(up) = self.stream().clone().filter(ready) {
            return Ok(up);
        }
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the link is closed"));
        }
        if backoff.until.is_some_and(|until| Instant::now() < until) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it could not be reached a moment ago"));
        }
        let connected = timeout(Duration::from_millis(CONNECT_MS), self.connect()).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(up) => {
                *backoff = Backoff::default();
                *self.stream() = Some(up.clone());
                Ok(up)
            }
            Err(error) => {
                backoff.pause_ms = (backoff.pause_ms * 2).clamp(BACKOFF_MIN_MS, BACKOFF_MAX_MS);
                backoff.until = Some(Instant::now() + Duration::from_millis(backoff.pause_ms));
                Err(error)
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> io::Result<Up> {
        let socket = TcpStream::connect(&self.options.address).await?;
        socket.set_nodelay(true)?;
        let mut stream = self.options.security.connect(self.options.to, socket).await?;
        wire::write(&mut stream, &wire::frame(Kind::Hello, 0, &wire::encode(&self.options.hello))).await?;
        let answer = wire::read(&mut stream, HELLO_BYTES_MAX).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let heard: Hello = wire::decode(&answer.body)?;
        let refusal = heard.refusal.clone().or_else(|| heard.refused_by(&self.options.hello));
        if let Some(why) = refusal {
            let own = &self.options.hello;
            if let Some(epochs) = self.options.epochs.as_ref().filter(|_| heard.cluster_id == own.cluster_id) {
                epochs.send_if_modified(|newest| {
                    heard.epoch > *newest && {
                        *newest = heard.epoch;
                        true
                    }
                });
            }
            tracing::warn!(node = self.options.to, %why, "the other voter is not one of ours");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
        let (outbox, waiting) = mpsc::channel(OUTBOX_MAX);
        let asked = Arc::new(Mutex::new(Some(Asked::new())));
        tokio::spawn(carry(Arc::downgrade(self), stream, waiting, asked.clone()));
        Ok(Up { outbox, asked })
    }

    /// The stream has ended by itself: is the process there gone, or only the stream?
    async fn judge(&self) {
        let Some(deaths) = &self.options.deaths else { return };
        for _ in 0..DEATH_TRIES {
            if self.is_closed.load(Ordering::Relaxed) {
                return;
            }
            let again = timeout(Duration::from_millis(CONNECT_MS), TcpStream::connect(&self.options.address)).await;
            match again {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tracing::warn!(node = self.options.to, "its process is gone: the kernel there refuses connections");
                    // Err: nobody is interested, or he has more deaths than he can take.
                    let _ = deaths.try_send(self.options.to);
                    return;
                }
                // The listener lives yet, or is just closing; it closes after the connections, if it does.
                Ok(_) => sleep(Duration::from_millis(DEATH_PAUSE_MS)).await,
                Err(_) => return,
            }
        }
    }
}

/// Writes questions and reads answers until the stream ends; whoever waits is then told so.
async fn carry(
    link: Weak<Shared>,
    stream: Box<dyn Stream>,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    asked: Arc<Mutex<Option<Asked>>>,
) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(wire::READ_BYTES, reader);
    let reading = async {
        while let Ok(Some(frame)) = wire::read(&mut reader, wire::FRAME_BYTES_MAX).await {
            let tell = lock(&asked).as_mut().and_then(|asked| asked.remove(&frame.id));
            if let Some(tell) = tell {
                // Err: he waits no longer.
                let _ = tell.send(Ok(frame));
            }
        }
    };
    let writing = async {
        let mut together = Vec::new();
        while let Some(bytes) = waiting.recv().await {
            together.extend(bytes);
            while let Ok(more) = waiting.try_recv() {
                together.extend(more);
            }
            if wire::write(&mut writer, &together).await.is_err() {
                return true;
            }
            together.clear();
        }
        // Every handle is gone: the end is ours.
        false
    };
    let by_them = tokio::select! {
        () = reading => true,
        by_them = writing => by_them,
    };
    waiting.close();
    // Dropping the tellers tells them.
    lock(&asked).take();
    if by_them && let Some(link) = link.upgrade() {
        link.judge().await;
    }
}
