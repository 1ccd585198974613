//! The listening side: who may speak, and what is done with what he asks.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::network::Links;
use super::security::{Security, Stream, node_name};
use crate::image::{Assembly, Image};
use crate::membership::{self, Change};
use crate::raft::{SnapshotMeta, Types, Vote};
use crate::replica::Replica;
use crate::wire::{self, Frame, Hello, Kind};

/// Connections that have not said who they are.
const STRANGERS_MAX: usize = 64;
const STRANGER_MS: u64 = 3_000;
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Questions of one connection worked on at once; the next ones wait in its stream.
const AT_WORK_MAX: usize = 1_024;

/// The gateway's own words between nodes: opaque here.
pub trait Relay: Send + Sync + 'static {
    fn heard(&self, from: u64, body: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>>;
    /// What this node says of itself, as JSON.
    fn status(&self) -> BoxFuture<'static, Vec<u8>>;
}

/// What a voter answers with.
pub struct Service {
    pub replica: Replica,
    pub relay: Arc<dyn Relay>,
    pub links: Links,
    /// Births of those this node began the cluster with; `None`: it had a store.
    pub begun_with: Option<BTreeSet<u64>>,
}

pub struct Acceptor {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Acceptor {
    /// Listens at once; questions wait until `service` is there, because a voter is built after its listener.
    pub fn start(
        listener: TcpListener,
        security: Security,
        own: Hello,
        service: watch::Receiver<Option<Arc<Service>>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let door = Arc::new(Door { security, own, service, strangers: Semaphore::new(STRANGERS_MAX) });
        let task = tokio::spawn(accept(listener, door, stopped));
        Ok(Self { address, stop, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection. The last act of a voter that stops: a listener that is gone is taken for
    /// a death.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Err: it panicked, and is gone all the same.
        let _ = self.task.await;
    }
}

struct Door {
    security: Security,
    own: Hello,
    service: watch::Receiver<Option<Arc<Service>>>,
    strangers: Semaphore,
}

async fn accept(listener: TcpListener, door: Arc<Door>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => return connections.shutdown().await,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let door = door.clone();
                    connections.spawn(async move {
                        if let Err(error) = door.welcome(socket, peer).await {
                            tracing::debug!(%peer, %error, "a connection to the cluster listener ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "the cluster listener cannot accept; raise the limit of open files");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Door {
    async fn welcome(&self, socket: tokio::net::TcpStream, peer: SocketAddr) -> io::Result<()> {
        let Ok(place) = self.strangers.try_acquire() else {
            return Err(io::Error::other("too many strangers at the door"));
        };
        socket.set_nodelay(true)?;
        let introduced = timeout(Duration::from_millis(STRANGER_MS), self.introduce(socket, peer)).await;
        let (stream, hello) = introduced.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        drop(place);
        self.serve(stream, &hello).await
    }

    /// TLS, then a word from each side. The node id in the word is the one in the certificate.
    async fn introduce(&self, socket: tokio::net::TcpStream, peer: SocketAddr) -> io::Result<(Box<dyn Stream>, Hello)> {
        let (mut stream, names) = self.security.accept(socket).await?;
        let first = wire::read(&mut stream, HELLO_BYTES_MAX).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if Kind::of(first.kind) != Some(Kind::Hello) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it did not say who it is"));
        }
        let hello: Hello = wire::decode(&first.body)?;
        let is_named = names.as_ref().is_none_or(|names| names.contains(&node_name(hello.from)));
        let refusal = match is_named {
            false => Some(format!("its certificate is not node {}'s", hello.from)),
            true => hello.refused_by(&self.own),
        };
        let has_state = self.takes_part_without(hello.birth);
        let answer = Hello { to: hello.from, any: false, has_state, refusal: refusal.clone(), ..self.own.clone() };
        wire::write(&mut stream, &wire::frame(Kind::Hello, 0, &wire::encode(&answer))).await?;
        match refusal {
            None => Ok((stream, hello)),
            Some(why) => {
                tracing::warn!(%peer, node = hello.from, %why, "a voter was turned away");
                Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
            }
        }
    }

    /// Whether this node takes part already, and not because it began with the one of this birth.
    fn takes_part_without(&self, birth: u64) -> bool {
        let service = self.service.borrow();
        let begun = service.as_ref().map(|service| &service.begun_with);
        // Without a birth it had a store when it started.
        self.own.birth == 0 || begun.is_some_and(|begun| begun.as_ref().is_none_or(|begun| !begun.contains(&birth)))
    }

    async fn serve(&self, stream: Box<dyn Stream>, hello: &Hello) -> io::Result<()> {
        let (from, is_blank) = (hello.from, hello.any);
        let mut service = self.service.clone();
        let Ok(service) = service.wait_for(Option::is_some).await.map(|found| found.clone()) else { return Ok(()) };
        let Some(service) = service else { return Ok(()) };
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(wire::READ_BYTES, reader);
        let (answers, mut waiting) = mpsc::channel::<Vec<u8>>(AT_WORK_MAX);
        let writing = async move {
            let mut together = Vec::new();
            while let Some(bytes) = waiting.recv().await {
                together.extend(bytes);
                while let Ok(more) = waiting.try_recv() {
                    together.extend(more);
                }
                wire::write(&mut writer, &together).await?;
                together.clear();
            }
            Ok(())
        };
        let reading = async move {
            let mut arriving = None;
            let room = Arc::new(Semaphore::new(AT_WORK_MAX));
            let mut work = JoinSet::new();
            while let Some(frame) = wire::read(&mut reader, wire::FRAME_BYTES_MAX).await? {
                while work.try_join_next().is_some() {}
                if is_blank && Kind::of(frame.kind) != Some(Kind::Membership) {
                    return Err(io::Error::other("it has no store and asked more than to be taken in"));
                }
                if let Some(answer) = snapshot(&service, &frame, &mut arriving).await {
                    answers.send(answer).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
                    continue;
                }
                let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
                let (service, answers) = (service.clone(), answers.clone());
                work.spawn(async move {
                    let answer = answer(&service, from, frame).await;
                    // Err: the connection ended meanwhile.
                    let _ = answers.send(answer).await;
                    drop(place);
                });
            }
            Ok(())
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }
}

/// A snapshot that arrives in chunks, one at a time on a connection.
struct Arriving {
    vote: Vote,
    meta: SnapshotMeta,
    assembly: Assembly,
}

/// Chunks come in order and are taken in order, unlike questions that have nothing to do with each other.
async fn snapshot(service: &Service, frame: &Frame, arriving: &mut Option<Arriving>) -> Option<Vec<u8>> {
    let failed = |why: String| wire::frame(Kind::Failed, frame.id, why.as_bytes());
    let done = || wire::frame(Kind::Answer, frame.id, &[]);
    match Kind::of(frame.kind)? {
        Kind::SnapshotBegin => Some(match wire::decode(&frame.body) {
            Ok((vote, meta)) => {
                *arriving = Some(Arriving { vote, meta, assembly: Assembly::default() });
                done()
            }
            Err(why) => failed(why.to_string()),
        }),
        Kind::SnapshotChunk => Some(match arriving.as_mut().map(|arriving| arriving.assembly.push(&frame.body)) {
            Some(Ok(())) => done(),
            Some(Err(why)) => {
                *arriving = None;
                failed(why.to_string())
            }
            None => failed("no snapshot has begun".to_owned()),
        }),
        Kind::SnapshotEnd => Some(match arriving.take() {
            Some(Arriving { vote, meta, assembly }) => match assembly.finish() {
                Ok(image) => install(service, frame.id, vote, meta, image).await,
                Err(why) => failed(why.to_string()),
            },
            None => failed("no snapshot has begun".to_owned()),
        }),
        _ => None,
    }
}

async fn install(service: &Service, id: u64, vote: Vote, meta: SnapshotMeta, image: Image) -> Vec<u8> {
    let snapshot = openraft::storage::Snapshot { meta, snapshot: image };
    match service.replica.raft().install_full_snapshot(vote, snapshot).await {
        Ok(response) => wire::frame(Kind::Answer, id, &wire::encode(&response)),
        Err(why) => wire::frame(Kind::Failed, id, why.to_string().as_bytes()),
    }
}

async fn answer(service: &Service, from: u64, frame: Frame) -> Vec<u8> {
    let raft = service.replica.raft();
    let body = &frame.body;
    let worked: Result<Vec<u8>, String> = match Kind::of(frame.kind) {
        Some(Kind::Append) => match wire::decode::<openraft::raft::AppendEntriesRequest<Types>>(body) {
            Ok(request) => {
                let answered = raft.append_entries(request).await;
                if matches!(&answered, Ok(response) if !matches!(response, openraft::raft::AppendEntriesResponse::HigherVote(_)))
                {
                    service.replica.heard_leader();
                }
                answered.map(|response| wire::encode(&response)).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        },
        Some(kind @ (Kind::Vote | Kind::PreVote)) => match wire::decode::<openraft::raft::VoteRequest<Types>>(body) {
            Ok(request) => {
                let candidate_s = request.last_log_id;
                let answered = if kind == Kind::Vote { raft.vote(request).await } else { raft.pre_vote(request).await };
                if answered.as_ref().is_ok_and(|own| !own.vote_granted && own.last_log_id > candidate_s) {
                    service.replica.contact().met_an_older_log();
                }
                answered.map(|response| wire::encode(&response)).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        },
        Some(Kind::TransferLeader) => match wire::decode(body) {
            Ok(request) => {
                raft.handle_transfer_leader(request).await.map(|r| wire::encode(&r)).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        },
        Some(Kind::Propose) => match wire::decode(body) {
            Ok(command) => Ok(wire::encode(&service.replica.propose_here(command).await)),
            Err(why) => Err(why.to_string()),
        },
        Some(Kind::ReadIndex) => Ok(wire::encode(&service.replica.read_index_here().await)),
        Some(Kind::Relay) => service.relay.heard(from, frame.body).await,
        Some(Kind::Membership) => match wire::decode(body) {
            Ok(Change::Admit { id, .. })
                if membership::seat(id) != membership::seat(from)
                    && !membership::voters_of(&service.replica).contains(&from) =>
            {
                Err(format!("node {from} asks for another seat"))
            }
            Ok(change @ Change::Admit { .. }) => {
                let changed = membership::change(&service.replica, &service.links, change).await;
                changed.map(|()| Vec::new()).map_err(|why| why.to_string())
            }
            Ok(change) if membership::voters_of(&service.replica).contains(&from) => {
                let changed = membership::lead(&service.replica, &service.links, change).await;
                changed.map(|()| Vec::new()).map_err(|why| why.to_string())
            }
            Ok(_) => Err(format!("node {from} does not vote")),
            Err(why) => Err(why.to_string()),
        },
        Some(Kind::Status) => Ok(service.relay.status().await),
        _ => return wire::frame(Kind::NotKnown, frame.id, &[]),
    };
    match worked {
        Ok(body) => wire::frame(Kind::Answer, frame.id, &body),
        Err(why) => wire::frame(Kind::Failed, frame.id, why.as_bytes()),
    }
}
