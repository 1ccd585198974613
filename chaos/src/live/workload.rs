//! What the users do while things break: ask without a pause, call out, be called, talk for long, sign out and in again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lyncpin::client::{CallView, Phase, RccUser};
use lyncpin::csta::{LocalState, Service};
use lyncpin::lab::pbx::{Reply, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::notes::{Notes, device_of};
use super::population::{Population, sign_in};
use crate::history::What;
use crate::seed::Chance;

/// Between two questions of a user that asks without a pause.
const ASK_EVERY: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any one request of a user.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// Asks something of the PBX's desk.
pub type Desk = mpsc::Sender<(Request, oneshot::Sender<Reply>)>;

/// How many users do what; the rest is idle.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    pub probers: usize,
    pub callers: usize,
    pub called: usize,
    /// In pairs.
    pub talkers: usize,
    pub churners: usize,
}

impl Shares {
    pub fn of(users: usize) -> Self {
        let probers = (users / 5).clamp(1, 16);
        let callers = (users / 5).max(1);
        let called = users / 5;
        Self { probers, callers, called, talkers: (users / 10) & !1, churners: users / 20 }
    }

    /// Users who do something; the rest only keeps its sessions.
    pub fn busy(self) -> usize {
        self.probers + self.callers + self.called + self.talkers + self.churners
    }
}

pub struct Workload {
    shares: Shares,
    users: Vec<Arc<RccUser>>,
    notes: Arc<Notes>,
    desk: Desk,
    stops: Arc<AtomicBool>,
    numbers: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Workload {
    pub fn new(population: &Population, shares: Shares, notes: Arc<Notes>, desk: Desk) -> Self {
        let users = population.users.clone();
        let numbers = Arc::new(AtomicU64::new(0));
        Self { shares, users, notes, desk, stops: Arc::default(), numbers, tasks: JoinSet::new() }
    }

    /// The users whose pauses are measured.
    pub fn probers(&self) -> Vec<String> {
        self.users[..self.shares.probers].iter().map(|user| device_of(user.name())).collect()
    }

    fn number(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let numbers = self.numbers.clone();
        move || format!("tel:+1900{:07}", numbers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub async fn start(&mut self, seed: u64) {
        let Shares { probers, callers, called, talkers, churners } = self.shares;
        let mut rest = self.users.as_slice();
        let mut next = |count: usize| {
            let (some, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            some.to_vec()
        };
        let (probers, callers, called) = (next(probers), next(callers), next(called));
        let (talkers, churners) = (next(talkers), next(churners));
        for pair in talkers.chunks_exact(2) {
            begin_to_talk(&pair[0], &pair[1]).await;
        }
        for (n, user) in probers.into_iter().enumerate() {
            self.tasks.spawn(ask(user, n, self.stops.clone()));
        }
        for (n, user) in callers.into_iter().enumerate() {
            let chance = Chance::new(seed ^ (0xca11 + n as u64));
            self.tasks.spawn(call_out(user, chance, self.number(), self.stops.clone()));
        }
        for (n, user) in called.into_iter().enumerate() {
            let chance = Chance::new(seed ^ (0xca11ed + n as u64));
            self.tasks.spawn(be_called(user, chance, self.desk.clone(), self.stops.clone()));
        }
        for user in churners {
            self.tasks.spawn(churn(user, self.notes.clone(), self.stops.clone()));
        }
    }

    /// Nobody begins anything new; waits for what is under way, and not for ever.
    pub async fn stop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPS_WITHIN, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// Every user asks, and the callers make one call each: with nothing broken all of it must succeed.
    pub async fn prove(&self) {
        let mut tasks = JoinSet::new();
        for (n, user) in self.users.iter().cloned().enumerate() {
            let number = (n < self.shares.probers + self.shares.callers).then(|| self.number()());
            let notes = self.notes.clone();
            tasks.spawn(async move {
                // What comes of it stands in the history.
                if !user.is_signed_in() {
                    let _ = sign_in(user.clone(), notes).await;
                }
                let _ = user.invoke(Service::GetCstaFeatures { line: Some(user.line()) }).await;
                let _ = user.refresh().await;
                if let Some(number) = number {
                    // A call of which its user was told to ask later may have been made.
                    clear(&user).await;
                    one_call(&user, &number, false).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn ask(user: Arc<RccUser>, n: usize, stops: Arc<AtomicBool>) {
    while !stops.load(Ordering::Relaxed) {
        // Every second one asks what the gateway knows, the others what the PBX knows.
        let service = match n % 2 {
            0 => Service::GetDoNotDisturb { device: user.line() },
            _ => Service::GetCstaFeatures { line: Some(user.line()) },
        };
        let _ = user.invoke(service).await;
        sleep(ASK_EVERY).await;
    }
}

async fn call_out(user: Arc<RccUser>, mut chance: Chance, number: impl Fn() -> String, stops: Arc<AtomicBool>) {
    while !stops.load(Ordering::Relaxed) {
        one_call(&user, &number(), chance.percent(30)).await;
        sleep(Duration::from_millis(chance.between(10, 120))).await;
    }
}

/// A call to the outside, from MakeCall to the end; whatever goes wrong is cleared away.
async fn one_call(user: &RccUser, number: &str, is_held: bool) {
    if let Ok(reply) = user.make_call(number).await
        && let Some(call) = reply.call().map(|call| call.call.clone())
    {
        let talks =
            |view: &CallView| (view.phase(&call) == Some(Phase::Talking) || view.has_ended(&call)).then_some(());
        user.until(PATIENCE, talks).await;
        if is_held && user.hold(&call).await.is_ok() {
            let _ = user.retrieve(&call).await;
        }
        if user.hang_up(&call).await.is_ok() {
            user.until(PATIENCE, |view| view.call(&call).is_none().then_some(())).await;
        }
    }
    clear(user).await;
}

async fn clear(user: &RccUser) {
    for call in user.with_view(|view| view.calls().iter().map(|call| call.id.clone()).collect::<Vec<_>>()) {
        let _ = user.hang_up(&call).await;
    }
    user.until(Duration::from_secs(1), |view| view.calls().is_empty().then_some(())).await;
}

async fn at_the_desk(desk: &Desk, request: Request) -> Option<Reply> {
    let (answer, answered) = oneshot::channel();
    desk.send((request, answer)).await.ok()?;
    answered.await.ok()
}

async fn be_called(user: Arc<RccUser>, mut chance: Chance, desk: Desk, stops: Arc<AtomicBool>) {
    let device = device_of(user.name());
    while !stops.load(Ordering::Relaxed) {
        let from = format!("+1425777{:04}", chance.between(0, 9_999));
        let ring = Request::Ring { device: device.clone(), from: Some(from) };
        if let Some(Reply::Call { call }) = at_the_desk(&desk, ring).await {
            let rings = |view: &CallView| (view.call(&call)?.local == LocalState::Alerting).then_some(());
            if user.until(PATIENCE, rings).await.is_some() {
                let _ = user.answer(&call).await;
                sleep(Duration::from_millis(chance.between(20, 200))).await;
            }
            // Half of the calls end at the phone, half in the client.
            if chance.percent(50) {
                let _ = user.hang_up(&call).await;
            }
            at_the_desk(&desk, Request::Hangup { device: device.clone(), call: Some(call.clone()) }).await;
            user.until(PATIENCE, |view| view.call(&call).is_none().then_some(())).await;
        }
        sleep(Duration::from_millis(chance.between(20, 150))).await;
    }
}

async fn begin_to_talk(caller: &RccUser, callee: &RccUser) {
    let _ = caller.make_call(&callee.line()).await;
    let ringing =
        |view: &CallView| view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone());
    if let Some(call) = callee.until(PATIENCE, ringing).await {
        let _ = callee.answer(&call).await;
    }
}

async fn churn(user: Arc<RccUser>, notes: Arc<Notes>, stops: Arc<AtomicBool>) {
    while !stops.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(400)).await;
        notes.add(What::SignedOut { user: device_of(user.name()) });
        let _ = user.sign_out().await;
        while sign_in(user.clone(), notes.clone()).await.is_err() && !stops.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(200)).await;
        }
    }
}
