//! A node inside the test that tells what the test wants it to tell.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use lyncpin::admin::{
    Act, AdminServer, ClusterView, Desk, Done, LinkView, NodeView, NotDone, RefusalView, SessionView,
};
use lyncpin::config::Admin;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Every text of its views may be chosen.
pub struct Told(Mutex<Value>);

impl Told {
    fn part<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_value(self.0.lock().unwrap()[name].clone()).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Desk for Told {
    fn node(&self) -> NodeView {
        self.part::<ClusterView>("cluster").nodes.remove(0).says.expect("its own words")
    }
    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>> {
        Box::pin(async { Ok(()) })
    }
    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>> {
        Box::pin(async { Some(self.part("cluster")) })
    }
    fn sessions(&self, like: &str, max: usize) -> (Vec<SessionView>, usize) {
        let mut found: Vec<SessionView> = self.part("sessions");
        found.retain(|session| session.user.contains(like));
        let total = found.len();
        found.truncate(max);
        (found, total)
    }
    fn links(&self) -> BoxFuture<'_, Vec<LinkView>> {
        Box::pin(async { self.part("links") })
    }
    fn refusals(&self) -> Vec<RefusalView> {
        self.part("refusals")
    }
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }
    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>> {
        let why = format!("not now, {}", self.part::<String>("word"));
        Box::pin(async move { Err(NotDone::Refused(format!("{}: {why}", act.name()))) })
    }
}

/// A pair of which all is well; `word` stands wherever a text comes from outside.
pub fn well(word: &str) -> Value {
    let voters = json!({
        "1": { "name": "node1", "address": "10.0.0.1:7400", "role": "data" },
        "2": { "name": "node2", "address": "10.0.0.2:7400", "role": "data" },
        "3": { "name": "node3", "address": "10.0.0.3:7400", "role": "witness" },
    });
    let voter = |id: u64, role: &str| {
        json!({
            "id": id, "name": format!("node{id}"), "role": role, "leader": 1, "term": 3, "may_act": true, "incarnation": id,
            "applied": 90, "last": 90, "records": 2, "log_bytes": 1000, "disk_bytes": 2000, "voters": voters,
            "feature_level": 1,
        })
    };
    let service = json!({
        "is_ready": true, "not_ready": [], "is_draining": false, "sessions": 1, "calls": 1, "flows": 1, "links_up": 2,
        "links": 2, "links_down": [],
        "last_takeover": {
            "at_ms": 1, "is_planned": false, "from": format!("node2{word}"), "to": "node1", "moved": 1, "stayed": 1,
            "gap_ms": 41,
        },
    });
    let node = |id: u64, role: &str, service: Value| {
        json!({
            "id": id, "name": format!("node{id}{word}"), "role": role, "address": format!("10.0.0.{id}:7400{word}"), "lag": 0,
            "says": {
                "name": format!("node{id}{word}"), "version": format!("0.1.0{word}"), "feature_level_max": 1, "uptime_s": 7200,
                "voter": voter(id, role), "service": service,
            },
        })
    };
    let link = |name: &str| {
        json!({
            "name": format!("{name}{word}"), "address": format!("csta://10.0.0.9:1234{word}"), "state": "up", "generation": 1,
            "last_error": null, "next_try_in_ms": null, "sessions": 1, "monitors": 1, "recovering": 0, "outstanding": 0,
            "heartbeat_rtt_ms": 2,
        })
    };
    let session = |user: &str, calls: Value| {
        json!({
            "id": format!("{user}{word}"), "user": format!("sip:{user}@contoso.com{word}"), "device": format!("5101{word}"),
            "line": format!("tel:5101{word}"), "link": format!("cm1{word}"), "node": format!("node1{word}"),
            "client": format!("lync2013{word}"), "is_out_of_service": false, "monitors": 1, "calls": calls,
        })
    };
    json!({
        "word": word,
        "cluster": {
            "name": format!("contoso{word}"), "epoch": 0, "feature_level": 1, "leader": 1,
            "nodes": [node(1, "data", service.clone()), node(2, "data", service), node(3, "witness", Value::Null)],
            "spare_failures": 1, "ready_for_switchover": { "is_so": true, "reasons": [] },
            "ready_for_upgrade": { "is_so": word.is_empty(), "reasons": [format!("because {word}")] },
        },
        "links": [link("cm1"), link("cm2")],
        "sessions": [
            session("alice", json!(["connected", "hold", format!("odd{word}")])), session("bob", json!(["alerting"])),
            session("carol", json!([])),
        ],
        "refusals": [{
            "at_ms": 1_700_000_000_000_u64, "user": format!("sip:dave@contoso.com{word}"),
            "reason": format!("line_unknown{word}"), "remedy": format!("give the line to a user here{word}"),
            "client": format!("UCCAPI/16.0{word}"),
        }],
    })
}

pub struct Door {
    pub desk: Arc<Told>,
    server: Option<AdminServer>,
    config: Admin,
    _folder: TempDir,
}

impl Door {
    pub async fn open(word: &str, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        if let Some(token) = token {
            let file = folder.path().join("token");
            std::fs::write(&file, token).unwrap();
            config.secret_file = Some(file);
        }
        let desk = Arc::new(Told(Mutex::new(well(word))));
        let server = AdminServer::start(&config, desk.clone()).await.unwrap();
        config.listen = vec![format!("tcp://{}", server.addresses()[0]).parse().unwrap()];
        Self { desk, server: Some(server), config, _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.config.listen[0].to_string().trim_start_matches("tcp://"))
    }

    pub fn address(&self) -> SocketAddr {
        self.url().trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
    }

    /// The node ends.
    pub fn shut(&mut self) {
        self.server = None;
    }

    pub async fn open_again(&mut self) {
        for _ in 0..500 {
            if let Ok(server) = AdminServer::start(&self.config, self.desk.clone()).await {
                self.server = Some(server);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the port stays taken");
    }
}
