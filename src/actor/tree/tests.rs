//! On one thread, in a `LocalSet` with paused time, unless a test says otherwise.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Mutex;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::actor::child::Order;

/// Tells a child what to do.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    WaitForEver,
    IgnoreStops,
}

struct Child {
    id: &'static str,
    yard: Yard,
    ignores_stops: bool,
}

impl Actor for Child {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.yard.log(format!("{} stopped", self.id));
    }
}

impl Handler<Order> for Child {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Stop if self.ignores_stops => {}
            Order::Stop => ctx.stop(),
            Order::Probe(_) => {}
        }
    }
}

impl Handler<Do> for Child {
    type Result = ();

    fn handle(&mut self, what: Do, ctx: &mut Self::Context) {
        match what {
            Do::Panic => panic!("planted"),
            Do::Stop => ctx.stop(),
            Do::WaitForEver => ctx.wait(actix::fut::wrap_future(std::future::pending())),
            Do::IgnoreStops => self.ignores_stops = true,
        }
    }
}

/// What the children of a test share: addresses by name, and the log of births, ends and happenings.
#[derive(Clone, Default)]
struct Yard {
    addrs: Rc<RefCell<BTreeMap<&'static str, Addr<Child>>>>,
    log: Rc<RefCell<Vec<String>>>,
    happenings: Arc<Mutex<Vec<Happening>>>,
}

impl Yard {
    fn log(&self, line: String) {
        self.log.borrow_mut().push(line);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.borrow_mut())
    }

    fn happenings(&self) -> Vec<Happening> {
        std::mem::take(&mut *self.happenings.lock().unwrap())
    }

    fn tell(&self, id: &'static str, what: Do) {
        self.addrs.borrow()[id].do_send(what);
    }

    fn child(&self, id: &'static str) -> ChildSpec {
        let yard = self.clone();
        ChildSpec::new(id, move |birth| {
            let yard = yard.clone();
            async move {
                yard.log(format!("{id} born"));
                let child = Child { id, yard: yard.clone(), ignores_stops: false };
                let addr = birth.actor(|_, _| child);
                yard.addrs.borrow_mut().insert(id, addr);
                Ok(())
            }
        })
    }

    fn supervisor(&self, strategy: Strategy) -> Supervisor {
        let happenings = self.happenings.clone();
        Supervisor::new(strategy).on(move |happening| happenings.lock().unwrap().push(happening))
    }

    async fn run(&self, supervisor: Supervisor) -> Running {
        let tree = supervisor.start().await.unwrap();
        let (stop, signal) = StopSignal::new();
        Running { ended: tokio::task::spawn_local(tree.run(signal)), stop }
    }
}

struct Running {
    stop: watch::Sender<bool>,
    ended: JoinHandle<Ended>,
}

impl Running {
    async fn ended(self) -> Ended {
        tokio::time::timeout(Duration::from_secs(600), self.ended).await.expect("it ends, in virtual time").unwrap()
    }

    async fn stop(self) -> Ended {
        self.stop.send(true).unwrap();
        self.ended.await.unwrap()
    }
}

/// Lets everything happen that is due within `ms`.
async fn pass_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn local<F: Future>(test: F) -> F::Output {
    tokio::time::pause();
    LocalSet::new().run_until(test).await
}

fn three(yard: &Yard, strategy: Strategy) -> Supervisor {
    yard.supervisor(strategy).child(yard.child("a")).child(yard.child("b")).child(yard.child("c"))
}

async fn log_after(strategy: Strategy, crash: &'static str) -> Vec<String> {
    let yard = Yard::default();
    let running = yard.run(three(&yard, strategy)).await;
    yard.taken();
    yard.tell(crash, Do::Panic);
    pass_ms(100).await;
    let log = yard.taken();
    assert_eq!(running.stop().await, Ended::Stopped);
    log
}

#[tokio::test]
async fn children_start_in_order_and_stop_in_reverse_order() {
    local(async {
        let yard = Yard::default();
        let running = yard.run(three(&yard, Strategy::OneForOne)).await;
        assert_eq!(yard.taken(), ["a born", "b born", "c born"]);
        assert_eq!(running.stop().await, Ended::Stopped);
        assert_eq!(yard.taken(), ["c stopped", "b stopped", "a stopped"]);
    })
    .await;
}

#[tokio::test]
async fn one_for_one_restarts_only_the_child_that_died() {
    local(async {
        assert_eq!(log_after(Strategy::OneForOne, "b").await, ["b stopped", "b born"]);
    })
    .await;
}

#[tokio::test]
async fn rest_for_one_restarts_the_child_and_those_after_it() {
    local(async {
        let log = log_after(Strategy::RestForOne, "b").await;
        assert_eq!(log, ["b stopped", "c stopped", "b born", "c born"]);
    })
    .await;
}

#[tokio::test]
async fn one_for_all_restarts_every_child() {
    local(async {
        let log = log_after(Strategy::OneForAll, "b").await;
        assert_eq!(log, ["b stopped", "c stopped", "a stopped", "a born", "b born", "c born"]);
    })
    .await;
}

#[tokio::test]
async fn a_transient_child_is_restarted_after_a_panic_and_not_after_a_normal_end() {
    local(async {
        let yard = Yard::default();
        let tree = yard.supervisor(Strategy::OneForOne).child(yard.child("a").restart(Restart::Transient));
        let running = yard.run(tree).await;
        yard.tell("a", Do::Panic);
        pass_ms(100).await;
        assert_eq!(yard.taken(), ["a born", "a stopped", "a born"]);
        yard.tell("a", Do::Stop);
        pass_ms(100_000).await;
        assert_eq!(yard.taken(), ["a stopped"]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_permanent_child_is_restarted_after_a_normal_end_too() {
    local(async {
        let yard = Yard::default();
        let running = yard.run(yard.supervisor(Strategy::OneForOne).child(yard.child("a"))).await;
        yard.tell("a", Do::Stop);
        pass_ms(100).await;
        assert_eq!(yard.taken(), ["a born", "a stopped", "a born"]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_temporary_child_is_never_restarted_not_even_with_its_siblings() {
    local(async {
        let yard = Yard::default();
        let tree = yard.supervisor(Strategy::OneForAll);
        let tree = tree.child(yard.child("a")).child(yard.child("b").restart(Restart::Temporary));
        let running = yard.run(tree).await;
        yard.taken();
        yard.tell("a", Do::Panic);
        pass_ms(100).await;
        assert_eq!(yard.taken(), ["a stopped", "b stopped", "a born"]);
        running.stop().await;
    })
    .await;
}

/// OTP: more than `intensity` restarts within `period`; the supervisor stops its children and itself.
#[tokio::test]
async fn one_restart_too_many_stops_all_children_in_reverse_order_and_escalates() {
    local(async {
        let yard = Yard::default();
        let tree = three(&yard, Strategy::OneForOne).intensity(Intensity { restarts_max: 2, period_ms: 10_000 });
        let running = yard.run(tree).await;
        for _ in 0..2 {
            yard.tell("b", Do::Panic);
            pass_ms(100).await;
        }
        assert!(!running.ended.is_finished());
        yard.taken();
        yard.tell("b", Do::Panic);
        assert_eq!(running.ended().await, Ended::Escalated);
        assert_eq!(yard.taken(), ["b stopped", "c stopped", "a stopped"]);
        assert_eq!(yard.happenings().iter().filter(|h| matches!(h, Happening::Escalated { child: "b" })).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn restarts_spread_over_more_than_the_period_are_not_too_many() {
    local(async {
        let yard = Yard::default();
        let tree = three(&yard, Strategy::OneForOne).intensity(Intensity { restarts_max: 2, period_ms: 1_000 });
        let running = yard.run(tree).await;
        for _ in 0..20 {
            yard.tell("b", Do::Panic);
            pass_ms(600).await;
        }
        assert_eq!(running.stop().await, Ended::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_child_supervisor_that_escalates_is_restarted_by_its_parent_with_its_children() {
    local(async {
        let yard = Yard::default();
        let inner = yard.clone();
        let tree = yard.supervisor(Strategy::OneForOne).child(ChildSpec::supervisor("inner", move || {
            three(&inner, Strategy::OneForOne).intensity(Intensity { restarts_max: 0, period_ms: 1_000 })
        }));
        let running = yard.run(tree).await;
        yard.taken();
        yard.tell("b", Do::Panic);
        pass_ms(100).await;
        assert_eq!(yard.taken(), ["b stopped", "c stopped", "a stopped", "a born", "b born", "c born"]);
        let died = Happening::Died { child: "inner", exit: Exit::Failed };
        assert!(yard.happenings().contains(&died));
        running.stop().await;
        assert_eq!(yard.taken(), ["c stopped", "b stopped", "a stopped"]);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_does_not_stop_in_time_is_killed_and_the_others_still_stop() {
    local(async {
        let yard = Yard::default();
        let tree = yard.supervisor(Strategy::OneForOne).child(yard.child("a"));
        let running = yard.run(tree.child(yard.child("b").stop_timeout_ms(700))).await;
        yard.tell("b", Do::IgnoreStops);
        pass_ms(1).await;
        yard.happenings();
        let before = Instant::now();
        running.stop().await;
        assert!((700..=702).contains(&before.elapsed().as_millis()), "virtual time");
        let stopped = |child, was_killed| Happening::Stopped { child, was_killed };
        assert_eq!(yard.happenings(), [stopped("b", true), stopped("a", false)]);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_waits_for_ever_is_found_by_the_probe_and_replaced() {
    local(async {
        let yard = Yard::default();
        let tree = yard.supervisor(Strategy::OneForOne).child(yard.child("a").probe_every_ms(1_000));
        let running = yard.run(tree).await;
        pass_ms(60_500).await;
        assert_eq!(yard.taken(), ["a born"], "a healthy child answers");
        yard.tell("a", Do::WaitForEver);
        pass_ms(2_000).await;
        assert_eq!(yard.taken(), ["a stopped", "a born"]);
        assert!(yard.happenings().contains(&Happening::Died { child: "a", exit: Exit::Killed }));
        pass_ms(60_000).await;
        assert_eq!(yard.taken(), [""; 0]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_death_of_an_older_generation_is_not_counted() {
    local(async {
        let yard = Yard::default();
        let supervisor =
            yard.supervisor(Strategy::OneForOne).intensity(Intensity { restarts_max: 1, period_ms: 10_000 });
        let tree = supervisor.child(yard.child("a")).start().await.unwrap();
        let State::Up(first) = &tree.children[0].state else { panic!("it has started") };
        let (first, (stop, signal)) = (first.clone(), StopSignal::new());
        let ended = tokio::task::spawn_local(tree.run(signal));
        yard.tell("a", Do::Panic);
        pass_ms(100).await;
        yard.taken();
        // The same life reports its death again: the second report names a generation that is not up.
        drop(Birth::new(first, Arc::default()));
        pass_ms(100).await;
        assert_eq!(yard.taken(), [""; 0]);
        stop.send(true).unwrap();
        assert_eq!(ended.await.unwrap(), Ended::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again_with_growing_delays() {
    local(async {
        let yard = Yard::default();
        let (inner, mut births) = (yard.clone(), 0);
        let spec = ChildSpec::new("a", move |birth| {
            births += 1;
            let (yard, birth_nr) = (inner.clone(), births);
            async move {
                match birth_nr {
                    2 => Err(StartFailed::because("planted")),
                    3 => panic!("planted"),
                    4 => std::future::pending().await,
                    _ => {
                        let child = Child { id: "a", yard: yard.clone(), ignores_stops: false };
                        yard.addrs.borrow_mut().insert("a", birth.actor(|_, _| child));
                        Ok(())
                    }
                }
            }
        });
        let backoff = Backoff { first_ms: 10, ceiling_ms: 1_000 };
        let tree = yard.supervisor(Strategy::OneForOne).backoff(backoff).child(spec.start_timeout_ms(100));
        let running = yard.run(tree).await;
        yard.happenings();
        yard.tell("a", Do::Panic);
        pass_ms(1_000).await;
        let (child, failed) = ("a", Happening::StartFailed { child: "a" });
        let restart = |delay_ms| Happening::RestartIn { child, delay_ms };
        assert_eq!(
            yard.happenings(),
            [
                Happening::Died { child, exit: Exit::Panicked },
                restart(10),
                failed,
                restart(20),
                failed,
                restart(40),
                failed,
                restart(80),
                Happening::Started { child },
            ]
        );
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn when_a_first_start_fails_the_children_before_it_are_stopped_again() {
    local(async {
        let yard = Yard::default();
        let refuses = ChildSpec::new("c", |_birth| async { Err(StartFailed::because("planted")) });
        let tree = yard.supervisor(Strategy::OneForOne).child(yard.child("a")).child(yard.child("b")).child(refuses);
        let failed = tree.start().await.map(drop).unwrap_err();
        assert_eq!(failed.child, "c");
        assert_eq!(yard.taken(), ["a born", "b born", "b stopped", "a stopped"]);
    })
    .await;
}

#[tokio::test]
async fn a_plain_task_is_restarted_when_it_fails_and_told_to_stop() {
    local(async {
        let yard = Yard::default();
        let log = yard.clone();
        let spec = ChildSpec::new("task", move |birth| {
            let log = log.clone();
            async move {
                birth.local_task(|mut stop, _| async move {
                    log.log("task born".into());
                    tokio::select! {
                        () = pass_ms(1_000) => Exit::Failed,
                        () = stop.stopped() => {
                            log.log("task stopped".into());
                            Exit::Normal
                        }
                    }
                });
                Ok(())
            }
        });
        let tree = yard.supervisor(Strategy::OneForOne).child(spec.restart(Restart::Transient));
        let running = yard.run(tree).await;
        pass_ms(1_500).await;
        running.stop().await;
        assert_eq!(yard.taken(), ["task born", "task born", "task stopped"]);
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_takes_its_children_along() {
    local(async {
        let yard = Yard::default();
        let tree = three(&yard, Strategy::OneForOne).start().await.unwrap();
        pass_ms(1).await;
        drop(tree);
        pass_ms(1).await;
        let mut log = yard.taken();
        log.sort();
        assert_eq!(log, ["a born", "a stopped", "b born", "b stopped", "c born", "c stopped"]);
    })
    .await;
}

/// Real threads: the child lives on an arbiter that a handler blocks.
#[test]
fn a_child_that_blocks_its_thread_is_reported_hung_and_escalated() {
    actix_rt::System::new().block_on(async {
        tokio::time::pause();
        let yard = Yard::default();
        let arbiter = actix_rt::Arbiter::new();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (handle, mut released) = (arbiter.handle(), Some(released));
        let spec = ChildSpec::new("a", move |birth| {
            let (handle, released) = (handle.clone(), released.take());
            async move {
                birth.actor_on(&handle, move |_, _| Blocks(released));
                Ok(())
            }
        });
        let tree = yard.supervisor(Strategy::OneForOne).child(spec.probe_every_ms(1_000));
        let running = yard.run(tree).await;
        assert_eq!(running.ended().await, Ended::Escalated);
        let happenings = yard.happenings();
        assert_eq!(happenings[1..], [Happening::Hung { child: "a" }, Happening::Escalated { child: "a" }]);
        release.send(()).unwrap();
        arbiter.stop();
        arbiter.join().unwrap();
    });
}

/// Blocks its thread from its start on, until released.
struct Blocks(Option<std::sync::mpsc::Receiver<()>>);

impl Actor for Blocks {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.address().do_send(Order::Stop);
        if let Some(released) = self.0.take() {
            let _ = released.recv();
        }
    }
}

impl Handler<Order> for Blocks {
    type Result = ();

    fn handle(&mut self, _: Order, _: &mut Self::Context) {}
}
