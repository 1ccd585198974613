//! A supervisor for ten thousands of children of one kind, each under its own key: the sessions. OTP's
//! `simple_one_for_one`, with two differences: intensity is counted for each child alone (a thousand sessions that
//! crash at once all come back), and a child that exceeds it is given up instead of taking the others along.
//!
//! ```ignore
//! let sessions = DynamicSupervisor::new(
//!     Plan::new(move |id: &SessionId, birth: Birth| match records.load::<Session>(id.as_str()) {
//!         // Runs on the child's thread, for the first start and for every restart.
//!         Ok(Some(record)) => {
//!             let parked = birth.parked().clone();
//!             book.tell(id, birth.actor(|_, life| SessionActor::resume(record, parked, life)));
//!         }
//!         Ok(None) => birth.ignore(),
//!         Err(unreadable) => tracing::error!(..),     // the birth is dropped: a failed start
//!     })
//!     .places(arbiters)
//!     .on(move |happening| match happening {
//!         Happening::GivenUp { key, .. } => book.end(key),          // its client is told 481 and begins anew
//!         Happening::PlaceHung { place } => sessions.replace_place(*place, Place::Arbiter(new_arbiter)),
//!         _ => {}
//!     }),
//! );
//! sessions.start(id)?;
//! ```
//!
//! A session says which input it works on (`life.takes_up(fingerprint)` before the step, `life.puts_down()` after the
//! commit). An input in whose hands it dies three times is parked: the next birth lists it in [`Birth::parked`], and
//! the session answers it with an error instead of working on it.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::child::{Birth, Exit, Obituaries, StopSignal};
use super::intensity::{Backoff, Intensity};
use super::spec::Restart;
use super::supervisor::Ended;
use super::table::{Launch, Table};

/// The children's probes are spread over this many ticks of a probe period.
const TICKS: u32 = 8;
/// A killed child is dropped by its thread within this time, or the thread hangs.
const KILL_GRACE_MS: u64 = 1_000;

/// What a key must be.
pub trait Key: Clone + Ord + Hash + Send + 'static {}

impl<K: Clone + Ord + Hash + Send + 'static> Key for K {}

/// Where children live; a key's place is chosen by its hash, and stays.
#[derive(Clone, Debug)]
pub enum Place {
    /// The thread of whoever calls, in a `LocalSet`: for runs on one thread.
    Local,
    Arbiter(ArbiterHandle),
}

/// Something the operator, or the book of sessions, may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening<K> {
    /// An abnormal end; it is restarted.
    Died { key: K, exit: Exit },
    /// One restart too many, or its restart rule says never: it is forgotten here. Its record is as it was.
    GivenUp { key: K, exit: Exit },
    /// The child has died three times of this input.
    Parked { key: K, input: u64 },
    /// A place does not get round to its children: [`DynamicSupervisor::replace_place`], or the end of the process.
    PlaceHung { place: usize },
    /// At the end: so many children neither stopped nor could be killed.
    Left { children: usize },
}

/// Why a child was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    #[error("there is such a child")]
    Exists,
    /// The caller answers 503.
    #[error("there are children_max children")]
    Full,
    #[error("the supervisor is stopping")]
    Stopping,
}

type Factory<K> = Arc<dyn Fn(&K, Birth) + Send + Sync>;
type On<K> = Arc<dyn Fn(&Happening<K>) + Send + Sync>;

/// What the children have in common.
#[derive(Clone)]
pub struct Plan<K> {
    factory: Factory<K>,
    on: Option<On<K>>,
    places: Vec<Place>,
    pub restart: Restart,
    /// Of each child alone.
    pub intensity: Intensity,
    pub backoff: Backoff,
    pub children_max: usize,
    /// For all of them together at the end, for one that is stopped.
    pub stop_timeout_ms: u64,
    /// A probe that is unanswered when the next is due finds a child hung. Longer than the longest wait a child allows
    /// itself (`ctx.wait`).
    pub probe_every_ms: u64,
}

impl<K: Key> Plan<K> {
    /// Transient children on the caller's thread. The factory runs on the child's place and must bring it to life there
    /// by [`Birth::actor`] or [`Birth::local_task`].
    pub fn new(factory: impl Fn(&K, Birth) + Send + Sync + 'static) -> Self {
        Self {
            factory: Arc::new(factory),
            on: None,
            places: vec![Place::Local],
            restart: Restart::Transient,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            children_max: 100_000,
            stop_timeout_ms: 5_000,
            probe_every_ms: 10_000,
        }
    }

    /// At least one place.
    pub fn places(self, places: Vec<Place>) -> Self {
        assert!(!places.is_empty(), "children need a place");
        Self { places, ..self }
    }

    /// Told of every happening; on the supervisor's thread, without a lock held.
    pub fn on(self, on: impl Fn(&Happening<K>) + Send + Sync + 'static) -> Self {
        Self { on: Some(Arc::new(on)), ..self }
    }
}

/// Starts, watches and restarts children. Cloning is cheap, and every clone is the same supervisor.
pub struct DynamicSupervisor<K>(Arc<Shared<K>>);

impl<K> Clone for DynamicSupervisor<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<K> {
    factory: Factory<K>,
    on: Option<On<K>>,
    stop_timeout_ms: u64,
    probe_every_ms: u64,
    obituaries: Arc<Obituaries>,
    table: Mutex<Table<K>>,
    places: Mutex<Vec<Watched>>,
}

/// A place and its canary: a task sent there with each tick, unless the last is still under way.
struct Watched {
    place: Place,
    asked: u64,
    asked_at: Option<Instant>,
    answered: Arc<AtomicU64>,
    is_told: bool,
}

impl Watched {
    fn new(place: Place) -> Self {
        Self { place, asked: 0, asked_at: None, answered: Arc::default(), is_told: false }
    }

    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire) == self.asked
    }
}

impl<K: Key> DynamicSupervisor<K> {
    pub fn new(plan: Plan<K>) -> Self {
        let obituaries = Arc::<Obituaries>::default();
        let table = Table::new(obituaries.clone(), plan.restart, plan.intensity, plan.backoff, plan.children_max);
        Self(Arc::new(Shared {
            factory: plan.factory,
            on: plan.on,
            stop_timeout_ms: plan.stop_timeout_ms,
            probe_every_ms: plan.probe_every_ms,
            obituaries,
            table: Mutex::new(table),
            places: Mutex::new(plan.places.into_iter().map(Watched::new).collect()),
        }))
    }

    /// Starts a child. Its factory runs on its place, later; its failure is a death like another.
    pub fn start(&self, key: K) -> Result<(), NotStarted> {
        let place = self.place_of(&key);
        let launch = self.table().start(key, place)?;
        self.launch(launch);
        Ok(())
    }

    /// Asks a child to end, for good; false when there is none.
    pub fn stop(&self, key: &K) -> bool {
        let kill_at = Instant::now() + Duration::from_millis(self.0.stop_timeout_ms);
        let found = self.table().stop(key, kill_at);
        // The time-out may come before whatever the supervisor sleeps for.
        self.0.obituaries.wake();
        found
    }

    /// Drops a child where it stands; it is restarted. False when there is none, or none alive.
    pub fn kill(&self, key: &K) -> bool {
        self.table().kill(key)
    }

    /// How many children there are, those that wait for a restart included.
    pub fn children_count(&self) -> usize {
        self.table().len()
    }

    /// (child, fingerprint) of every parked input, oldest first.
    pub fn parked(&self) -> Vec<(K, u64)> {
        self.table().poison.list().cloned().collect()
    }

    /// The operator lets a parked input in again, from the child's next start.
    pub fn release(&self, key: &K, input: u64) {
        self.table().poison.release(key, input);
    }

    /// Gives up a hung place: its children are born anew on another. Should the old thread ever go on, what lives there
    /// dies at its next breath; a handler that was in the middle of its work finishes it first, and its record's version
    /// refuses it.
    pub fn replace_place(&self, index: usize, place: Place) {
        {
            let mut places = self.places();
            let Some(watched) = places.get_mut(index) else { return };
            *watched = Watched::new(place);
        }
        let launches = self.table().rebirth(index as u16);
        launches.into_iter().for_each(|launch| self.launch(launch));
    }

    /// Keeps the children alive until told to stop, then stops them all at once.
    pub async fn run(self, mut stop: StopSignal) -> Ended {
        let tick = Duration::from_millis(self.0.probe_every_ms) / TICKS;
        let (mut tick_at, mut tick_nr) = (Instant::now() + tick, 0);
        loop {
            self.bury();
            let now = Instant::now();
            self.fire(now);
            if tick_at <= now {
                tick_at = now + tick;
                tick_nr = (tick_nr + 1) % TICKS;
                self.probe(now, tick_nr);
            }
            let wake_at = self.table().next_timer().map_or(tick_at, |at| at.min(tick_at));
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = self.0.obituaries.changed() => {}
                () = sleep_until(wake_at) => {}
            }
        }
        self.end().await
    }

    async fn end(&self) -> Ended {
        self.table().order_all();
        if !self.drained(self.0.stop_timeout_ms).await {
            self.table().kill_all();
            if !self.drained(KILL_GRACE_MS).await {
                self.tell(&Happening::Left { children: self.children_count() });
                return Ended::Escalated;
            }
        }
        Ended::Stopped
    }

    async fn drained(&self, timeout_ms: u64) -> bool {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        loop {
            self.bury();
            if self.table().len() == 0 {
                return true;
            }
            if timeout_at(deadline, self.0.obituaries.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Deals with the deaths reported so far.
    fn bury(&self) {
        let downs = self.0.obituaries.take();
        if downs.is_empty() {
            return;
        }
        let mut happenings = Vec::new();
        {
            let mut table = self.table();
            let now = Instant::now();
            downs.into_iter().for_each(|down| table.bury(down, now, &mut happenings));
        }
        happenings.iter().for_each(|happening| self.tell(happening));
    }

    /// Restarts who is due, kills who did not stop in time.
    fn fire(&self, now: Instant) {
        let launches = self.table().fire(now);
        launches.into_iter().for_each(|launch| self.launch(launch));
    }

    fn probe(&self, now: Instant, tick_nr: u32) {
        let mut hung = Vec::new();
        let mut is_awake = Vec::new();
        for (index, watched) in self.places().iter_mut().enumerate() {
            let Place::Arbiter(arbiter) = &watched.place else {
                is_awake.push(true);
                continue;
            };
            // A place that has answered since the last tick worked off what was sent there a period ago.
            is_awake.push(watched.has_answered());
            if watched.has_answered() {
                watched.asked += 1;
                watched.asked_at = Some(now);
                watched.is_told = false;
                let (answered, asked) = (watched.answered.clone(), watched.asked);
                arbiter.spawn_fn(move || answered.store(asked, Ordering::Release));
            } else if !watched.is_told
                && watched.asked_at.is_some_and(|at| now - at >= Duration::from_millis(self.0.probe_every_ms))
            {
                watched.is_told = true;
                hung.push(index);
            }
        }
        self.table().probe(tick_nr, TICKS, &is_awake);
        hung.into_iter().for_each(|place| self.tell(&Happening::PlaceHung { place }));
    }

    fn launch(&self, launch: Launch<K>) {
        let factory = self.0.factory.clone();
        let born = move || {
            if !launch.birth.is_killed() {
                factory(&launch.key, launch.birth);
            }
        };
        let place = self.places()[usize::from(launch.place)].place.clone();
        match place {
            Place::Local => drop(actix_rt::spawn(async move { born() })),
            // A dead arbiter drops the birth, which is then reported as failed.
            Place::Arbiter(arbiter) => drop(arbiter.spawn_fn(born)),
        }
    }

    fn place_of(&self, key: &K) -> u16 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        (hash % self.places().len() as u64) as u16
    }

    fn tell(&self, happening: &Happening<K>) {
        match happening {
            Happening::Died { exit, .. } => tracing::warn!(?exit, "session actor died and is restarted"),
            Happening::GivenUp { exit, .. } => tracing::error!(?exit, "session actor is given up: see why it dies"),
            Happening::Parked { input, .. } => {
                tracing::error!(input, "an input that crashes its session is parked: report it, then release it")
            }
            Happening::PlaceHung { place } => tracing::error!(place, "an arbiter hangs"),
            Happening::Left { children } => tracing::error!(children, "children could not be stopped"),
        }
        if let Some(on) = &self.0.on {
            on(happening);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.0.table.lock().expect("no code of others runs under this lock, and ours does not panic")
    }

    fn places(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.0.places.lock().expect("no code of others runs under this lock, and ours does not panic")
    }
}

#[cfg(test)]
mod tests;
