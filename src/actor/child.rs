//! A child's life: how it is born, told to stop, probed and killed, and how its death is reported exactly once.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{self, Poll, ready};

use actix::dev::channel::channel;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use actix_rt::ArbiterHandle;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};

/// Messages an actor's mailbox holds before `try_send` refuses, as actix has it.
const MAILBOX_MAX: usize = 16;

/// What a supervisor says to an actor. `stopping` and `stopped` of a supervised actor must not panic: they also run
/// while a panic unwinds, where a second one ends the process.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    /// End in order, by `ctx.stop()`, within the child's time-out.
    Stop,
    /// Are you alive? Dropping the answer answers; so an empty arm will do.
    Probe(Answer),
}

/// The answer to a probe is that this is dropped: the mailbox was worked off up to here.
#[derive(Debug)]
pub struct Answer(Life);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.0.is_probed.store(false, Ordering::Release);
    }
}

/// How a child ended. Everything but `Normal` is abnormal: a `Transient` child is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It has done its work: `ctx.stop()`, or a task that returned so.
    Normal,
    /// It said so ([`Life::fail`], a task's return), or went with its arbiter or runtime.
    Failed,
    Panicked,
    /// By its supervisor.
    Killed,
}

/// A death. Of an old generation it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Down {
    pub slot: u32,
    pub generation: u64,
    pub exit: Exit,
    /// Fingerprint of the input in hand, 0 for none.
    pub input: u64,
}

/// Where deaths are written. Not a mailbox: a death must never be lost, and needs no bound, for each life reports one.
#[derive(Debug, Default)]
pub(super) struct Obituaries {
    list: Mutex<Vec<Down>>,
    notify: Notify,
}

impl Obituaries {
    fn report(&self, down: Down) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(down);
        self.notify.notify_one();
    }

    pub fn take(&self) -> Vec<Down> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes [`Obituaries::changed`] resolve without a death.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Resolves when something was reported since the last time; for one waiter.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

/// One life of one child, shared by the child and its supervisor.
#[derive(Clone, Debug)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    obituaries: Arc<Obituaries>,
    generation: u64,
    slot: u32,
    mark: AtomicU8,
    is_probed: AtomicBool,
    input: AtomicU64,
    waker: AtomicWaker,
    orders: OnceLock<Orders>,
}

#[derive(Debug)]
enum Orders {
    /// Strong: with weak ones, a book that crashes and drops its addresses would end every session in it.
    Mail(Recipient<Order>),
    Signal(watch::Sender<bool>),
}

const MARK_NONE: u8 = 0;
const MARK_FAILED: u8 = 1;
const MARK_KILLED: u8 = 2;

impl Life {
    pub(super) fn new(obituaries: Arc<Obituaries>, slot: u32, generation: u64) -> Self {
        Self(Arc::new(Inner {
            obituaries,
            generation,
            slot,
            mark: AtomicU8::new(MARK_NONE),
            is_probed: AtomicBool::new(false),
            input: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            orders: OnceLock::new(),
        }))
    }

    /// The child begins to work on an input. If it dies before [`Life::puts_down`], the input is counted as the
    /// cause; 0 counts nothing.
    pub fn takes_up(&self, fingerprint: u64) {
        self.0.input.store(fingerprint, Ordering::Release);
    }

    pub fn puts_down(&self) {
        self.takes_up(0);
    }

    /// The child is to be counted as failed when it ends; it then ends itself, e.g. by `ctx.stop()`.
    pub fn fail(&self) {
        let _ = self.0.mark.compare_exchange(MARK_NONE, MARK_FAILED, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Asks the child to end; false when it has no ear for it, and is to be killed.
    pub(super) fn order_stop(&self) -> bool {
        match self.0.orders.get() {
            // Past the mailbox's bound: said once a life.
            Some(Orders::Mail(mail)) => {
                mail.do_send(Order::Stop);
                true
            }
            Some(Orders::Signal(signal)) => signal.send(true).is_ok(),
            None => false,
        }
    }

    /// Drops the child where it stands, on its own thread, also while it waits for a future that never ends. Does
    /// nothing as long as the child blocks its thread.
    pub(super) fn kill(&self) {
        self.0.mark.store(MARK_KILLED, Ordering::Release);
        self.0.waker.wake();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.0.mark.load(Ordering::Acquire) == MARK_KILLED
    }

    /// Whether a probe is unanswered.
    pub(super) fn is_probed(&self) -> bool {
        self.0.is_probed.load(Ordering::Acquire)
    }

    /// Sends a probe; the caller has seen that none is unanswered. Plain tasks are not probed.
    pub(super) fn probe(&self) {
        if let Some(Orders::Mail(mail)) = self.0.orders.get() {
            self.0.is_probed.store(true, Ordering::Release);
            // Past the mailbox's bound, by the one probe that is under way: a full mailbox is no sign of death.
            mail.do_send(Order::Probe(Answer(self.clone())));
        }
    }
}

/// Reports the end of a life, whatever ends it.
#[derive(Debug)]
struct Guard {
    life: Life,
    exit: Option<Exit>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let inner = &self.life.0;
        let exit = match inner.mark.load(Ordering::Acquire) {
            _ if std::thread::panicking() => Exit::Panicked,
            MARK_KILLED => Exit::Killed,
            MARK_FAILED => Exit::Failed,
            _ => self.exit.unwrap_or(Exit::Failed),
        };
        let input = inner.input.load(Ordering::Acquire);
        inner.obituaries.report(Down { slot: inner.slot, generation: inner.generation, exit, input });
    }
}

/// Tells a plain task to end.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Resolves when the task is to end. Cancel-safe.
    pub async fn stopped(&mut self) {
        // Err: whoever could say stop is gone, which says the same.
        let _ = self.0.wait_for(|is_stopped| *is_stopped).await;
    }

    /// A signal and what gives it, for a supervisor without a parent.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }
}

/// The right to bring one child to life. Dropped unused, it counts as a failed start.
#[derive(Debug)]
pub struct Birth {
    guard: Guard,
    parked: Arc<[u64]>,
}

impl Birth {
    pub(super) fn new(life: Life, parked: Arc<[u64]>) -> Self {
        Self { guard: Guard { life, exit: None }, parked }
    }

    /// Fingerprints of the inputs that have crashed this child too often: it answers them with an error.
    pub fn parked(&self) -> &Arc<[u64]> {
        &self.parked
    }

    /// Whether the child was killed before it was born: its factory need not run.
    pub(super) fn is_killed(&self) -> bool {
        self.guard.life.is_killed()
    }

    /// There is nothing to bring to life (the record is gone): counts as a normal end. OTP's `ignore`.
    pub fn ignore(mut self) {
        self.guard.exit = Some(Exit::Normal);
    }

    /// Starts an actor on this thread, which runs a `LocalSet` or an arbiter. Its supervisor keeps an address:
    /// the actor ends by `ctx.stop()`, not by being forgotten.
    pub fn actor<A, F>(self, build: F) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Handler<Order>,
        F: FnOnce(&mut Context<A>, Life) -> A,
    {
        let mut ctx = Context::new();
        let addr = ctx.address();
        let actor = build(&mut ctx, self.guard.life.clone());
        self.hears(&addr);
        actix_rt::spawn(Living { child: ctx.into_future(actor), guard: self.guard });
        addr
    }

    /// Starts an actor on an arbiter.
    pub fn actor_on<A, F>(self, arbiter: &ArbiterHandle, build: F) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Handler<Order>,
        F: FnOnce(&mut Context<A>, Life) -> A + Send + 'static,
    {
        let (sender, receiver) = channel(MAILBOX_MAX);
        let addr = Addr::new(sender);
        self.hears(&addr);
        arbiter.spawn_fn(move || {
            let mut ctx = Context::with_receiver(receiver);
            let actor = build(&mut ctx, self.guard.life.clone());
            actix_rt::spawn(Living { child: ctx.into_future(actor), guard: self.guard });
        });
        addr
    }

    /// Starts a plain task on this thread. A task is not probed.
    pub fn local_task<F: Future<Output = Exit> + 'static>(self, task: impl FnOnce(StopSignal, Life) -> F) {
        let task = task(self.signalled(), self.guard.life.clone());
        actix_rt::spawn(Living { child: Box::pin(task), guard: self.guard });
    }

    /// Starts a plain task on a runtime.
    pub fn task_on<F>(self, runtime: &tokio::runtime::Handle, task: impl FnOnce(StopSignal, Life) -> F)
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        let task = task(self.signalled(), self.guard.life.clone());
        runtime.spawn(Living { child: Box::pin(task), guard: self.guard });
    }

    fn hears<A>(&self, addr: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Order>,
    {
        self.guard.life.0.orders.set(Orders::Mail(addr.clone().recipient())).expect("a birth is used once");
    }

    fn signalled(&self) -> StopSignal {
        let (sender, signal) = StopSignal::new();
        self.guard.life.0.orders.set(Orders::Signal(sender)).expect("a birth is used once");
        signal
    }
}

/// A child at work, until it ends or is killed. The child is dropped first, its death reported then. A struct and not
/// an async block, which would hold an actor's context two or three times (1.1 KB a session).
struct Living<F> {
    child: F,
    guard: Guard,
}

impl<F: Future + Unpin> Future for Living<F>
where
    F::Output: Into<Exit>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.guard.life.0.waker.register(cx.waker());
        if self.guard.life.is_killed() {
            return Poll::Ready(());
        }
        let exit = ready!(Pin::new(&mut self.child).poll(cx));
        self.guard.exit = Some(exit.into());
        Poll::Ready(())
    }
}

/// An actor's context says nothing about its end.
impl From<()> for Exit {
    fn from((): ()) -> Self {
        Self::Normal
    }
}
