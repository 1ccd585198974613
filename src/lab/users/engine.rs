//! Signs users in at a rate, lets them call each other at a rate, and counts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::call::{Plan, Players};
use super::options::{UsersOptions, fill};
use super::report::Report;
use super::tally::{Tally, add, read};
use crate::client::{FrontEnd, FrontEndOptions, History, RccUser, Spread, UserOptions};

/// Sign-ins and sign-outs under way at once.
const SIGN_INS_OPEN_MAX: usize = 512;

/// Everything a run holds.
pub(super) struct Engine {
    options: UsersOptions,
    front_ends: Vec<FrontEnd>,
    users: Vec<RccUser>,
    idle: Mutex<VecDeque<usize>>,
    tally: Tally,
    operations: AtomicU64,
    stops: AtomicBool,
}

impl Engine {
    /// Opens the connections; they come up on their own.
    pub fn new(options: UsersOptions, population: Vec<UserOptions>, history: Option<Arc<dyn History>>) -> Arc<Self> {
        let dress = |mut fe: FrontEndOptions| {
            fe.repeats_on_flow_loss = options.repeat;
            fe.negotiates = options.negotiate;
            fe.history = history.clone();
            fe.spread = if options.spread { Spread::ByMessage } else { Spread::ByUser };
            FrontEnd::new(fe)
        };
        let count = usize::from(options.connections);
        let front_ends: Vec<FrontEnd> = match options.own_connections {
            true => population
                .iter()
                .map(|_| dress(FrontEndOptions { queue_max: 8, ..FrontEndOptions::direct() }))
                .collect(),
            false => {
                let front_end =
                    dress(FrontEndOptions { transport: "TCP", ..FrontEndOptions::front_end("fe01.contoso.com") });
                front_end.keep_connected(options.gateways.clone(), count);
                vec![front_end]
            }
        };
        let patience = Duration::from_millis(options.patience_ms);
        let users = population.into_iter().enumerate().map(|(at, mut user)| {
            user.answer_timeout = patience;
            front_ends[at % front_ends.len()].user(user)
        });
        Arc::new(Self {
            users: users.collect(),
            idle: Mutex::default(),
            tally: Tally::default(),
            operations: AtomicU64::new(0),
            stops: AtomicBool::new(false),
            front_ends,
            options,
        })
    }

    pub async fn run(self: &Arc<Self>) -> Report {
        let status = (!self.options.quiet).then(|| tokio::spawn(self.clone().tell()));
        let refresher = tokio::spawn(self.clone().refresh());
        let interrupt = tokio::spawn({
            let engine = self.clone();
            async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    engine.stops.store(true, Ordering::Relaxed);
                }
            }
        });
        self.sign_in().await;
        self.place_calls().await;
        self.stops.store(true, Ordering::Relaxed);
        refresher.abort();
        interrupt.abort();
        self.sign_out().await;
        if let Some(status) = status {
            status.abort();
            eprintln!();
        }
        Report::of(&self.tally, &self.users, &self.front_ends)
    }

    async fn sign_in(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(SIGN_INS_OPEN_MAX));
        let mut pace = pace(self.options.sign_ins_per_s);
        for at in 0..self.users.len() {
            pace.wait().await;
            if self.stops.load(Ordering::Relaxed) {
                break;
            }
            let Ok(permit) = room.clone().acquire_owned().await else { break };
            let engine = self.clone();
            tasks.spawn(async move {
                let _permit = permit;
                if engine.options.own_connections {
                    engine.front_ends[at].keep_connected(engine.options.gateways.clone(), 1);
                }
                match engine.users[at].sign_in().await {
                    Ok(signed_in) => {
                        engine.tally.sign_in.record(signed_in.took);
                        add(&engine.tally.signed_in);
                        engine.release(at);
                    }
                    Err(why) => engine.tally.failed(format!("sign-in: {why}")),
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn place_calls(self: &Arc<Self>) {
        let end = Instant::now() + Duration::from_secs(self.options.duration_s);
        if self.options.calls_per_s <= 0.0 {
            while Instant::now() < end && !self.stops.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(100)).await;
            }
            return;
        }
        let mut tasks = JoinSet::new();
        let mut pace = pace(self.options.calls_per_s);
        loop {
            pace.wait().await;
            if Instant::now() >= end || self.stops.load(Ordering::Relaxed) {
                break;
            }
            while tasks.try_join_next().is_some() {}
            let op = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
            match self.cast(op) {
                Some(cast) => {
                    tasks.spawn(self.clone().call(op, cast));
                }
                None => add(&self.tally.calls_skipped),
            }
        }
        // Every wait inside a call is bounded by patience, so they end.
        while tasks.join_next().await.is_some() {}
    }

    /// Picks who plays; percentages are dealt by the operation's number, so that equal options make equal calls.
    fn cast(&self, op: u64) -> Option<Cast> {
        let options = &self.options;
        let deal = |salt: u64, percent: u8| (op.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> salt) % 100 < u64::from(percent);
        let is_outside = deal(3, options.outside_percent);
        let is_answered = deal(17, options.answer_percent);
        let is_transferred = is_answered && !is_outside && deal(31, options.transfer_percent);
        let plan = Plan {
            is_answered,
            is_held: is_answered && !is_outside && deal(40, options.hold_percent),
            is_transferred,
            talk: Duration::from_millis(options.talk_ms),
            patience: Duration::from_millis(options.patience_ms),
        };
        let wanted = 1 + usize::from(!is_outside) + usize::from(is_transferred);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < wanted {
            return None;
        }
        let mut next = || idle.pop_front();
        let caller = next()?;
        let callee = if is_outside { None } else { next() };
        let third = if is_transferred { next() } else { None };
        Some(Cast { caller, callee, third, plan })
    }

    async fn call(self: Arc<Self>, op: u64, cast: Cast) {
        let number = match cast.callee {
            Some(callee) => fill(&self.options.dial_user, "line", &self.users[callee].line()),
            None => self.options.dial_outside.clone(),
        };
        let number = fill(&number, "op", &op.to_string());
        let players = Players {
            caller: &self.users[cast.caller],
            callee: cast.callee.map(|at| &self.users[at]),
            third: cast.third.map(|at| &self.users[at]),
            tally: &self.tally,
        };
        add(&self.tally.calls);
        match players.play(&number, &cast.plan).await {
            Ok(()) => add(&self.tally.calls_ok),
            Err(why) => self.tally.failed(why.to_string()),
        }
        [Some(cast.caller), cast.callee, cast.third].into_iter().flatten().for_each(|at| self.release(at));
    }

    fn release(&self, at: usize) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(at);
    }

    /// One task refreshes for all.
    async fn refresh(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tasks = JoinSet::new();
        loop {
            ticks.tick().await;
            while tasks.try_join_next().is_some() {}
            for at in 0..self.users.len() {
                if tasks.len() >= SIGN_INS_OPEN_MAX {
                    break;
                }
                if self.users[at].refresh_in().is_some_and(|left| left.is_zero()) {
                    let engine = self.clone();
                    tasks.spawn(async move {
                        match engine.users[at].refresh().await {
                            Ok(refreshed) => engine.tally.refresh.record(refreshed.took),
                            Err(why) => engine.tally.failed(format!("refresh: {why}")),
                        }
                    });
                }
            }
        }
    }

    async fn sign_out(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(SIGN_INS_OPEN_MAX));
        for user in self.users.iter().filter(|u| u.is_signed_in()) {
            let Ok(permit) = room.clone().acquire_owned().await else { break };
            let (engine, user) = (self.clone(), user.clone());
            tasks.spawn(async move {
                let _permit = permit;
                if let Err(why) = user.sign_out().await {
                    engine.tally.failed(format!("sign-out: {why}"));
                }
            });
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(Duration::from_secs(30), all).await.is_err() {
            self.tally.failed("sign-out: not all in 30 s");
        }
    }

    /// One line that is written over and over.
    async fn tell(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_secs(1));
        let started = Instant::now();
        loop {
            ticks.tick().await;
            let t = &self.tally;
            let up: usize = self.front_ends.iter().map(|fe| fe.flows().len()).sum();
            eprint!(
                "\r{:>4} s  {up} connections  {} of {} signed in  calls {} ok {} failed {} unknown {}   ",
                started.elapsed().as_secs(),
                read(&t.signed_in),
                self.users.len(),
                read(&t.calls),
                read(&t.calls_ok),
                t.failures_count(),
                read(&t.unknown),
            );
        }
    }
}

/// Indices into the users.
struct Cast {
    caller: usize,
    callee: Option<usize>,
    third: Option<usize>,
    plan: Plan,
}

/// Evenly spaced turns; a turn that comes late is made up for.
struct Pace {
    next: Instant,
    every: Duration,
}

fn pace(per_s: f64) -> Pace {
    let every = Duration::try_from_secs_f64(1.0 / per_s.max(0.001)).unwrap_or(Duration::from_secs(1));
    Pace { next: Instant::now(), every }
}

impl Pace {
    async fn wait(&mut self) {
        sleep_until(self.next).await;
        self.next += self.every;
    }
}
