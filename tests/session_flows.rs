//! Call flows as transcripts: what arrives at a session, and what leaves it. Each file under `tests/scripts/session/` is one.
//!
//! Lines that begin with `> ` go in, lines that begin with `< ` must come out, in this order; `#` comments and empty lines
//! are for the reader. Inputs:
//!
//! ```text
//! > invite [Header: value | ...] [XML]   the sign-in, and again later the re-INVITE
//! > info XML        an INFO with the next CSeq      > info= XML   the last INFO once more, byte for byte
//! > update [headers]   > ack   > bye   > options   > method NAME
//! > answer 200 [headers]   the far side's answer to our last request
//! > pbx XML         the PBX's answer to the oldest service it has open
//! > event XML       an event of the PBX's monitor (x1, x2 ... by generation)
//! > lost | silent   the oldest open service is lost with its link | is not answered in time
//! > link up | link down | missed
//! > wait MS         time passes; every deadline on the way fires
//! > resume          the actor restarts: the state is what its record says
//! ```
//!
//! `LYNCPIN_BLESS=1 cargo test --test session_flows` rewrites the `< ` lines: read the difference before you keep it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lyncpin::csta::{Features, Payload, decode, encode};
use lyncpin::cti::{AskId, LinkFailed};
use lyncpin::id::{Moment, SessionId};
use lyncpin::machine::directory::{Appearance, Directory};
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input};
use lyncpin::machine::rules::Rules;
use lyncpin::machine::session::{Context, Session};
use lyncpin::machine::sign_in::{SignIn, sign_in};
use lyncpin::machine::transaction::Open;
use lyncpin::sip::{Message, StartLine};

const ED3: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";

fn rules() -> Rules {
    let directory = Directory::new([
        Appearance::new("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101"),
        Appearance::new("sip:bob@contoso.com", "tel:+14255550202", "5202"),
        Appearance::new("sip:carol@contoso.com", "tel:+14255550303", "5303"),
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

/// One session with a script's hand on everything around it.
struct Rig {
    rules: Rules,
    now: Moment,
    session: Option<Session>,
    cseq: u32,
    last_info: Option<Message>,
    /// Our last request, to be answered.
    last_sent: Option<Message>,
    open: VecDeque<AskId>,
    told: String,
}

impl Rig {
    fn new() -> Self {
        Self {
            rules: rules(),
            now: Moment(1_000_000),
            session: None,
            cseq: 0,
            last_info: None,
            last_sent: None,
            open: VecDeque::new(),
            told: String::new(),
        }
    }

    fn run(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "rule" => self.rule(rest),
            "invite" => self.invite(rest),
            "info" => {
                let request = self.request("INFO", rest);
                self.last_info = Some(request.clone());
                self.arrives(request);
            }
            "info=" => {
                let request = self.last_info.clone().expect("an INFO came before");
                self.arrives(request);
            }
            "update" => self.plain("UPDATE", rest),
            "bye" => self.plain("BYE", rest),
            "options" => self.plain("OPTIONS", rest),
            "ack" => {
                self.cseq -= 1;
                self.plain("ACK", rest);
            }
            "method" => {
                let (method, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                self.plain(method, rest);
            }
            "answer" => self.answer(rest),
            "pbx" => {
                let ask = self.open.pop_front().expect("a service is open");
                let outcome = match decode(rest.as_bytes()).expect("the script's XML is good").payload {
                    Payload::Outcome(outcome) => outcome,
                    other => panic!("not an outcome: {other:?}"),
                };
                self.step(Input::Settled { ask, result: Ok(outcome) });
            }
            "lost" | "silent" => {
                let ask = self.open.pop_front().expect("a service is open");
                let failed = if verb == "lost" { LinkFailed::Lost } else { LinkFailed::TimedOut };
                self.step(Input::Settled { ask, result: Err(failed) });
            }
            "event" => match decode(rest.as_bytes()).expect("the script's XML is good").payload {
                Payload::Event(event) => self.step(Input::PbxEvent { event }),
                other => panic!("not an event: {other:?}"),
            },
            "link" => self.step(if rest == "up" { Input::LinkUp { features: None } } else { Input::LinkDown }),
            "missed" => self.step(Input::Missed),
            "undeliverable" => {
                let cseq = self.session.as_ref().expect("signed in").dialog.local_cseq;
                self.step(Input::Undeliverable { cseq });
            }
            "wait" => self.wait(rest.parse().expect("milliseconds")),
            "resume" => self.resume(),
            other => panic!("unknown input `{other}`"),
        }
    }

    fn rule(&mut self, rest: &str) {
        let (name, value) = rest.split_once('=').expect("rule name=value");
        match name {
            "keepalive_s" => self.rules.keepalive_s = value.parse().expect("a number"),
            "cseq_tolerant" => self.rules.cseq_tolerant = value == "true",
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

    fn message(&mut self, method: &str, rest: &str) -> Message {
        let (headers, xml) = match rest.find('<') {
            Some(at) if !rest[..at].contains(": ") => ("", &rest[at..]),
            Some(_) => match rest.split_once(" || ") {
                Some((headers, xml)) => (headers, xml),
                None => (rest, ""),
            },
            None => (rest, ""),
        };
        self.cseq += 1;
        let tag = self.session.as_ref().map(|session| format!(";tag={}", session.id)).unwrap_or_default();
        let mut message = Message::request(method, "sip:rccgw@rccgw.contoso.com");
        let mut fields = vec![
            ("Via".to_owned(), format!("SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bK{}", self.cseq)),
            ("Max-Forwards".into(), "69".into()),
            ("From".into(), "<sip:alice@contoso.com>;tag=9c41d7e2b0;epid=bd23d94254".into()),
            ("To".into(), format!("<sip:rccgw@rccgw.contoso.com>{tag}")),
            ("Call-ID".into(), "c7a1f0b2e4d94c6f8a35d1907be2c4aa".into()),
            ("CSeq".into(), format!("{} {method}", self.cseq)),
            ("User-Agent".into(), "UCCAPI/4.0.7577.314 OC/4.0.7577.314 (Microsoft Lync 2010)".into()),
        ];
        if matches!(method, "INVITE" | "UPDATE") {
            fields.push(("Contact".into(), "<sip:alice@contoso.com;opaque=user:epid:Qx3m;gruu>".into()));
            fields.push(("Supported".into(), "timer".into()));
        }
        if !xml.is_empty() {
            fields.push(("Content-Type".into(), "application/csta+xml".into()));
            fields.push(("Content-Disposition".into(), "signal;handling=required".into()));
        }
        for extra in headers.split(" | ").filter(|extra| !extra.is_empty()) {
            let (name, value) = extra.split_once(": ").expect("Header: value");
            match fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some(field) => field.1 = value.to_owned(),
                None => fields.push((name.to_owned(), value.to_owned())),
            }
        }
        for (name, value) in fields.iter().filter(|(_, value)| value != "-") {
            message.headers.push(name, value);
        }
        let xml = if xml.contains("xmlns=") || xml.is_empty() { xml.to_owned() } else { with_namespace(xml) };
        message.body = Bytes::from(xml);
        message
    }

    fn request(&mut self, method: &str, rest: &str) -> Message {
        self.message(method, rest)
    }

    fn plain(&mut self, method: &str, rest: &str) {
        let request = self.message(method, rest);
        self.arrives(request);
    }

    fn invite(&mut self, rest: &str) {
        let invite = self.message("INVITE", rest);
        if self.session.is_some() {
            return self.arrives(invite);
        }
        let open = Open::of(FlowId(1), &invite).expect("a good INVITE");
        let cx = Context { rules: &self.rules, now: self.now };
        match sign_in(cx, SessionId::new("51e55107a9000001"), FlowId(1), &invite, &open, "cm1") {
            SignIn::Welcome { session, effects } => {
                self.session = Some(*session);
                self.tell(effects);
            }
            SignIn::Refused { response, refusal, .. } => {
                self.tell(vec![Effect::Respond { flow: FlowId(1), message: response }]);
                if let Some(refusal) = refusal {
                    writeln!(self.told, "< refused {refusal}").expect("a string takes it");
                }
            }
        }
    }

    fn arrives(&mut self, message: Message) {
        // Through the wire form, as it would come.
        let message = Message::parse(&message.to_bytes()).expect("the rig writes good SIP");
        self.step(Input::Request { flow: FlowId(1), message: Box::new(message) });
    }

    fn answer(&mut self, rest: &str) {
        let (status, headers) = rest.split_once(' ').unwrap_or((rest, ""));
        let request = self.last_sent.clone().expect("a request of ours went out");
        let mut response = Message::reply_to(&request, status.parse().expect("a status"), "Whatever");
        for extra in headers.split(" | ").filter(|extra| !extra.is_empty()) {
            let (name, value) = extra.split_once(": ").expect("Header: value");
            response.headers.push(name, value);
        }
        self.step(Input::Response { message: Box::new(response) });
    }

    fn step(&mut self, input: Input) {
        let Some(session) = &mut self.session else { return };
        let effects = session.step(Context { rules: &self.rules, now: self.now }, input);
        self.tell(effects);
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while let Some(deadline) = self.session.as_ref().map(Session::deadline).filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
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

    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let line = match effect {
                Effect::Respond { message, .. } => format!("sip {}", shown(&message)),
                Effect::Send { message, next_hop } => {
                    let line = format!("sip {} via {}", shown(&message), next_hop.host);
                    self.last_sent = Some(message);
                    line
                }
                Effect::Invoke { ask, service, .. } => {
                    self.open.push_back(ask);
                    format!("pbx {}", bare(&encode(&Payload::Service(service), "")))
                }
                Effect::Recovered => "recovered".into(),
                Effect::HasCalls(has_calls) => format!("has calls: {has_calls}"),
                Effect::Note(note) => format!("note {}", note.name()),
                Effect::End(reason) => {
                    self.session = None;
                    format!("end {}", reason.name())
                }
            };
            writeln!(self.told, "< {line}").expect("a string takes it");
        }
    }
}

fn with_namespace(xml: &str) -> String {
    let at = xml.find(['>', '/', ' ']).expect("a root element");
    let at = if at == 0 { xml.len() } else { at };
    format!("{} xmlns=\"{ED3}\"{}", &xml[..at], &xml[at..])
}

/// A message as the reader of a transcript needs it: what it is, the headers that matter, the body without its namespace.
fn shown(message: &Message) -> String {
    let mut line = match &message.start {
        StartLine::Request { method, .. } => format!("{method} {}", message.headers.cseq().expect("ours").number),
        StartLine::Response { status, .. } => {
            format!("{status} {}", message.headers.get("CSeq").unwrap_or_default())
        }
    };
    for name in
        ["Session-Expires", "Min-SE", "Unsupported", "Accept", "Retry-After", "Warning", "Route", "Record-Route"]
    {
        for value in message.headers.fields(name) {
            write!(line, " | {name}: {value}").expect("a string takes it");
        }
    }
    if !message.body.is_empty() {
        write!(line, " {}", bare(&message.body)).expect("a string takes it");
    }
    line
}

fn bare(xml: &[u8]) -> String {
    let xml = String::from_utf8_lossy(xml);
    let xml = xml.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").trim_start();
    xml.replace(&format!(" xmlns=\"{ED3}\""), "").replace(" xmlns=\"\"", "")
}

fn play(script: &str) -> String {
    let mut rig = Rig::new();
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with("< ") {
            continue;
        }
        writeln!(out, "{line}").expect("a string takes it");
        if let Some(input) = line.strip_prefix("> ") {
            rig.run(input);
            out.push_str(&std::mem::take(&mut rig.told));
        }
    }
    out
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/session");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the scripts are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_transcript_plays_as_written() {
    let bless = std::env::var_os("LYNCPIN_BLESS").is_some();
    let mut differ = Vec::new();
    let files = scripts();
    assert!(!files.is_empty());
    for path in &files {
        let script = std::fs::read_to_string(path).expect("readable");
        let played = play(&script);
        if played == script {
            continue;
        }
        if bless {
            std::fs::write(path, played).expect("writable");
            continue;
        }
        let at = script.lines().zip(played.lines()).position(|(a, b)| a != b).unwrap_or(0);
        differ.push(format!(
            "{} line {}:\n  written: {}\n  played:  {}",
            path.file_name().unwrap_or_default().to_string_lossy(),
            at + 1,
            script.lines().nth(at).unwrap_or("(end)"),
            played.lines().nth(at).unwrap_or("(end)")
        ));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
