//! One session with a script's hand on everything around it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use lyncpin::csta::{
    CallInSnapshot, ConnectionId, DeviceRef, Event, EventBody, Features, LocalState, Outcome, PartyInSnapshot, Payload,
    decode, encode,
};
use lyncpin::cti::{AskId, LinkFailed};
use lyncpin::id::{Moment, SessionId};
use lyncpin::machine::directory::{Appearance, Directory};
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input, Retire};
use lyncpin::machine::rules::Rules;
use lyncpin::machine::session::{Context, Session};
use lyncpin::machine::sign_in::{SignIn, sign_in};
use lyncpin::machine::transaction::Open;
use lyncpin::sip::{Message, StartLine};

use super::notation::{ID, LINE, compact, event, expand};

const LYNC_2010: &str = "UCCAPI/4.0.7577.314 OC/4.0.7577.314 (Microsoft Lync 2010)";
const SHOWN_HEADERS: [&str; 13] = [
    "Contact",
    "Require",
    "Session-Expires",
    "Min-SE",
    "Unsupported",
    "Accept",
    "Allow",
    "Retry-After",
    "Warning",
    "Route",
    "Record-Route",
    "Via",
    "To",
];

pub fn rules() -> Rules {
    let mut unlicensed = Appearance::new("sip:dave@contoso.com", "tel:+14255550404", "5404");
    unlicensed.licensed = false;
    let directory = Directory::new([
        Appearance::new("sip:alice@contoso.com", LINE, "5101"),
        Appearance::new("sip:bob@contoso.com", "tel:+14255550202", "5202"),
        Appearance::new("sip:carol@contoso.com", "tel:+14255550303", "5303"),
        unlicensed,
        Appearance::new("sip:erin@contoso.com", "tel:+14255550505", "5505"),
        Appearance::new("sip:erin@contoso.com", "tel:+14255550506", "5506"),
    ])
    .expect("a good directory");
    Rules {
        contact: "<sip:rccgw@rccgw.contoso.com:5065;transport=tls>".into(),
        sent_by: "rccgw.contoso.com:5065".into(),
        via_transport: "TLS",
        product: "Lyncpin".into(),
        session_expires_s: 1800,
        min_se_s: 90,
        session_grace_s: 60,
        idle_expires_s: 90_000,
        keepalive_s: 0,
        event_wait_ms: 3_000,
        request_timeout_ms: 5_000,
        info_timeout_ms: 28_000,
        open_max: 16,
        out_of_service_after_ms: 2_000,
        status_grace_ms: 120_000,
        cseq_tolerant: true,
        phone_context: "dialstring".into(),
        features: Arc::new(Features::standard()),
        switches: Vec::new(),
        directory: Arc::new(directory),
    }
}

pub struct Rig {
    rules: Rules,
    now: Moment,
    session: Option<Session>,
    cseq: u32,
    /// Headers each request of the client carries, unless its line says otherwise; `-` takes one away.
    client: Vec<(String, String)>,
    /// Headers of ours to be shown.
    show: Vec<String>,
    last: BTreeMap<String, Message>,
    /// Our last request, to be answered.
    last_sent: Option<Message>,
    /// What left under each CSeq of ours: a number never stands for two messages.
    sent: BTreeMap<u32, Bytes>,
    hop: String,
    open: VecDeque<AskId>,
    failed: Option<AskId>,
    generation: u32,
    pub told: String,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            rules: rules(),
            now: Moment(1_000_000),
            session: None,
            cseq: 0,
            client: Vec::new(),
            show: ["Unsupported", "Min-SE", "Accept", "Retry-After", "Warning", "Session-Expires"]
                .map(str::to_owned)
                .into(),
            last: BTreeMap::new(),
            last_sent: None,
            sent: BTreeMap::new(),
            hop: "contoso.com".into(),
            open: VecDeque::new(),
            failed: None,
            generation: 0,
            told: String::new(),
        }
    }

    pub fn run(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (verb, flow) = match verb.split_once('@') {
            Some((verb, flow)) => (verb, FlowId(flow.parse().expect("a flow's number"))),
            None => (verb, FlowId(1)),
        };
        match verb {
            "rule" => self.rule(rest),
            "client" => self.client = headers(rest),
            "show" => {
                self.show = rest.split(' ').map(str::to_owned).collect();
                assert!(self.show.iter().all(|name| SHOWN_HEADERS.contains(&name.as_str())), "{rest}");
            }
            "signed" => {
                for line in ["invite", "link up", "ack", "info MonitorStart(monitorObject(deviceObject=$line))"] {
                    self.run(line);
                }
                self.run("pbx monitor");
                self.run("pbx calls");
                self.told = "< signed in\n".into();
            }
            "cseq" => self.cseq = rest.parse::<u32>().expect("a number") - 1,
            "invite" => self.invite(flow, rest),
            "info" | "update" | "bye" | "options" | "cancel" => self.plain(flow, &verb.to_ascii_uppercase(), rest),
            "method" => {
                let (method, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                self.plain(flow, method, rest);
            }
            "again" => {
                let message = self.last.get(&rest.to_ascii_uppercase()).expect("one came before").clone();
                self.arrives(flow, message);
            }
            "ack" => {
                self.cseq -= 1;
                self.plain(flow, "ACK", rest);
            }
            "answer" => self.answer(rest),
            "pbx" => self.pbx(rest),
            "later" => self.open.rotate_left(1),
            "late" => match decode(expand(rest).as_bytes()).expect("the script's XML is good").payload {
                Payload::Outcome(outcome) => {
                    let ask = self.failed.expect("one failed before");
                    self.step(Input::Settled { ask, result: Ok(outcome) });
                }
                other => panic!("not an outcome: {other:?}"),
            },
            "times" => {
                let (times, line) = rest.split_once(' ').expect("times N LINE");
                for n in 0..times.parse().expect("a number") {
                    self.run(&line.replace("{n}", &format!("{n}")));
                }
            }
            "lost" => self.fails(LinkFailed::Lost),
            "silent" => self.fails(LinkFailed::TimedOut),
            "unsent" => self.fails(LinkFailed::NotSent),
            "event" => {
                let xml = event(rest, &format!("x{}", self.generation));
                match decode(xml.as_bytes()).expect("the script's XML is good").payload {
                    Payload::Event(event) => self.step(Input::PbxEvent { event }),
                    other => panic!("not an event: {other:?}"),
                }
            }
            "stopped" => {
                let event = Event { xref: format!("x{}", self.generation), body: EventBody::MonitorStopped };
                self.step(Input::PbxEvent { event });
            }
            "link" if rest == "down" => self.step(Input::LinkDown),
            "link" => {
                self.open.clear();
                self.step(Input::LinkUp { features: None });
            }
            "missed" => self.step(Input::Missed),
            "undeliverable" => {
                let cseq = self.session.as_ref().expect("signed in").dialog.local_cseq;
                self.step(Input::Undeliverable { cseq });
            }
            "reachable" => self.step(Input::Reachable),
            "retire" if rest == "superseded" => self.step(Input::Retire { why: Retire::Superseded }),
            "retire" => self.step(Input::Retire { why: Retire::Closed }),
            "wait" => self.wait(rest.parse().expect("milliseconds")),
            "resume" => self.resume(),
            "views" => self.views(),
            "profile" => {
                let profile = self.session.as_ref().expect("signed in").profile;
                self.say(&format!("profile {}", profile.name()));
            }
            other => panic!("unknown input `{other}`"),
        }
    }

    fn rule(&mut self, rest: &str) {
        let (name, value) = rest.split_once('=').expect("rule name=value");
        let number = || value.parse().expect("a number");
        match name {
            "keepalive_s" => self.rules.keepalive_s = number(),
            "cseq_tolerant" => self.rules.cseq_tolerant = value == "true",
            "directory" => self.rules.directory = Arc::new(Directory::new([]).expect("nobody is good")),
            switch => {
                let mut switches = self.rules.switches("");
                match switch {
                    "extra_clear_after_transfer" => switches.extra_clear_after_transfer = value == "true",
                    "service_initiated" => switches.service_initiated = value == "true",
                    "catch_up_events" => switches.catch_up_events = value == "true",
                    other => panic!("unknown rule `{other}`"),
                }
                self.rules.switches = vec![(String::new(), switches)];
            }
        }
    }

    /// `[Header: value | Header: value ||] [body]`
    fn message(&mut self, method: &str, rest: &str) -> Message {
        let (extra, body) = match rest.split_once(" ||") {
            Some((extra, body)) => (extra, body.trim_start()),
            None if rest.contains(": ") => (rest, ""),
            None => ("", rest),
        };
        self.cseq += 1;
        let tag = self.session.as_ref().map(|session| format!(";tag={}", session.id)).unwrap_or_default();
        let mut message = Message::request(method, "sip:rccgw@rccgw.contoso.com");
        let mut fields = vec![
            ("Via".to_owned(), format!("SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bK{method}{}", self.cseq)),
            ("Max-Forwards".into(), "69".into()),
            ("From".into(), "<sip:alice@contoso.com>;tag=9c41d7e2b0;epid=bd23d94254".into()),
            ("To".into(), format!("<sip:rccgw@rccgw.contoso.com>{tag}")),
            ("Call-ID".into(), "c7a1f0b2e4d94c6f8a35d1907be2c4aa".into()),
            ("CSeq".into(), format!("{} {method}", self.cseq)),
            ("User-Agent".into(), LYNC_2010.into()),
        ];
        if matches!(method, "INVITE" | "UPDATE") {
            fields.push(("Contact".into(), "<sip:alice@contoso.com;opaque=user:epid:Qx3m;gruu>".into()));
            fields.push(("Supported".into(), "timer".into()));
        }
        let body = if body == "none" { "" } else { body };
        if !body.is_empty() {
            fields.push(("Content-Type".into(), "application/csta+xml".into()));
            fields.push(("Content-Disposition".into(), "signal;handling=required".into()));
        }
        let refresh = matches!(method, "INVITE" | "UPDATE");
        let standing = self.client.iter().filter(|(name, _)| refresh || !is_refresh_only(name)).cloned();
        for (name, value) in standing.chain(headers(extra)) {
            match fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        for (name, value) in fields.iter().filter(|(_, value)| value != "-") {
            for value in value.split(" && ") {
                message.headers.push(name, value);
            }
        }
        message.body = Bytes::from(expand(body));
        message
    }

    fn plain(&mut self, flow: FlowId, method: &str, rest: &str) {
        let request = self.message(method, rest);
        self.last.insert(method.to_owned(), request.clone());
        self.arrives(flow, request);
    }

    fn invite(&mut self, flow: FlowId, rest: &str) {
        let asks_nothing = rest.is_empty() || (rest.contains(": ") && !rest.contains("||"));
        let status =
            if asks_nothing { "|| RequestSystemStatus(extensions(privateData(private(line=$line))))" } else { "" };
        let rest =
            if rest.is_empty() { status[3..].to_owned() } else { format!("{rest} {status}").trim_end().to_owned() };
        let invite = self.message("INVITE", &rest);
        self.last.insert("INVITE".into(), invite.clone());
        if self.session.is_some() {
            return self.arrives(flow, invite);
        }
        let invite = Message::parse(&invite.to_bytes()).expect("the rig writes good SIP");
        let open = Open::of(flow, &invite).expect("a good INVITE");
        let cx = Context { rules: &self.rules, now: self.now };
        match sign_in(cx, SessionId::new(ID), flow, &invite, &open, "cm1") {
            SignIn::Welcome { session, effects } => {
                self.session = Some(*session);
                self.tell(effects);
            }
            SignIn::Refused { response, refusal, .. } => {
                self.tell(vec![Effect::Respond { flow, message: response }]);
                if let Some(refusal) = refusal {
                    self.say(&format!("refused {refusal}"));
                }
            }
        }
    }

    fn arrives(&mut self, flow: FlowId, message: Message) {
        // Through the wire form, as it would come.
        let message = Message::parse(&message.to_bytes()).expect("the rig writes good SIP");
        self.step(Input::Request { flow, message: Box::new(message) });
    }

    fn answer(&mut self, rest: &str) {
        let (status, extra) = rest.split_once(' ').unwrap_or((rest, ""));
        let (status, cseq) = status.split_once('/').unwrap_or((status, ""));
        let mut request = self.last_sent.clone().expect("a request of ours went out");
        if !cseq.is_empty() {
            let number = cseq.parse().expect("a CSeq of ours");
            request = Message::parse(&self.sent[&number]).expect("we write good SIP");
        }
        let mut response = Message::reply_to(&request, status.parse().expect("a status"), "Whatever");
        for (name, value) in headers(extra) {
            for value in value.split(" && ") {
                response.headers.push(&name, value);
            }
        }
        self.step(Input::Response { message: Box::new(response) });
    }

    fn pbx(&mut self, rest: &str) {
        let (verb, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let pairs: Vec<(&str, &str)> = words.split(' ').filter_map(|word| word.split_once('=')).collect();
        let outcome = match verb {
            "monitor" => {
                self.generation += 1;
                Outcome::MonitorStart { xref: format!("x{}", self.generation), existing_calls: None }
            }
            "calls" => {
                let of = |(call, state): &(&str, &str)| CallInSnapshot {
                    connection: ConnectionId::new(*call, "5101"),
                    states: vec![state_of(state)],
                };
                Outcome::SnapshotDevice { calls: pairs.iter().map(of).collect(), service_xref: None }
            }
            "call" => {
                let named = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
                let is_party = |pair: &&(&str, &str)| !matches!(pair.0, "calling" | "called" | "correlator");
                let party = |(device, state): &(&str, &str)| PartyInSnapshot {
                    device: DeviceRef::device(*device),
                    connection: ConnectionId::new("", *device),
                    state: Some(state_of(state)),
                };
                Outcome::SnapshotCall {
                    parties: pairs.iter().filter(is_party).map(party).collect(),
                    calling: named("calling").map(DeviceRef::device),
                    called: named("called").map(DeviceRef::device),
                    correlator: named("correlator").map(str::to_owned),
                }
            }
            _ => match decode(expand(rest).as_bytes()).expect("the script's XML is good").payload {
                Payload::Outcome(outcome) => outcome,
                other => panic!("not an outcome: {other:?}"),
            },
        };
        let ask = self.open.pop_front().expect("a service is open");
        self.step(Input::Settled { ask, result: Ok(outcome) });
    }

    fn fails(&mut self, why: LinkFailed) {
        let ask = self.open.pop_front().expect("a service is open");
        self.failed = Some(ask);
        self.step(Input::Settled { ask, result: Err(why) });
    }

    fn step(&mut self, input: Input) {
        let Some(session) = &mut self.session else { return };
        let effects = session.step(Context { rules: &self.rules, now: self.now }, input);
        let record = serde_json::to_value(&*session).expect("a record is JSON");
        let again: Session = serde_json::from_value(record.clone()).expect("and reads back");
        assert_eq!(serde_json::to_value(&again).expect("JSON"), record);
        self.tell(effects);
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while let Some(deadline) = self.session.as_ref().map(Session::deadline).filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.say(&format!("at {} ms", self.now.0 - 1_000_000));
            self.step(Input::Tick);
        }
        self.now = end;
    }

    fn resume(&mut self) {
        let session = self.session.take().expect("signed in");
        let record = serde_json::to_vec(&session).expect("a record is JSON");
        let mut session: Session = serde_json::from_slice(&record).expect("and reads back");
        self.open.clear();
        let effects = session.resume(Context { rules: &self.rules, now: self.now });
        self.session = Some(session);
        self.tell(effects);
    }

    fn views(&mut self) {
        let session = self.session.as_ref().expect("signed in");
        let calls: Vec<String> =
            session.calls.0.iter().map(|(id, call)| format!("{id}={}", call.local.as_str())).collect();
        let agree = if session.calls == session.shown { "agree" } else { "differ" };
        self.say(&format!("views {agree}: {}", if calls.is_empty() { "no call".to_owned() } else { calls.join(" ") }));
    }

    fn say(&mut self, line: &str) {
        writeln!(self.told, "< {line}").expect("a string takes it");
    }

    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let line = match effect {
                Effect::Respond { flow: FlowId(flow), message } => {
                    let place = if flow == 1 { String::new() } else { format!(" (flow {flow})") };
                    format!("{}{place}", self.shown(&message))
                }
                Effect::Send { message, next_hop } => {
                    let cseq = message.headers.cseq().expect("ours").number;
                    let bytes = message.to_bytes();
                    let earlier = self.sent.insert(cseq, bytes.clone());
                    let again = match earlier {
                        Some(earlier) => {
                            assert_eq!(earlier, bytes, "one CSeq, two messages");
                            " (again, byte for byte)"
                        }
                        None => "",
                    };
                    let hop = if next_hop.host == self.hop {
                        String::new()
                    } else {
                        self.hop.clone_from(&next_hop.host);
                        format!(" via {}:{}", next_hop.host, next_hop.port)
                    };
                    let line = format!("{}{again}{hop}", self.shown(&message));
                    self.last_sent = Some(message);
                    line
                }
                Effect::Invoke { ask, service, .. } => {
                    self.open.push_back(ask);
                    format!("pbx {}", compact(&encode(&Payload::Service(service), "")))
                }
                Effect::Recovered => continue,
                Effect::HasCalls(_) => continue,
                Effect::Note(note) => format!("note {}", note.name()),
                Effect::End(reason) => {
                    self.session = None;
                    format!("end {}", reason.name())
                }
            };
            self.say(&line);
        }
    }

    /// A message as the reader of a transcript needs it: what it is, the headers asked for, the body.
    fn shown(&self, message: &Message) -> String {
        let mut line = match &message.start {
            StartLine::Request { method, uri } => {
                let cseq = message.headers.cseq().expect("ours").number;
                let to = if *uri == "sip:alice@contoso.com;opaque=user:epid:Qx3m;gruu" {
                    String::new()
                } else {
                    format!(" {uri}")
                };
                format!("{method} {cseq}{to}")
            }
            StartLine::Response { status, .. } => {
                format!("{status} {}", message.headers.get("CSeq").unwrap_or_default())
            }
        };
        for name in &self.show {
            for value in message.headers.fields(name) {
                write!(line, " | {name}: {value}").expect("a string takes it");
            }
        }
        if !message.body.is_empty() {
            write!(line, " {}", compact(&message.body)).expect("a string takes it");
        }
        line
    }
}

fn is_refresh_only(name: &str) -> bool {
    ["Contact", "Supported", "Session-Expires", "Min-SE", "Record-Route", "Allow", "P-Asserted-Identity"]
        .iter()
        .any(|only| only.eq_ignore_ascii_case(name))
}

fn headers(text: &str) -> Vec<(String, String)> {
    let parts = text.split(" | ").filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once(": ").unwrap_or_else(|| panic!("`{part}` is no header"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn state_of(text: &str) -> LocalState {
    serde_json::from_value(text.into()).unwrap_or_else(|_| panic!("{text} is no state"))
}
