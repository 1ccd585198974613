//! The network between nodes: packets take time, overtake each other, come twice, are lost, or are held back and released
//! long after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin_cluster::image::Image;
use lyncpin_cluster::machine::Command;
use lyncpin_cluster::raft::{LeaderId, Types, Vote, Voter};
use lyncpin_cluster::replica::{PROPOSAL_MS, Peers, Proposed};
use lyncpin_cluster::store::CommitError;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::dice;

/// As the product's links do: openraft's own limit for an append is one heartbeat.
const APPEND_MS: u64 = 2_000;
const INSTALL_MS: u64 = 60_000;

/// What one node asks of another.
#[derive(Clone)]
pub enum Question {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(Vote, Snapshot<LeaderId, u64, Voter, Image>),
    TransferLeader(TransferLeaderRequest<Types>),
    Propose(Command),
    ReadIndex,
    /// The gateway's own word to the other node.
    Word(Vec<u8>),
}

pub enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    Propose(Proposed),
    ReadIndex(Result<Option<u64>, CommitError>),
    Word(Vec<u8>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("the node there is gone")]
    Gone,
    #[error("no answer in time")]
    TimedOut,
    #[error("it was heard and not done")]
    Failed,
}

/// A question as it arrives.
pub struct Arrived {
    pub from: u64,
    pub question: Question,
    pub reply: Reply,
}

/// Who waits for the answer; the first that comes takes it.
type Tell = Arc<Mutex<Option<oneshot::Sender<Result<Answer, NoAnswer>>>>>;

fn settle(tell: &Tell, answer: Result<Answer, NoAnswer>) {
    if let Some(tell) = tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Err: he waits no longer.
        let _ = tell.send(answer);
    }
}

/// The way back.
pub struct Reply {
    net: Net,
    from: u64,
    to: u64,
    tell: Tell,
}

impl Reply {
    pub fn send(self, answer: Answer) {
        let Self { net, from, to, tell } = self;
        net.carry(machine_of(from), machine_of(to), move || settle(&tell, Ok(answer)));
    }
}

/// How the network behaves in this run.
#[derive(Clone, Debug)]
pub struct Weather {
    pub delay_us: std::ops::Range<u64>,
    /// Of a thousand packets, how many take `late_us` instead.
    pub late_permille: u64,
    pub late_us: std::ops::Range<u64>,
    pub lost_permille: u64,
    pub twice_permille: u64,
}

/// The machine a voter runs on: one that comes back under a new id is on the same.
pub fn machine_of(id: u64) -> u64 {
    id % 10
}

/// Clones are the same network. Ways are between machines.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

type Packet = Box<dyn FnOnce() + Send>;

struct State {
    weather: Weather,
    /// By machine: the voter that listens there, and where.
    doors: BTreeMap<u64, (u64, mpsc::UnboundedSender<Arrived>)>,
    /// Ways, from and to, on which nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// Ways on which everything is kept for later.
    held: BTreeMap<(u64, u64), Vec<Packet>>,
    packets: u64,
}

impl Net {
    pub fn new(weather: Weather) -> Self {
        let (doors, cut, held) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { weather, doors, cut, held, packets: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn packets(&self) -> u64 {
        self.lock().packets
    }

    /// A node listens from now on.
    pub fn open(&self, id: u64) -> mpsc::UnboundedReceiver<Arrived> {
        let (door, arriving) = mpsc::unbounded_channel();
        self.lock().doors.insert(machine_of(id), (id, door));
        arriving
    }

    /// Nobody listens there any more: the kernel refuses.
    pub fn close(&self, machine: u64) {
        self.lock().doors.remove(&machine);
    }

    pub fn cut(&self, from: u64, to: u64) {
        self.lock().cut.insert((from, to));
    }

    pub fn mend(&self, from: u64, to: u64) {
        self.lock().cut.remove(&(from, to));
    }

    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.lock().cut.contains(&(from, to))
    }

    pub fn hold(&self, from: u64, to: u64) {
        self.lock().held.entry((from, to)).or_default();
    }

    /// Old packets arrive now, in the order the run draws.
    pub fn release(&self, from: u64, to: u64) {
        let packets = self.lock().held.remove(&(from, to)).unwrap_or_default();
        for packet in packets {
            self.after(dice::within(0..20_000), from, to, packet);
        }
    }

    pub fn calm(&self) {
        let mut state = self.lock();
        state.weather =
            Weather { delay_us: 200..1_500, late_permille: 0, late_us: 1..2, lost_permille: 0, twice_permille: 0 };
    }

    /// Takes a packet from one node to the other, or not.
    pub fn carry(&self, from: u64, to: u64, arrive: impl FnOnce() + Send + 'static) {
        let delay = {
            let mut state = self.lock();
            state.packets += 1;
            if let Some(held) = state.held.get_mut(&(from, to)) {
                held.push(Box::new(arrive));
                return;
            }
            let weather = &state.weather;
            if state.cut.contains(&(from, to)) || dice::happens(weather.lost_permille) {
                return;
            }
            let is_late = dice::happens(weather.late_permille);
            dice::within(if is_late { weather.late_us.clone() } else { weather.delay_us.clone() })
        };
        self.after(delay, from, to, Box::new(arrive));
    }

    fn after(&self, delay_us: u64, from: u64, to: u64, arrive: Packet) {
        let net = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_micros(delay_us)).await;
            if !net.is_cut(from, to) {
                arrive();
            }
        });
    }

    pub async fn ask(&self, from: u64, to: u64, question: Question, within: Duration) -> Result<Answer, NoAnswer> {
        let (tell, told) = oneshot::channel();
        let tell = Arc::new(Mutex::new(Some(tell)));
        // Commands and words go over a stream, which brings nothing twice; consensus must bear it.
        let may_be_doubled = !matches!(question, Question::Propose(_) | Question::Word(_) | Question::ReadIndex);
        let twice = dice::happens(self.lock().weather.twice_permille);
        if twice && may_be_doubled {
            self.put(from, to, question.clone(), tell.clone());
        }
        // Kept here as well: a packet that is lost is a silence, not an answer.
        self.put(from, to, question, tell.clone());
        match timeout(within, told).await {
            Ok(answer) => answer.unwrap_or(Err(NoAnswer::Gone)),
            Err(_) => Err(NoAnswer::TimedOut),
        }
    }

    fn put(&self, from: u64, to: u64, question: Question, tell: Tell) {
        let net = self.clone();
        self.carry(machine_of(from), machine_of(to), move || {
            // What was meant for a voter that is no more is not heard by the one in its place.
            let door = net.lock().doors.get(&machine_of(to)).filter(|(id, _)| *id == to).map(|(_, door)| door.clone());
            let reply = Reply { net: net.clone(), from: to, to: from, tell: tell.clone() };
            let is_taken = door.is_some_and(|door| door.send(Arrived { from, question, reply }).is_ok());
            if !is_taken {
                net.carry(machine_of(to), machine_of(from), move || settle(&tell, Err(NoAnswer::Gone)));
            }
        });
    }

    /// As one node sees it.
    pub fn of(&self, id: u64) -> Links {
        Links { net: self.clone(), own: id }
    }
}

/// The network as one node's consensus sees it.
#[derive(Clone)]
pub struct Links {
    net: Net,
    own: u64,
}

impl Peers for Links {
    fn propose(&self, leader: u64, command: Command) -> BoxFuture<'static, Proposed> {
        let Self { net, own } = self.clone();
        Box::pin(async move {
            let within = Duration::from_millis(PROPOSAL_MS);
            match net.ask(own, leader, Question::Propose(command), within).await {
                Ok(Answer::Propose(proposed)) => proposed,
                Err(NoAnswer::TimedOut) => Proposed::Failed(CommitError::TimedOut),
                _ => Proposed::Failed(CommitError::Lost),
            }
        })
    }

    fn read_index(&self, leader: u64) -> BoxFuture<'static, Result<Option<u64>, CommitError>> {
        let Self { net, own } = self.clone();
        Box::pin(async move {
            match net.ask(own, leader, Question::ReadIndex, Duration::from_millis(PROPOSAL_MS)).await {
                Ok(Answer::ReadIndex(read)) => read,
                _ => Err(CommitError::NoQuorum),
            }
        })
    }
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _: &Voter) -> Network {
        Network { links: self.clone(), target }
    }
}

pub struct Network {
    links: Links,
    target: u64,
}

impl Network {
    async fn ask(&self, question: Question, within: Duration) -> Result<Answer, NoAnswer> {
        self.links.net.ask(self.links.own, self.target, question, within).await
    }
}

fn failed(why: NoAnswer) -> RPCError<Types> {
    match why {
        NoAnswer::Gone => RPCError::Unreachable(Unreachable::new(&why)),
        NoAnswer::TimedOut | NoAnswer::Failed => RPCError::Network(NetworkError::new(&why)),
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let within = option.hard_ttl().max(Duration::from_millis(APPEND_MS));
        match self.ask(Question::Append(request), within).await {
            Ok(Answer::Append(answer)) => Ok(answer),
            Ok(_) => Err(failed(NoAnswer::Failed)),
            Err(why) => Err(failed(why)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Question::Vote(request), option.hard_ttl()).await {
            Ok(Answer::Vote(answer)) => Ok(answer),
            Ok(_) => Err(failed(NoAnswer::Failed)),
            Err(why) => Err(failed(why)),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Question::PreVote(request), option.hard_ttl()).await {
            Ok(Answer::Vote(answer)) => Ok(answer),
            Ok(_) => Err(failed(NoAnswer::Failed)),
            Err(why) => Err(failed(why)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Voter, Image>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = self.ask(Question::Snapshot(vote, snapshot), Duration::from_millis(INSTALL_MS));
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(Answer::Snapshot(answer)) => Ok(answer),
                Ok(_) => Err(StreamingError::Network(NetworkError::new(&NoAnswer::Failed))),
                Err(why) => Err(StreamingError::Unreachable(Unreachable::new(&why))),
            },
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(Question::TransferLeader(request), option.hard_ttl()).await {
            Ok(Answer::TransferLeader(answer)) => Ok(answer),
            Ok(_) => Err(failed(NoAnswer::Failed)),
            Err(why) => Err(failed(why)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(Duration::from_millis(20))))
    }
}
