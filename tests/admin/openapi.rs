//! The OpenAPI document and the node say the same: each answer and each event has just the fields it is said to have.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use lyncpin::admin::{Event, Judgement, LinkView, NodeEvent, RefusalView, SessionView, TakeoverView};
use serde_json::Value;

use super::told::{Door, well};

/// JSON Schema as far as the document uses it, and stricter: an object has every property that is named, and no other.
struct Document(Value);

impl Document {
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => self.0.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there")),
            None => schema,
        }
    }

    /// What is wrong, and where.
    fn faults(&self, value: &Value, schema: &Value, at: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        if let Some(ways) = schema["oneOf"].as_array() {
            let tried: Vec<Vec<String>> = ways.iter().map(|way| self.faults(value, way, at)).collect();
            let fitting = tried.iter().filter(|faults| faults.is_empty()).count();
            return if fitting == 1 { Vec::new() } else { vec![format!("{at}: fits {fitting} of {tried:?}")] };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_kind = match &schema["type"] {
            Value::String(one) => one == kind,
            Value::Array(some) => some.iter().any(|one| one == kind),
            _ => false,
        };
        if !is_kind {
            return vec![format!("{at}: {value} is no {}", schema["type"])];
        }
        let is_named = schema["enum"].as_array().is_none_or(|some| some.contains(value));
        if !is_named || schema.get("const").is_some_and(|one| one != value) {
            return vec![format!("{at}: {value} is none of {} {}", schema["enum"], schema["const"])];
        }
        match value {
            Value::Array(all) => {
                all.iter().flat_map(|one| self.faults(one, &schema["items"], &format!("{at}[]"))).collect()
            }
            Value::Object(fields) => match schema["properties"].as_object() {
                Some(named) => {
                    let (there, told): (BTreeSet<&String>, BTreeSet<&String>) =
                        (fields.keys().collect(), named.keys().collect());
                    let odd =
                        there.symmetric_difference(&told).map(|name| format!("{at}.{name} stands on one side alone"));
                    let inner = fields.iter().filter_map(|(name, value)| Some((name, value, named.get(name)?)));
                    let inner =
                        inner.flat_map(|(name, value, schema)| self.faults(value, schema, &format!("{at}.{name}")));
                    odd.chain(inner).collect()
                }
                None => {
                    let each = &schema["additionalProperties"];
                    fields.iter().flat_map(|(name, value)| self.faults(value, each, &format!("{at}.{name}"))).collect()
                }
            },
            _ => Vec::new(),
        }
    }

    fn fits(&self, value: &Value, schema: &Value, what: &str) {
        let faults = self.faults(value, schema, what);
        assert!(faults.is_empty(), "{what}: {faults:#?}");
    }
}

struct Answer {
    status: u16,
    kind: String,
    body: Value,
}

/// The body is read when it is JSON.
fn ask(door: &Door, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(door.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nlyncpin-operator: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(lines.read_line(&mut head).unwrap() > 0, "{method} {path}: {head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    let body = match kind.as_str() {
        "application/json" => serde_json::from_reader(lines).unwrap(),
        _ => Value::Null,
    };
    Answer { status, kind, body }
}

async fn document(door: &Door) -> Document {
    Document(ask(door, "GET", "/api/openapi.json").body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() {
    let door = Door::open("", None).await;
    let document = document(&door).await;
    let paths = document.0["paths"].as_object().expect("paths").clone();
    let mut checked = 0;
    for (path, methods) in &paths {
        for method in ["get", "post", "put", "delete", "patch"] {
            let real = path.replace("{part}", "main.js").replace("{id}", "2");
            let answer = ask(&door, &method.to_uppercase(), &real);
            let Some(operation) = methods.get(method) else {
                assert_eq!(answer.status, 405, "{method} {path} is not in the document");
                continue;
            };
            let told = document.resolved(&operation["responses"][answer.status.to_string()]);
            assert!(told.is_object(), "{method} {path}: {} is not in the document", answer.status);
            let Some(content) = told["content"][&answer.kind].as_object() else {
                panic!("{method} {path}: {} as {:?} is not in the document", answer.status, answer.kind)
            };
            if answer.kind == "application/json" && path != "/api/openapi.json" {
                document.fits(&answer.body, &content["schema"], path);
                checked += 1;
            }
        }
    }
    assert!(checked >= 13, "{checked} answers were held against their schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_told_as_the_document_says() {
    let door = Door::open("", None).await;
    let document = document(&door).await;
    let done = lyncpin::admin::Done { done: "drained".into(), moved: 2, stayed: 0, pause_max_ms: Some(3) };
    document.fits(&serde_json::to_value(done).unwrap(), &document.0["components"]["schemas"]["Done"], "Done");
}

/// The kinds one after the other, so that none can be left out.
fn after(event: &Event, told: &Value) -> Option<Event> {
    let judgement = || Judgement::of(vec!["node2 does not answer".into()]);
    let one = |name: &str| told[name][0].clone();
    let takeover =
        TakeoverView { at_ms: 1, is_planned: true, from: None, to: "node1".into(), moved: 1, stayed: 0, gap_ms: 1 };
    Some(match event {
        Event::Hello { .. } => Event::Gap { why: "x".into() },
        Event::Gap { .. } => Event::Node(NodeEvent {
            node: "node1".into(),
            role: "data".into(),
            is_answering: true,
            version: None,
            may_act: Some(true),
            is_ready: None,
            not_ready: vec!["x".into()],
            is_draining: false,
        }),
        Event::Node(_) => Event::Leader { leader: None, term: 3 },
        Event::Leader { .. } => {
            Event::Pair { spare_failures: 0, ready_for_switchover: judgement(), ready_for_upgrade: judgement() }
        }
        Event::Pair { .. } => Event::Load { node: "node1".into(), sessions: 1, calls: 1, flows: 1 },
        Event::Load { .. } => {
            let link: LinkView = serde_json::from_value(one("links")).unwrap();
            Event::Link { node: "node1".into(), link }
        }
        Event::Link { .. } => {
            let session: SessionView = serde_json::from_value(one("sessions")).unwrap();
            Event::Session { session }
        }
        Event::Session { .. } => Event::Calls { id: "1".into(), user: "x".into(), calls: vec!["hold".into()] },
        Event::Calls { .. } => Event::SessionEnded { id: "1".into() },
        Event::SessionEnded { .. } => Event::Sessions { changed: 500 },
        Event::Sessions { .. } => {
            let refusal: RefusalView = serde_json::from_value(one("refusals")).unwrap();
            Event::Refusal { refusal }
        }
        Event::Refusal { .. } => Event::Takeover { takeover },
        Event::Takeover { .. } => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_as_the_document_says() {
    let door = Door::open("", None).await;
    let document = document(&door).await;
    let schema = &document.0["components"]["schemas"]["Event"];
    let told = well("");
    let mut kinds = BTreeSet::new();
    let mut next = Some(Event::Hello { node: "node1".into(), version: "1".into() });
    while let Some(event) = next {
        document.fits(&serde_json::to_value(&event).unwrap(), schema, event.kind());
        kinds.insert(event.kind().to_owned());
        next = after(&event, &told);
    }
    let mapped = schema["discriminator"]["mapping"].as_object().expect("kinds");
    assert_eq!(kinds, mapped.keys().cloned().collect());
    assert_eq!(kinds.len(), schema["oneOf"].as_array().map_or(0, Vec::len));
}
