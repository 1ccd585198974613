//! A CTI link is lost and comes back under 500 live calls of 1,040 users. Nobody may notice more than a pause: no session
//! is lost, no ghost is left, and nothing is done twice (invariants I1 to I4 of the reliability sheet).
//!
//! Two witnesses that do not trust the gateway: the clients' own views, and the history of the simulated PBX.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{Phase, RccUser, Reply as Answer, Unanswered};
use lyncpin::csta::{Failure, MonitorObject, Service};
use lyncpin::lab::pbx::{Did, Happening, Request};
use support::{FIRST, Lab, Plan, alone, line, settled};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Pairs in the three faults every site will see one day, some of whose calls end before the link goes: 500 are left.
/// And in the others, which cost as much to set up.
const MANY: usize = 520;
const SOME: usize = 200;
const CTI: &str = "heartbeat_s = 1\nheartbeat_misses_max = 2\nconnect_timeout_ms = 500\nrequest_timeout_ms = 1000\n\
                   backoff_min_ms = 20\nbackoff_max_ms = 200";
const WITHIN: Duration = Duration::from_secs(30);

/// In what state a pair's call is when the fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ringing,
    Talking,
    Held,
    Consulted,
}

/// What becomes of it meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Untouched,
    /// Hung up at the phone.
    Ended,
    /// Hung up, then another one rings.
    Replaced,
    /// Answered, held, retrieved, left: at the phone.
    Moved,
    /// A command is on its way when the link goes.
    InFlight,
    /// A command is given while the link is down.
    Commanded,
    /// Hung up, then dialled anew at the phone.
    Redialled,
    /// A command is given after the return.
    Later,
}

#[derive(Clone)]
struct Pair {
    nth: usize,
    kind: Kind,
    role: Role,
    call: String,
    /// The consulted call, active.
    second: Option<String>,
}

impl Pair {
    fn caller(&self) -> usize {
        2 * self.nth
    }

    fn callee(&self) -> usize {
        2 * self.nth + 1
    }
}

/// What a client asked and what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Done,
    Refused,
    Unknown,
}

/// Key: service and what names it at the PBX.
type Ops = Arc<Mutex<Vec<(String, Told)>>>;

fn told(answer: &Result<Answer, Unanswered>) -> Told {
    match answer {
        Ok(answer) if answer.is_done() => Told::Done,
        Ok(_) => Told::Refused,
        Err(why) if why.is_definite() => Told::Refused,
        Err(_) => Told::Unknown,
    }
}

/// What names a world-changing service: the number dialled, or the connection.
fn key(service: &Service) -> Option<String> {
    let name = service.name();
    Some(match service {
        Service::MakeCall { called, .. } | Service::ConsultationCall { consulted: called, .. } => {
            format!("{name} {}", called.trim_start_matches("tel:"))
        }
        Service::AnswerCall { call } | Service::HoldCall { call } | Service::RetrieveCall { call } => {
            format!("{name} {}@{}", call.call, call.device)
        }
        Service::ClearConnection { connection, .. } => format!("{name} {}@{}", connection.call, connection.device),
        Service::ReconnectCall { active, .. } | Service::TransferCall { active, .. } => {
            format!("{name} {}@{}", active.call, active.device)
        }
        _ => return None,
    })
}

struct Storm {
    lab: Lab,
    pairs: Vec<Pair>,
    ops: Ops,
    before: Vec<(Arc<str>, Option<String>, Option<String>)>,
}

fn device(nth: usize) -> String {
    (FIRST + nth).to_string()
}

fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

fn outside(prefix: &str, nth: usize) -> String {
    format!("{prefix}{nth:07}")
}

impl Storm {
    async fn gather(calls: usize) -> Self {
        let plan = Plan { users: 2 * calls, links: 2, arbiters: 1, sip: "keepalive_s = 0", cti: CTI };
        let lab = Lab::start(plan).await;
        let ops = Ops::default();
        let kinds = [Kind::Ringing, Kind::Talking, Kind::Held, Kind::Consulted];
        let roles = [
            Role::Untouched,
            Role::Ended,
            Role::Replaced,
            Role::Moved,
            Role::InFlight,
            Role::Commanded,
            Role::Redialled,
            Role::Later,
        ];
        let pairs = (0..calls).map(|nth| Pair {
            nth,
            kind: kinds[nth % 4],
            role: roles[nth / 4 % 8],
            call: String::new(),
            second: None,
        });
        let mut pairs: Vec<Pair> = pairs.collect();
        for some in pairs.chunks_mut(50) {
            join_all(some.iter_mut().map(|pair| set_up(&lab, pair))).await;
        }
        lab.agree(WITHIN).await;
        let identity = |user: &RccUser| (user.call_id(), user.remote_tag(), user.xref());
        let before = lab.users.iter().map(identity).collect();
        Self { lab, pairs, ops, before }
    }

    fn of(&self, role: Role) -> Vec<Pair> {
        self.pairs.iter().filter(|pair| pair.role == role).cloned().collect()
    }

    /// Gives the command that fits each pair's call; the answer is noted when it comes.
    fn command(&self, role: Role, expected: fn(&Result<Answer, Unanswered>)) -> JoinSet<()> {
        let mut commands = JoinSet::new();
        for pair in self.of(role) {
            let (caller, callee) = (self.lab.users[pair.caller()].clone(), self.lab.users[pair.callee()].clone());
            let ops = self.ops.clone();
            commands.spawn(async move {
                let (own, far) = (device(pair.caller()), device(pair.callee()));
                let (key, answer) = match pair.kind {
                    Kind::Ringing => (format!("AnswerCall {}@{far}", pair.call), callee.answer(&pair.call).await),
                    Kind::Talking if pair.nth % 8 < 4 => {
                        (format!("HoldCall {}@{own}", pair.call), caller.hold(&pair.call).await)
                    }
                    Kind::Talking => (format!("ClearConnection {}@{far}", pair.call), callee.hang_up(&pair.call).await),
                    Kind::Held => {
                        let to = outside("+1206", 5_000_000 + pair.nth);
                        (format!("MakeCall {to}"), caller.make_call(&format!("tel:{to}")).await)
                    }
                    Kind::Consulted => {
                        let active = pair.second.as_deref().expect("a consulted call");
                        (format!("ReconnectCall {active}@{own}"), caller.reconnect(active, &pair.call).await)
                    }
                };
                expected(&answer);
                ops.lock().expect("ops").push((key, told(&answer)));
            });
        }
        commands
    }

    /// People at their phones, who do not know about any link.
    async fn phones(&self) {
        for pair in &self.pairs {
            let (own, far) = (device(pair.caller()), device(pair.callee()));
            let call = Some(pair.call.clone());
            let hang_up = |device: &str, call: &str| Request::Hangup { device: device.into(), call: Some(call.into()) };
            match (pair.role, pair.kind) {
                (Role::Ended | Role::Replaced | Role::Redialled, _) => {
                    if let Some(second) = &pair.second {
                        self.lab.order(hang_up(&own, second)).await;
                    }
                    self.lab.order(hang_up(&own, &pair.call)).await;
                }
                (Role::Moved, Kind::Ringing) => {
                    self.lab.order(Request::Answer { device: Some(far.clone()), call }).await;
                }
                (Role::Moved, Kind::Talking) => {
                    self.lab.order(Request::Hold { device: own.clone(), call }).await;
                }
                (Role::Moved, Kind::Held) => {
                    self.lab.order(Request::Retrieve { device: own.clone(), call }).await;
                }
                (Role::Moved, Kind::Consulted) => {
                    self.lab.order(hang_up(&own, pair.second.as_deref().unwrap_or_default())).await;
                }
                _ => {}
            }
            match pair.role {
                Role::Replaced => {
                    let from = Some(outside("+1208", pair.nth));
                    self.lab.order(Request::Ring { device: far, from }).await;
                }
                Role::Redialled => {
                    let to = outside(["+1206", "+1207"][pair.nth % 2], 8_000_000 + pair.nth);
                    self.lab.order(Request::Dial { device: far, to }).await;
                }
                _ => {}
            }
        }
    }

    async fn heal(&self) {
        self.lab.order(Request::Heal { link: None }).await;
    }

    /// After the fault is gone: everything is as if it had not been.
    async fn recover(&self, name: &str, in_flight: JoinSet<()>) {
        let healed = Instant::now();
        let recovery = self.lab.agree(WITHIN).await;
        answered(in_flight).await;
        let settled = healed.elapsed();
        answered(self.command(Role::Later, done)).await;
        self.lab.agree(WITHIN).await;
        self.nobody_noticed();
        let (services, monitors) = self.nothing_was_done_twice().await;
        let events: u64 = self.lab.users.iter().map(RccUser::events).sum();
        let tally = |told| self.ops.lock().expect("ops").iter().filter(|(_, t)| *t == told).count();
        println!(
            "{name}: {} calls, {events} events, {services} services ({} done, {} refused, {} unknown), {monitors} \
             monitors, views right after {} ms, last answer after {} ms",
            self.lab.calls().await.len(),
            tally(Told::Done),
            tally(Told::Refused),
            tally(Told::Unknown),
            recovery.as_millis(),
            settled.as_millis(),
        );
    }

    fn nobody_noticed(&self) {
        let mut wrong = Vec::new();
        for (user, before) in self.lab.users.iter().zip(&self.before) {
            let now = (user.call_id(), user.remote_tag(), user.xref());
            if now != *before || !user.is_signed_in() {
                wrong.push(format!("{}: was {before:?}, is {now:?}", user.name()));
            }
            wrong.extend(user.violations().iter().map(|violation| format!("{}: {violation:?}", user.name())));
        }
        assert!(wrong.is_empty(), "{} things noticed, e.g. {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    }

    /// Invariant I2, from the PBX's own history: done = once, refused = never, unknown = at most once.
    async fn nothing_was_done_twice(&self) -> (usize, usize) {
        let mut at_pbx: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let (mut services, mut monitors) = (0, 0);
        for entry in self.lab.history().await {
            let Happening::Service { service, did, .. } = entry.what else { continue };
            services += 1;
            monitors += usize::from(matches!(service, Service::MonitorStart { .. }));
            if let Some(key) = key(&service) {
                let counts = at_pbx.entry(key).or_default();
                counts.0 += 1;
                counts.1 += usize::from(!matches!(did, Did::Refused(_)));
            }
        }
        let ops = self.ops.lock().expect("ops");
        let mut by_key: HashMap<&str, Vec<Told>> = HashMap::new();
        ops.iter().for_each(|(key, told)| by_key.entry(key).or_default().push(*told));
        let mut wrong = Vec::new();
        for (key, told) in by_key {
            assert_eq!(told.len(), 1, "{key}: the test asks each thing once");
            let (asked, done) = at_pbx.remove(key).unwrap_or_default();
            let is_right = match told[0] {
                Told::Done => (asked, done) == (1, 1),
                Told::Refused => asked <= 1 && done == 0,
                Told::Unknown => asked <= 1,
            };
            if !is_right {
                wrong.push(format!("{key}: {told:?}, at the PBX asked {asked} times, done {done} times"));
            }
        }
        wrong.extend(at_pbx.iter().filter(|(_, (asked, _))| *asked > 1).map(|twice| format!("{twice:?}")));
        assert!(wrong.is_empty(), "{} services, e.g. {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
        (services, monitors)
    }

    /// The links each device was monitored over, in order.
    async fn links_of_devices(&self) -> BTreeMap<String, Vec<String>> {
        let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.lab.history().await {
            if let Happening::Service { link, service: Service::MonitorStart { object, .. }, .. } = entry.what
                && let MonitorObject::Device(device) = object
            {
                links.entry(device).or_default().push(link);
            }
        }
        links
    }

    async fn end(self) {
        self.lab.gateway.stop().await;
        self.lab.pbx.stop().await;
    }
}

async fn set_up(lab: &Lab, pair: &mut Pair) {
    let (caller, callee) = (&lab.users[pair.caller()], &lab.users[pair.callee()]);
    let made = caller.make_call(&line(FIRST + pair.callee())).await.expect("MakeCall");
    pair.call = made.call().unwrap_or_else(|| panic!("{made:?}")).call.clone();
    reach(callee, &pair.call, Phase::Alerting).await;
    if pair.kind == Kind::Ringing {
        return;
    }
    assert!(callee.answer(&pair.call).await.expect("AnswerCall").is_done());
    reach(caller, &pair.call, Phase::Talking).await;
    match pair.kind {
        Kind::Held => assert!(caller.hold(&pair.call).await.expect("HoldCall").is_done()),
        Kind::Consulted => {
            let to = format!("tel:{}", outside("+1206", 1_000_000 + pair.nth));
            let consulted = caller.consult(&pair.call, &to).await.expect("ConsultationCall");
            let second = consulted.call().unwrap_or_else(|| panic!("{consulted:?}")).call.clone();
            reach(caller, &second, Phase::Talking).await;
            pair.second = Some(second);
        }
        Kind::Ringing | Kind::Talking => {}
    }
}

async fn reach(user: &RccUser, call: &str, phase: Phase) {
    let there = user.until(WITHIN, |view| (view.phase(call) == Some(phase)).then_some(())).await;
    assert!(there.is_some(), "{}: {call} is {:?}, not {phase:?}", user.name(), user.with_view(|v| v.phase(call)));
}

fn out_of_service(answer: &Result<Answer, Unanswered>) {
    let refusal = answer.as_ref().ok().and_then(Answer::refusal);
    assert_eq!(refusal, Some(&Failure::resource_out_of_service()), "{answer:?}");
}

fn done(answer: &Result<Answer, Unanswered>) {
    assert!(answer.as_ref().is_ok_and(Answer::is_done), "{answer:?}");
}

fn any(_: &Result<Answer, Unanswered>) {}

async fn answered(mut commands: JoinSet<()>) {
    while let Some(done) = commands.join_next().await {
        done.expect("a command");
    }
}

/// Until both links are down, as the gateway sees it.
async fn down(storm: &Storm, links: &[usize]) {
    let node = storm.lab.gateway.node().clone();
    settled(WITHIN, || links.iter().all(|at| node.links.iter().nth(*at).is_some_and(|link| !link.is_up()))).await;
}

async fn both(storm: &Storm, fault: impl Fn(String) -> Request) {
    for link in ["pbx1", "pbx2"] {
        storm.lab.order(fault(link.into())).await;
    }
}

#[test]
fn a_link_dropped_and_refused_under_500_calls_leaves_no_trace() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(MANY).await;
        // The PBX does what is asked, but the link goes before it can say so.
        both(&storm, |link| Request::Delay { link, ms: 400 }).await;
        let in_flight = storm.command(Role::InFlight, any);
        sleep(Duration::from_millis(200)).await;
        both(&storm, |link| Request::Refuse { link, on: true }).await;
        both(&storm, |link| Request::Drop { link }).await;
        down(&storm, &[0, 1]).await;
        answered(storm.command(Role::Commanded, out_of_service)).await;
        storm.phones().await;
        // Long enough for OutOfService to be told.
        let users = storm.lab.users.clone();
        settled(WITHIN, || users.iter().all(|user| user.with_view(|view| !view.is_in_service))).await;
        storm.heal().await;
        storm.recover("dropped and refused", in_flight).await;
        storm.end().await;
    });
}

#[test]
fn a_frozen_link_is_found_by_its_heartbeat_and_leaves_no_trace() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(MANY).await;
        both(&storm, |link| Request::Freeze { link, on: true }).await;
        // No end of file: these go into a window nobody reads, and come out of it when the PBX thaws.
        let in_flight = storm.command(Role::InFlight, any);
        down(&storm, &[0, 1]).await;
        answered(storm.command(Role::Commanded, out_of_service)).await;
        storm.phones().await;
        storm.heal().await;
        storm.recover("frozen", in_flight).await;
        storm.end().await;
    });
}

#[test]
fn a_pbx_that_restarts_and_knows_no_monitor_is_monitored_again() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(MANY).await;
        let in_flight = storm.command(Role::InFlight, any);
        storm.lab.order(Request::Restart { link: None, forget_calls: false }).await;
        // It is back at once: a command meets whichever state it meets.
        let commanded = storm.command(Role::Commanded, any);
        storm.phones().await;
        answered(commanded).await;
        storm.recover("restarted", in_flight).await;
        storm.end().await;
    });
}

#[test]
fn a_pbx_that_restarts_and_has_lost_every_call_leaves_no_ghost() {
    let _alone = alone();
    run(async {
        let mut storm = Storm::gather(SOME).await;
        both(&storm, |link| Request::Refuse { link, on: true }).await;
        storm.lab.order(Request::Restart { link: None, forget_calls: true }).await;
        down(&storm, &[0, 1]).await;
        answered(storm.command(Role::Commanded, out_of_service)).await;
        let ring = |pair: Pair| Request::Ring { device: device(pair.callee()), from: Some(outside("+1208", pair.nth)) };
        for pair in storm.of(Role::Replaced) {
            storm.lab.order(ring(pair)).await;
        }
        // None of the old calls is there for a later command.
        storm.pairs.retain(|pair| pair.role != Role::Later);
        storm.heal().await;
        storm.recover("restarted without calls", JoinSet::new()).await;
        storm.end().await;
    });
}

#[test]
fn answers_that_come_after_their_deadline_do_nothing_twice() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(SOME).await;
        both(&storm, |link| Request::Delay { link, ms: 1_500 }).await;
        let in_flight = storm.command(Role::InFlight, any);
        storm.phones().await;
        answered(in_flight).await;
        storm.heal().await;
        storm.recover("answers late", JoinSet::new()).await;
        storm.end().await;
    });
}

#[test]
fn answers_given_twice_count_once() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(SOME).await;
        both(&storm, |link| Request::AnswerTwice { link, on: true }).await;
        let in_flight = storm.command(Role::InFlight, done);
        storm.phones().await;
        storm.recover("answered twice", in_flight).await;
        storm.end().await;
    });
}

#[test]
fn one_of_two_links_lost_touches_only_its_own_sessions() {
    let _alone = alone();
    run(async {
        let storm = Storm::gather(SOME).await;
        let link_of = storm.links_of_devices().await;
        storm.lab.order(Request::Refuse { link: "pbx1".into(), on: true }).await;
        storm.lab.order(Request::Drop { link: "pbx1".into() }).await;
        down(&storm, &[0]).await;
        storm.phones().await;
        // The others follow their calls while the first link is still away.
        let is_of_second = |nth: usize| link_of[&device(nth)] == ["pbx2"];
        assert_eq!((0..2 * SOME).filter(|nth| is_of_second(*nth)).count(), SOME);
        storm.lab.agree_of(WITHIN, is_of_second).await;
        down(&storm, &[0]).await;
        storm.heal().await;
        storm.recover("one of two", JoinSet::new()).await;
        for (device, links) in storm.links_of_devices().await {
            let first = link_of[&device].clone();
            let expected = if first == ["pbx1"] { [first.clone(), first].concat() } else { first };
            assert_eq!(links, expected, "{device}: monitored over these links, in this order");
        }
        storm.end().await;
    });
}
