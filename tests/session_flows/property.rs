//! Whatever comes in whatever order: what always holds of a session.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lyncpin::csta::{
    CallInSnapshot, ConnectionId, ConnectionListItem, DeviceRef, Event, EventBody, Failure, LocalState, Outcome,
    PartyInSnapshot, Service,
};
use lyncpin::cti::{AskId, LinkFailed};
use lyncpin::id::{Moment, SessionId};
use lyncpin::machine::call::CALLS_MAX;
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input};
use lyncpin::machine::outbox::{Lane, WAITING_MAX};
use lyncpin::machine::rules::Rules;
use lyncpin::machine::session::{Context, MONITORS_MAX, Session};
use lyncpin::machine::sign_in::{SignIn, sign_in};
use lyncpin::machine::transaction::Open;
use lyncpin::sip::Message;
use proptest::prelude::*;

use super::notation::{ID, expand};
use super::rig::rules;

/// What happens next: which kind, and three numbers that choose the rest.
type Act = (u8, u8, u8, u8);

/// As in the rig's rules.
const OPEN_MAX: usize = 16;
const CALLS: [&str; 5] = ["4711", "4712", "4713", "a call id with blanks", "4714"];
const DEVICES: [&str; 4] = ["5101", "5202", "5303", "+14165550199"];
const STATES: [LocalState; 7] = [
    LocalState::Alerting,
    LocalState::Connected,
    LocalState::Hold,
    LocalState::Null,
    LocalState::Initiated,
    LocalState::Queued,
    LocalState::Fail,
];
const ANSWERS: [u16; 12] = [200, 200, 200, 200, 200, 430, 480, 503, 500, 403, 408, 100];

fn pick<T: Clone>(from: &[T], by: u8) -> T {
    from[usize::from(by) % from.len()].clone()
}

struct World {
    rules: Rules,
    now: Moment,
    session: Session,
    is_over: bool,
    cseq: u32,
    branch: u32,
    last_info: Option<Message>,
    last_sent: Option<Message>,
    sent: BTreeMap<u32, Bytes>,
    /// Ours that no connection took.
    undelivered: BTreeSet<u32>,
    open: Vec<(AskId, Service)>,
    generation: u32,
    made: u32,
    /// INFOs by branch: when the first came, how often it came, how often it was answered.
    infos: BTreeMap<String, (Moment, u32, u32)>,
    /// INFOs that have changed the world.
    commands: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let rules = rules();
        let now = Moment(1_000_000);
        let mut invite = blank("INVITE", 1, 1, "");
        invite.headers.push("Contact", "<sip:alice@contoso.com;opaque=user:epid:Q;gruu>");
        invite.body = expand("RequestSystemStatus").into();
        let open = Open::of(FlowId(1), &invite).expect("good");
        let cx = Context { rules: &rules, now };
        let session = match sign_in(cx, SessionId::new(ID), FlowId(1), &invite, &open, "cm1") {
            SignIn::Welcome { session, .. } => *session,
            SignIn::Refused { .. } => panic!("alice may sign in"),
        };
        Self {
            rules,
            now,
            session,
            is_over: false,
            cseq: 1,
            branch: 1,
            last_info: None,
            last_sent: None,
            sent: BTreeMap::new(),
            undelivered: BTreeSet::new(),
            open: Vec::new(),
            generation: 0,
            made: 0,
            infos: BTreeMap::new(),
            commands: BTreeSet::new(),
        }
    }

    fn act(&mut self, (kind, a, b, c): Act) {
        match kind % 20 {
            0..=3 => self.command(a, b, c),
            4 => {
                if let Some(info) = self.last_info.clone() {
                    let branch = branch_of(&info);
                    if let Some(seen) = self.infos.get_mut(&branch) {
                        seen.1 += 1;
                    }
                    self.step(Input::Request { flow: FlowId(2), message: Box::new(info) });
                }
            }
            5 => self.info("MonitorStart(monitorObject(deviceObject=$line))"),
            6 if a % 4 == 0 => {
                let xref = self.session.monitors.last().map_or("none".to_owned(), |monitor| monitor.xref.clone());
                self.info(&format!("MonitorStop(monitorCrossRefID={xref})"));
            }
            6 => self.refresh(a, b),
            7 | 8 => self.answer(pick(&ANSWERS, a), b),
            9..=12 => self.settle(a, b, c),
            13..=15 => self.event(a, b, c),
            16 => self.link(a),
            17 if a % 2 == 0 => self.step(Input::Missed),
            17 => {
                let cseq = self.session.dialog.local_cseq;
                self.undelivered.insert(cseq);
                self.step(Input::Undeliverable { cseq });
            }
            18 => self.wait(pick(&[1, 500, 3_000, 5_000, 28_000, 60_000], a)),
            _ => self.resume(),
        }
    }

    fn command(&mut self, a: u8, b: u8, c: u8) {
        let call = pick(&["4711", "4712", "4713", "4714", "c1"], b);
        let other = pick(&["4711", "4712", "4713", "4714", "c1"], c);
        let text = match a % 14 {
            0 | 1 => "MakeCall(callingDevice=$line calledDirectoryNumber=tel:+14255550202)".to_owned(),
            2 => format!("AnswerCall(callToBeAnswered({call}/$line))"),
            3 => format!("ClearConnection(connectionToBeCleared({call}/$line))"),
            4 => format!("HoldCall(callToBeHeld({call}/$line))"),
            5 => format!("ConsultationCall(existingCall({call}/$line) consultedDevice=tel:+14255550303)"),
            6 => format!("TransferCall(heldCall({call}/$line) activeCall({other}/$line))"),
            7 => "SetDoNotDisturb(device=$line doNotDisturbOn=true)".to_owned(),
            8 => "GetDoNotDisturb(device=$line)".to_owned(),
            9 => "GetCSTAFeatures".to_owned(),
            10 => "SnapshotDevice(snapshotObject=$line)".to_owned(),
            11 => format!("ConferenceCall(heldCall({call}/$line) activeCall({other}/$line))"),
            12 => "<Broken".to_owned(),
            _ => String::new(),
        };
        self.info(&text);
    }

    fn request(&mut self, method: &str, body: &str) -> Message {
        self.cseq += 1;
        self.branch += 1;
        let mut message = blank(method, self.cseq, self.branch, &format!(";tag={ID}"));
        message.body = expand(body).into();
        message
    }

    fn info(&mut self, body: &str) {
        let message = self.request("INFO", body);
        self.infos.insert(branch_of(&message), (self.now, 1, 0));
        self.last_info = Some(message.clone());
        self.step(Input::Request { flow: FlowId(1), message: Box::new(message) });
    }

    fn refresh(&mut self, a: u8, b: u8) {
        let method = if a.is_multiple_of(2) { "UPDATE" } else { "INVITE" };
        if method == "INVITE" && b.is_multiple_of(3) {
            self.cseq = 0;
        }
        let mut message = self.request(method, "");
        message.headers.push("Supported", "timer");
        message.headers.push("Record-Route", format!("<sip:fe{b}.contoso.com:5061;transport=tls;lr>"));
        self.step(Input::Request { flow: FlowId(1), message: Box::new(message) });
    }

    fn answer(&mut self, status: u16, b: u8) {
        let Some(request) = self.last_sent.clone() else { return };
        let mut response = Message::reply_to(&request, status, "Whatever");
        if status == 430 && b.is_multiple_of(2) {
            response.headers.push("P-Dialog-Recovery-Action", "Dialog-Route-Set-Update");
        }
        // A repair that fails ends the session: seldom, or nothing else is ever seen.
        let is_repair = request.method() == Some("UPDATE");
        if is_repair && status >= 300 && !b.is_multiple_of(8) {
            response = Message::reply_to(&request, 200, "OK");
        }
        self.step(Input::Response { message: Box::new(response) });
    }

    fn settle(&mut self, a: u8, b: u8, c: u8) {
        if self.open.is_empty() {
            return;
        }
        let (ask, service) = self.open.remove(usize::from(a) % self.open.len());
        let result = match b % 16 {
            0 => Err(LinkFailed::TimedOut),
            1 => Err(LinkFailed::NotSent),
            2 => Err(LinkFailed::Lost),
            3 => Ok(Outcome::Failed(Failure::resource_out_of_service())),
            4 => Ok(Outcome::HoldCall),
            _ => Ok(self.outcome(&service, b, c)),
        };
        self.step(Input::Settled { ask, result });
    }

    fn fresh(&mut self) -> ConnectionId {
        self.made += 1;
        ConnectionId::new(format!("n{}", self.made), "5101")
    }

    fn outcome(&mut self, service: &Service, b: u8, c: u8) -> Outcome {
        let connection = || ConnectionId::new(pick(&CALLS, c), "5101");
        match service {
            Service::MonitorStart { .. } => {
                self.generation += 1;
                Outcome::MonitorStart { xref: format!("x{}", self.generation), existing_calls: None }
            }
            // A new call has a new id: no switch gives one again before its end has been told.
            Service::MakeCall { .. } => Outcome::MakeCall { calling: self.fresh() },
            Service::ConsultationCall { .. } => Outcome::ConsultationCall { initiated: self.fresh() },
            Service::SnapshotDevice { .. } if c % 8 == 7 => Outcome::Failed(Failure::service_not_supported()),
            Service::SnapshotDevice { .. } if c % 8 == 6 => {
                Outcome::SnapshotDevice { calls: Vec::new(), service_xref: Some("parts".into()) }
            }
            Service::SnapshotCall { .. } if c % 8 == 7 => Outcome::Failed(Failure::invalid_call_id()),
            Service::SnapshotCall { .. } if c % 8 == 6 => Outcome::Failed(Failure::service_not_supported()),
            Service::SnapshotDevice { .. } => {
                let mut calls = BTreeMap::new();
                for (n, call) in CALLS.iter().enumerate().filter(|(n, _)| b >> n & 1 == 1) {
                    calls.insert(*call, pick(&STATES, c.wrapping_add(n as u8)));
                }
                snapshot(&calls)
            }
            Service::SnapshotCall { .. } => party(pick(&DEVICES, b), pick(&STATES, c), c),
            Service::TransferCall { .. } => {
                Outcome::TransferCall { transferred: connection(), connections: Vec::new() }
            }
            Service::ConferenceCall { .. } => {
                Outcome::ConferenceCall { conference: connection(), connections: Vec::new() }
            }
            Service::GetDoNotDisturb { .. } => Outcome::GetDoNotDisturb { on: true },
            Service::SetDoNotDisturb { .. } => Outcome::SetDoNotDisturb,
            Service::MonitorStop { .. } => Outcome::MonitorStop,
            Service::AnswerCall { .. } => Outcome::AnswerCall,
            Service::ClearConnection { .. } => Outcome::ClearConnection,
            _ => Outcome::HoldCall,
        }
    }

    fn event(&mut self, a: u8, b: u8, c: u8) {
        let connection = ConnectionId::new(pick(&CALLS, b), pick(&DEVICES, c));
        let device = DeviceRef::device(pick(&DEVICES, c));
        let (calling, called) = (DeviceRef::device(pick(&DEVICES, b)), DeviceRef::device(pick(&DEVICES, a)));
        let local = (!c.is_multiple_of(3)).then(|| pick(&STATES, c / 3));
        let cause = String::from("normal");
        let last_redirection = Default::default();
        let secondary = b.is_multiple_of(2).then(|| ConnectionId::new(pick(&CALLS, a), "5101"));
        let item = ConnectionListItem {
            new: Some(ConnectionId::new(pick(&CALLS, a / 2), pick(&DEVICES, b))),
            ..Default::default()
        };
        let connections = if c.is_multiple_of(2) { vec![item] } else { Vec::new() };
        let body = match a % 15 {
            0 | 1 => {
                EventBody::Delivered { connection, alerting: device, calling, called, last_redirection, local, cause }
            }
            2 => EventBody::Established {
                connection,
                answering: device,
                calling,
                called,
                last_redirection,
                local,
                cause,
            },
            3 => EventBody::Held { connection, holding: device, local, cause },
            4 => EventBody::Retrieved { connection, retrieving: device, local, cause },
            5 | 6 => EventBody::ConnectionCleared { connection, releasing: device, local, cause },
            7 => EventBody::Originated { connection, calling, called, local, cause },
            8 => EventBody::ServiceInitiated { connection, device, local, cause },
            9 => EventBody::Transferred {
                primary: connection,
                secondary,
                transferring: device,
                transferred_to: called,
                connections,
                local,
                cause,
            },
            10 => EventBody::Conferenced {
                primary: connection,
                secondary,
                conferencing: device,
                added: called,
                connections,
                local,
                cause,
            },
            11 => EventBody::DoNotDisturb { device, on: true },
            12 => EventBody::CallCleared { call: connection, cause },
            13 => EventBody::Failed { connection, failing: device, calling, called, last_redirection, local, cause },
            _ => EventBody::MonitorStopped,
        };
        let old = if c == 255 { 1 } else { 0 };
        let event = Event { xref: format!("x{}", self.generation.saturating_sub(old)), body };
        self.step(Input::PbxEvent { event });
    }

    fn link(&mut self, a: u8) {
        match a % 3 {
            0 => self.step(Input::LinkDown),
            1 => {
                self.step(Input::LinkDown);
                for (ask, _) in std::mem::take(&mut self.open) {
                    self.step(Input::Settled { ask, result: Err(LinkFailed::Lost) });
                }
            }
            _ => {
                self.open.clear();
                self.step(Input::LinkUp { features: None });
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while !self.is_over && self.session.deadline() <= end {
            let deadline = self.session.deadline();
            self.now = self.now.max(deadline);
            self.step(Input::Tick);
            assert!(self.is_over || self.session.deadline() > self.now, "a deadline that passed stays");
        }
        self.now = end;
    }

    fn resume(&mut self) {
        let record = serde_json::to_vec(&self.session).expect("JSON");
        self.session = serde_json::from_slice(&record).expect("a session");
        self.open.clear();
        let effects = self.session.resume(Context { rules: &self.rules, now: self.now });
        self.check(effects, true, None);
    }

    fn step(&mut self, input: Input) {
        if self.is_over {
            return;
        }
        let in_flight = match &self.session.outbox.lane {
            Lane::InFlight(flight) => Some((flight.cseq, flight.wait_until)),
            _ => None,
        };
        // Whether this input may free the lane.
        let blocked = match (&input, in_flight) {
            (_, None) => None,
            (Input::Tick, Some((cseq, until))) => (self.now < until).then_some(cseq),
            (Input::Response { message }, Some((cseq, _))) => {
                let is_final = message.status().is_some_and(|status| status >= 200);
                let is_its = message.headers.cseq().is_ok_and(|own| own.number == cseq);
                (!is_final || !is_its).then_some(cseq)
            }
            (Input::Undeliverable { cseq: gone }, Some((cseq, _))) => (*gone != cseq).then_some(cseq),
            (_, Some((cseq, _))) => Some(cseq),
        };
        // What was not answered in time may go out again, the same.
        if let (Input::Tick, Some((cseq, until))) = (&input, in_flight)
            && self.now >= until
        {
            self.undelivered.insert(cseq);
        }
        let effects = self.session.step(Context { rules: &self.rules, now: self.now }, input);
        self.check(effects, false, blocked);
    }

    fn check(&mut self, effects: Vec<Effect>, is_resume: bool, blocked: Option<u32>) {
        let mut news = 0;
        for effect in effects {
            match effect {
                Effect::Respond { message, .. } => {
                    if message.headers.cseq().is_ok_and(|cseq| cseq.method == "INFO") {
                        let branch = branch_of(&message);
                        self.infos.get_mut(&branch).unwrap_or_else(|| panic!("answer to nothing: {branch}")).2 += 1;
                    }
                }
                Effect::Send { message, .. } => {
                    let cseq = message.headers.cseq().expect("ours").number;
                    let bytes = message.to_bytes();
                    match self.sent.insert(cseq, bytes.clone()) {
                        Some(earlier) => {
                            assert!(is_resume || self.undelivered.contains(&cseq), "CSeq {cseq} went out twice");
                            // The route may have been repaired since; nothing else may differ.
                            assert_eq!(without_route(&earlier), without_route(&bytes));
                        }
                        None => assert_eq!(cseq as usize, self.sent.len(), "a gap in our CSeq"),
                    }
                    if message.method() != Some("BYE") {
                        news += 1;
                        assert!(blocked.is_none(), "{cseq} goes out while {blocked:?} is in flight");
                    }
                    self.last_sent = Some(message);
                }
                Effect::Invoke { ask, service, .. } => {
                    if service.changes_world() {
                        let asked = self.session.asked.iter().find(|asked| asked.ask == ask).expect("recorded first");
                        assert!(self.commands.insert(asked.open.vias[0].clone()), "asked twice: {service:?}");
                    }
                    self.open.push((ask, service));
                }
                Effect::End(_) => self.is_over = true,
                Effect::Note(_) | Effect::Recovered | Effect::HasCalls(_) => {}
            }
        }
        assert!(news <= 1, "{news} requests at once");
        if self.is_over {
            return;
        }
        self.always();
    }

    fn always(&self) {
        let s = &self.session;
        for (branch, (came, times, answers)) in &self.infos {
            let is_due = self.now > came.after_ms(self.rules.info_timeout_ms);
            assert!(*answers <= *times, "{branch}: {answers} answers to {times} requests");
            assert!(*answers >= 1 || !is_due, "{branch} unanswered");
        }
        assert!(s.outbox.waiting.len() <= WAITING_MAX + 1);
        assert!(s.asked.len() <= OPEN_MAX && s.waiting.len() <= OPEN_MAX);
        assert!(s.monitors.len() <= MONITORS_MAX);
        assert!(s.calls.0.len() <= CALLS_MAX && s.natives.len() <= 4 * CALLS_MAX);
        let is_empty = s.outbox.lane == Lane::Idle && s.outbox.waiting.is_empty() && s.outbox.returned.is_none();
        if is_empty && !s.monitors.is_empty() {
            assert_eq!(s.shown, s.calls, "nothing is left to be told");
        }
        let record = serde_json::to_string(s).expect("JSON");
        let again: Session = serde_json::from_str(&record).expect("a session");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), record);
    }

    /// The link comes up, everybody answers: the client must see what the PBX says.
    fn heal(&mut self, truth: &BTreeMap<&'static str, LocalState>) {
        if self.is_over {
            return;
        }
        self.open.clear();
        self.step(Input::LinkUp { features: None });
        for _ in 0..2_000 {
            if let Some((ask, service)) = (!self.open.is_empty()).then(|| self.open.remove(0)) {
                let outcome = match &service {
                    Service::SnapshotDevice { .. } => snapshot(truth),
                    Service::SnapshotCall { call } => {
                        let state = truth.get(call.call.as_str()).copied().unwrap_or(LocalState::Null);
                        party("5101", state, 0)
                    }
                    service => self.outcome(service, 0, 0),
                };
                self.step(Input::Settled { ask, result: Ok(outcome) });
            } else if matches!(self.session.outbox.lane, Lane::InFlight(_)) {
                self.answer(200, 1);
            } else if matches!(self.session.outbox.lane, Lane::Idle) {
                break;
            } else {
                self.refresh(0, 1);
            }
        }
        self.step(Input::Missed);
        for _ in 0..2_000 {
            if let Some((ask, service)) = (!self.open.is_empty()).then(|| self.open.remove(0)) {
                let outcome = match &service {
                    Service::SnapshotDevice { .. } => snapshot(truth),
                    Service::SnapshotCall { call } => {
                        party("5101", truth.get(call.call.as_str()).copied().unwrap_or(LocalState::Null), 0)
                    }
                    service => self.outcome(service, 0, 0),
                };
                self.step(Input::Settled { ask, result: Ok(outcome) });
            } else if matches!(self.session.outbox.lane, Lane::InFlight(_)) {
                self.answer(200, 1);
            } else if !self.session.asked.is_empty() {
                // What the truth does not show may be on its way yet.
                self.wait(1_000);
            }
        }
        if self.is_over || self.session.monitors.is_empty() {
            return;
        }
        let seen: BTreeMap<String, LocalState> = self
            .session
            .shown
            .0
            .iter()
            .map(|(id, call)| (self.session.natives.get(id).cloned().unwrap_or_else(|| id.clone()), call.local))
            .collect();
        let wanted: BTreeMap<String, LocalState> = truth
            .iter()
            .filter(|(_, state)| **state != LocalState::Null)
            .map(|(id, state)| ((*id).to_owned(), *state))
            .collect();
        assert_eq!(seen, wanted);
        assert!(self.session.asked.is_empty() && self.session.waiting.is_empty(), "everything is answered");
    }
}

fn snapshot(calls: &BTreeMap<&'static str, LocalState>) -> Outcome {
    let of = |(call, state): (&&str, &LocalState)| CallInSnapshot {
        connection: ConnectionId::new(*call, "5101"),
        states: vec![*state],
    };
    Outcome::SnapshotDevice { calls: calls.iter().map(of).collect(), service_xref: None }
}

fn party(device: &str, state: LocalState, c: u8) -> Outcome {
    let party = PartyInSnapshot {
        device: DeviceRef::device(device),
        connection: ConnectionId::new("", device),
        state: Some(state),
    };
    let correlator = (c % 4 == 1).then(|| "353165353531303761393030303030312d33".to_owned());
    let calling = (c % 2 == 1).then(|| DeviceRef::device("5202"));
    Outcome::SnapshotCall { parties: vec![party], calling, called: None, correlator }
}

fn blank(method: &str, cseq: u32, branch: u32, tag: &str) -> Message {
    let mut message = Message::request(method, "sip:rccgw@rccgw.contoso.com");
    message.headers.push("Via", format!("SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bK{branch}"));
    message.headers.push("From", "<sip:alice@contoso.com>;tag=9c41d7e2b0;epid=bd23d94254");
    message.headers.push("To", format!("<sip:rccgw@rccgw.contoso.com>{tag}"));
    message.headers.push("Call-ID", "c7a1f0b2e4d94c6f8a35d1907be2c4aa");
    message.headers.push("CSeq", format!("{cseq} {method}"));
    message.headers.push("Content-Type", "application/csta+xml");
    message
}

fn branch_of(message: &Message) -> String {
    message.headers.get("Via").unwrap_or_default().to_owned()
}

fn without_route(bytes: &Bytes) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter(|line| !line.starts_with("Route:")).collect::<Vec<_>>().join("\n")
}

/// Printed on one line, to be played again.
#[derive(Clone)]
struct Acts(Vec<Act>);

impl std::fmt::Debug for Acts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let acts: Vec<String> = self.0.iter().map(|(k, a, b, c)| format!("({k}, {a}, {b}, {c})")).collect();
        write!(f, "[{}]", acts.join(", "))
    }
}

fn acts() -> impl Strategy<Value = Acts> {
    proptest::collection::vec(any::<Act>(), 60).prop_map(Acts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_each_info_is_answered_once_and_nothing_is_done_twice(
        acts in acts(),
        bits in any::<u8>(),
        monitored in proptest::bool::weighted(0.9),
    ) {
        let mut world = World::new();
        if monitored {
            for act in [(16, 2, 0, 0), (5, 0, 0, 0), (9, 0, 5, 0), (9, 0, 32, 0)] {
                world.act(act);
            }
        }
        for act in acts.0 {
            world.act(act);
        }
        let truth = CALLS.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
        world.heal(&truth.map(|(n, call)| (*call, pick(&STATES[..3], n as u8))).collect());
        // Nothing stays open past its time.
        world.wait(60_000);
    }
}
