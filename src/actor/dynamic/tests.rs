//! Sessions in miniature: a number in a record, by key. On one thread with paused time, unless a test says otherwise.

use std::collections::BTreeMap;
use std::future::Future;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_rt::{Arbiter, System};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::actor::child::{Life, Order};
use crate::store::{Claims, MemoryStore, RecordBody, Records};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Number {
    value: u64,
}

impl RecordBody for Number {
    const KIND: u8 = 201;
}

/// An input with the fingerprint 1000 + its number.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<u64, Parked>")]
enum Input {
    Add,
    Panic,
    Stop,
    Fail,
    WaitForEver,
    IgnoreStops,
    BlockThread,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Parked;

struct Session {
    key: u64,
    number: Number,
    version: u64,
    parked: Arc<[u64]>,
    life: Life,
    yard: Yard,
    ignores_stops: bool,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<Order> for Session {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Stop if self.ignores_stops => {}
            Order::Stop => ctx.stop(),
            Order::Probe(_) => {}
        }
    }
}

impl Handler<Input> for Session {
    type Result = Result<u64, Parked>;

    fn handle(&mut self, input: Input, ctx: &mut Self::Context) -> Self::Result {
        let fingerprint = 1000 + input as u64;
        if self.parked.contains(&fingerprint) {
            return Err(Parked);
        }
        self.life.takes_up(fingerprint);
        match input {
            Input::Add => {
                self.number.value += 1;
                let key = self.key.to_string();
                let commit = self.yard.0.records.commit(&key, self.version, Claims::default(), &self.number);
                self.version = futures_util::FutureExt::now_or_never(commit).unwrap().unwrap();
            }
            Input::Panic => {
                // What was not committed must not survive.
                self.number.value += 1_000_000;
                panic!("planted");
            }
            Input::Stop => ctx.stop(),
            Input::Fail => {
                self.life.fail();
                ctx.stop();
            }
            Input::WaitForEver => {
                ctx.wait(std::future::pending().into_actor(self));
                return Ok(0);
            }
            Input::IgnoreStops => self.ignores_stops = true,
            // Until the sender is dropped.
            Input::BlockThread => drop(self.yard.0.blocker.lock().unwrap().take().unwrap().recv()),
        }
        self.life.puts_down();
        Ok(self.number.value)
    }
}

#[derive(Clone)]
struct Yard(Arc<Inside>);

struct Inside {
    records: Records,
    addrs: Mutex<BTreeMap<u64, Addr<Session>>>,
    happenings: Mutex<Vec<Happening<u64>>>,
    births: AtomicU64,
    born: Notify,
    blocker: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Yard {
    async fn new() -> Self {
        let records = Records::join(Arc::new(MemoryStore::new()), "a").await.unwrap();
        Self(Arc::new(Inside {
            records,
            addrs: Mutex::default(),
            happenings: Mutex::default(),
            births: AtomicU64::new(0),
            born: Notify::new(),
            blocker: Mutex::default(),
        }))
    }

    fn plan(&self) -> Plan<u64> {
        let (yard, told) = (self.clone(), self.clone());
        Plan::new(move |key: &u64, birth| {
            let yard = yard.clone();
            let loaded = yard.0.records.load::<Number>(&key.to_string()).unwrap();
            let (number, version) = loaded.map_or((Number { value: 0 }, 0), |loaded| (loaded.value, loaded.version));
            let (key, parked, within) = (*key, birth.parked().clone(), yard.clone());
            let addr = birth.actor(|_, life| Session {
                key,
                number,
                version,
                parked,
                life,
                yard: within,
                ignores_stops: false,
            });
            yard.0.addrs.lock().unwrap().insert(key, addr);
            yard.0.births.fetch_add(1, Ordering::AcqRel);
            yard.0.born.notify_waiters();
        })
        .on(move |happening| told.0.happenings.lock().unwrap().push(happening.clone()))
    }

    async fn ask(&self, key: u64, input: Input) -> Option<Result<u64, Parked>> {
        let addr = self.0.addrs.lock().unwrap()[&key].clone();
        let answer = tokio::time::timeout(Duration::from_secs(600), addr.send(input)).await;
        answer.expect("it answers or dies").ok()
    }

    fn happenings(&self) -> Vec<Happening<u64>> {
        std::mem::take(&mut *self.0.happenings.lock().unwrap())
    }

    fn births(&self) -> u64 {
        self.0.births.load(Ordering::Acquire)
    }

    /// Until there were so many births; for real threads.
    async fn wait_for_births(&self, births: u64) {
        loop {
            let born = self.0.born.notified();
            tokio::pin!(born);
            born.as_mut().enable();
            if self.births() >= births {
                return;
            }
            born.await;
        }
    }
}

struct Running {
    sessions: DynamicSupervisor<u64>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Ended>,
}

impl Running {
    fn new(plan: Plan<u64>) -> Self {
        let sessions = DynamicSupervisor::new(plan);
        let (stop, signal) = StopSignal::new();
        Self { ended: tokio::task::spawn_local(sessions.clone().run(signal)), sessions, stop }
    }

    async fn stop(self) -> Ended {
        self.stop.send(true).unwrap();
        self.ended.await.unwrap()
    }
}

async fn pass_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn local<F: Future>(test: F) -> F::Output {
    tokio::time::pause();
    LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn a_session_that_panics_comes_back_from_its_record() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        running.sessions.start(1).unwrap();
        pass_ms(1).await;
        assert_eq!(yard.ask(1, Input::Add).await, Some(Ok(1)));
        assert_eq!(yard.ask(1, Input::Add).await, Some(Ok(2)));
        assert_eq!(yard.ask(1, Input::Panic).await, None);
        pass_ms(5).await;
        assert_eq!(yard.ask(1, Input::Add).await, Some(Ok(3)));
        assert_eq!(yard.happenings(), [Happening::Died { key: 1, exit: Exit::Panicked }]);
        assert_eq!(running.stop().await, Ended::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_is_forgotten_and_one_that_fails_itself_is_restarted() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        running.sessions.start(1).unwrap();
        pass_ms(1).await;
        yard.ask(1, Input::Fail).await;
        pass_ms(100).await;
        assert_eq!((yard.births(), running.sessions.children_count()), (2, 1));
        yard.ask(1, Input::Stop).await;
        pass_ms(100_000).await;
        assert_eq!((yard.births(), running.sessions.children_count()), (2, 0));
        running.sessions.start(1).unwrap();
        pass_ms(1).await;
        assert_eq!(yard.births(), 3);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_thousand_sessions_that_crash_at_once_all_come_back() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        for key in 0..1000 {
            running.sessions.start(key).unwrap();
        }
        pass_ms(1).await;
        for key in 0..1000 {
            yard.ask(key, Input::Add).await;
        }
        yard.0.addrs.lock().unwrap().values().for_each(|addr| addr.do_send(Input::Panic));
        pass_ms(10).await;
        assert_eq!((yard.births(), running.sessions.children_count()), (2000, 1000));
        for key in 0..1000 {
            assert_eq!(yard.ask(key, Input::Add).await, Some(Ok(2)));
        }
        assert!(yard.happenings().iter().all(|happening| matches!(happening, Happening::Died { .. })));
        assert_eq!(running.stop().await, Ended::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_session_in_a_crash_loop_is_given_up_and_the_others_go_on() {
    local(async {
        let yard = Yard::new().await;
        let mut plan = yard.plan();
        plan.intensity = Intensity { restarts_max: 2, period_ms: 10_000 };
        let running = Running::new(plan);
        running.sessions.start(1).unwrap();
        running.sessions.start(2).unwrap();
        for _ in 0..3 {
            pass_ms(100).await;
            // Not by an input in hand.
            assert!(running.sessions.kill(&1));
        }
        pass_ms(100_000).await;
        let (key, exit) = (1, Exit::Killed);
        let died = Happening::Died { key, exit };
        assert_eq!(yard.happenings(), [died.clone(), died, Happening::GivenUp { key, exit }]);
        assert_eq!(running.sessions.children_count(), 1);
        assert_eq!(yard.ask(2, Input::Add).await, Some(Ok(1)));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_input_that_crashes_its_session_three_times_is_parked_and_the_others_go_on() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        running.sessions.start(1).unwrap();
        running.sessions.start(2).unwrap();
        pass_ms(1).await;
        for crash in 1..=3 {
            assert_eq!(running.sessions.parked(), []);
            assert_eq!(yard.ask(1, Input::Panic).await, None, "crash {crash}");
            pass_ms(20).await;
            assert_eq!(yard.ask(2, Input::Add).await, Some(Ok(crash)));
        }
        let poison = 1000 + Input::Panic as u64;
        assert_eq!(running.sessions.parked(), [(1, poison)]);
        assert!(yard.happenings().contains(&Happening::Parked { key: 1, input: poison }));
        assert_eq!(yard.ask(1, Input::Panic).await, Some(Err(Parked)));
        assert_eq!(yard.ask(1, Input::Add).await, Some(Ok(1)), "other inputs are served");
        assert_eq!(yard.ask(2, Input::Panic).await, None, "for the other session it is not parked");
        running.sessions.release(&1, poison);
        assert_eq!(running.sessions.parked(), []);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_waits_for_ever_is_found_killed_and_replaced() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        for key in 0..20 {
            running.sessions.start(key).unwrap();
        }
        pass_ms(60_000).await;
        assert_eq!(yard.happenings(), [], "healthy sessions answer");
        yard.ask(7, Input::WaitForEver).await;
        pass_ms(20_100).await;
        assert_eq!(yard.happenings(), [Happening::Died { key: 7, exit: Exit::Killed }]);
        assert_eq!(yard.ask(7, Input::Add).await, Some(Ok(1)));
        assert_eq!(yard.births(), 21);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_input_that_hangs_its_session_three_times_is_parked_too() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        running.sessions.start(1).unwrap();
        for _ in 0..3 {
            pass_ms(100).await;
            yard.ask(1, Input::WaitForEver).await;
            pass_ms(20_100).await;
        }
        assert_eq!(running.sessions.parked(), [(1, 1000 + Input::WaitForEver as u64)]);
        assert_eq!(yard.ask(1, Input::WaitForEver).await, Some(Err(Parked)));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_does_not_stop_in_time_is_killed_and_not_restarted() {
    local(async {
        let yard = Yard::new().await;
        let running = Running::new(yard.plan());
        for key in 1..=3 {
            running.sessions.start(key).unwrap();
        }
        pass_ms(1).await;
        yard.ask(1, Input::IgnoreStops).await;
        yard.ask(2, Input::IgnoreStops).await;
        assert!(running.sessions.stop(&1));
        assert!(running.sessions.stop(&3));
        assert!(!running.sessions.stop(&4));
        pass_ms(4_900).await;
        assert_eq!(running.sessions.children_count(), 2);
        pass_ms(200).await;
        assert_eq!(running.sessions.children_count(), 1);
        let sessions = running.sessions.clone();
        assert_eq!(running.stop().await, Ended::Stopped);
        assert_eq!((sessions.children_count(), yard.births()), (0, 3));
        assert_eq!(sessions.start(9), Err(NotStarted::Stopping));
    })
    .await;
}

#[tokio::test]
async fn a_key_is_started_once_and_the_number_of_children_is_bounded() {
    local(async {
        let yard = Yard::new().await;
        let mut plan = yard.plan();
        plan.children_max = 2;
        let running = Running::new(plan);
        assert_eq!(running.sessions.start(1), Ok(()));
        assert_eq!(running.sessions.start(1), Err(NotStarted::Exists));
        assert_eq!(running.sessions.start(2), Ok(()));
        assert_eq!(running.sessions.start(3), Err(NotStarted::Full));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_factory_that_panics_or_finds_no_record_does_no_harm() {
    local(async {
        let happenings = Arc::new(Mutex::new(Vec::new()));
        let told = happenings.clone();
        let mut plan = Plan::new(|key: &u64, birth: Birth| match key {
            1 => panic!("planted"),
            _ => birth.ignore(),
        })
        .on(move |happening| told.lock().unwrap().push(happening.clone()));
        plan.intensity.restarts_max = 1;
        let running = Running::new(plan);
        running.sessions.start(1).unwrap();
        running.sessions.start(2).unwrap();
        pass_ms(100).await;
        assert_eq!(running.sessions.children_count(), 0);
        let (key, exit) = (1, Exit::Panicked);
        assert_eq!(*happenings.lock().unwrap(), [Happening::Died { key, exit }, Happening::GivenUp { key, exit }]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_death_of_an_older_generation_is_not_counted() {
    local(async {
        let yard = Yard::new().await;
        let mut plan = yard.plan();
        plan.intensity.restarts_max = 1;
        let running = Running::new(plan);
        running.sessions.start(1).unwrap();
        running.sessions.replace_place(0, Place::Local);
        pass_ms(10).await;
        running.sessions.replace_place(0, Place::Local);
        pass_ms(10).await;
        // The killed lives have reported: neither counts against the one restart.
        yard.ask(1, Input::Panic).await;
        pass_ms(10).await;
        assert_eq!(yard.ask(1, Input::Add).await, Some(Ok(1)));
        assert_eq!(yard.happenings(), [Happening::Died { key: 1, exit: Exit::Panicked }]);
        running.stop().await;
    })
    .await;
}

/// Real threads and real time; nothing is asserted about how long it takes.
#[test]
fn sessions_on_arbiters_come_back_from_their_records() {
    System::new().block_on(async {
        let yard = Yard::new().await;
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let places = arbiters.iter().map(|arbiter| Place::Arbiter(arbiter.handle())).collect();
        let running = Running::new(yard.plan().places(places));
        for key in 0..200 {
            running.sessions.start(key).unwrap();
        }
        yard.wait_for_births(200).await;
        for key in 0..200 {
            assert_eq!(yard.ask(key, Input::Add).await, Some(Ok(1)));
            yard.ask(key, Input::Panic).await;
        }
        yard.wait_for_births(400).await;
        for key in 0..200 {
            assert_eq!(yard.ask(key, Input::Add).await, Some(Ok(2)));
        }
        assert_eq!(running.stop().await, Ended::Stopped);
    });
}

#[test]
fn the_sessions_of_a_blocked_arbiter_are_reborn_on_another() {
    System::new().block_on(async {
        let yard = Yard::new().await;
        let arbiters = [Arbiter::new(), Arbiter::new(), Arbiter::new()];
        let places = arbiters[..2].iter().map(|arbiter| Place::Arbiter(arbiter.handle())).collect();
        let mut plan = yard.plan().places(places);
        plan.probe_every_ms = 100;
        let (hung, mut told) = tokio::sync::mpsc::channel(8);
        let running = Running::new(plan.on(move |happening| {
            if let Happening::PlaceHung { place } = happening {
                let _ = hung.try_send(*place);
            }
        }));
        for key in 0..20 {
            running.sessions.start(key).unwrap();
        }
        yard.wait_for_births(20).await;
        for key in 0..20 {
            yard.ask(key, Input::Add).await;
        }
        let sessions = &running.sessions;
        let blocked = usize::from(sessions.place_of(&0));
        let moved = (0..20).filter(|key| usize::from(sessions.place_of(key)) == blocked).count() as u64;
        let births = yard.births();
        let (block, blocker) = std::sync::mpsc::channel();
        *yard.0.blocker.lock().unwrap() = Some(blocker);
        yard.0.addrs.lock().unwrap()[&0].do_send(Input::BlockThread);
        while told.recv().await.unwrap() != blocked {}
        sessions.replace_place(blocked, Place::Arbiter(arbiters[2].handle()));
        yard.wait_for_births(births + moved).await;
        for key in 0..20 {
            assert!(matches!(yard.ask(key, Input::Add).await, Some(Ok(2))), "session {key}");
        }
        drop(block);
        assert_eq!(running.stop().await, Ended::Stopped);
    });
}
