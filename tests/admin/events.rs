//! What changes at a node, as server-sent events over a real socket.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin::admin::{
    Act, AdminServer, ClusterView, Desk, Done, LinkView, NodeView, NotDone, RefusalView, ServiceView, SessionView,
    TakeoverView,
};
use lyncpin::config::Admin;
use lyncpin::store::{Change, Claims, Command, FencedStore, Incarnation, MemoryStore, Reply, Watch};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node whose views are what the test says they are.
struct Set {
    store: MemoryStore,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    node: NodeView,
    link: LinkView,
    sessions: Vec<SessionView>,
    refusals: Vec<RefusalView>,
}

impl Set {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }
}

impl Desk for Set {
    fn node(&self) -> NodeView {
        self.state().node
    }
    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>> {
        Box::pin(async { Ok(()) })
    }
    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>> {
        Box::pin(async { None })
    }
    fn sessions(&self, _: &str, _: usize) -> (Vec<SessionView>, usize) {
        (self.state().sessions, 0)
    }
    fn session(&self, id: &str) -> Option<SessionView> {
        self.state().sessions.into_iter().find(|session| session.id == id)
    }
    fn watch(&self) -> Option<Watch> {
        Some(self.store.watch())
    }
    fn links(&self) -> BoxFuture<'_, Vec<LinkView>> {
        Box::pin(async { vec![self.state().link] })
    }
    fn refusals(&self) -> Vec<RefusalView> {
        self.state().refusals
    }
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }
    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>> {
        Box::pin(async move { Ok(Done::told(act.name())) })
    }
}

fn service() -> ServiceView {
    ServiceView {
        is_ready: true,
        not_ready: Vec::new(),
        is_draining: false,
        sessions: 1,
        calls: 0,
        flows: 1,
        links_up: 1,
        links: 1,
        links_down: Vec::new(),
        last_takeover: None,
    }
}

fn session(id: &str, calls: &[&str]) -> SessionView {
    SessionView {
        id: id.into(),
        user: format!("sip:{id}@contoso.com"),
        device: "5101".into(),
        line: "tel:5101".into(),
        link: "cm1".into(),
        node: "node1".into(),
        client: "lync".into(),
        is_out_of_service: false,
        monitors: 1,
        calls: calls.iter().map(ToString::to_string).collect(),
    }
}

fn refusal(at_ms: u64, user: &str) -> RefusalView {
    let (reason, remedy) = ("line_unknown".into(), "give the line to a user".into());
    RefusalView { at_ms, user: user.into(), reason, remedy, client: "UCCAPI".into() }
}

struct Rig {
    desk: Arc<Set>,
    server: AdminServer,
    life: Incarnation,
}

impl Rig {
    async fn start() -> Self {
        let store = MemoryStore::new();
        let Ok(Reply::Joined { incarnation: life, .. }) = store.propose(Command::Join { node: "node1".into() }).await
        else {
            panic!("it joins")
        };
        let node = NodeView {
            name: "node1".into(),
            version: "1".into(),
            feature_level_max: 1,
            uptime_s: 1,
            voter: None,
            service: Some(service()),
        };
        let link = LinkView {
            name: "cm1".into(),
            address: "csta://10.0.0.1:1234".into(),
            state: "up".into(),
            generation: 1,
            last_error: None,
            next_try_in_ms: None,
            sessions: 1,
            monitors: 1,
            recovering: 0,
            outstanding: 0,
            heartbeat_rtt_ms: Some(1),
        };
        let refusals = vec![refusal(5, "old")];
        let state = Mutex::new(State { node, link, sessions: Vec::new(), refusals });
        let desk = Arc::new(Set { store, state });
        let config = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        let server = AdminServer::start(&config, desk.clone()).await.unwrap();
        Self { desk, server, life }
    }

    /// The record of a session is written, whatever stands in it.
    async fn touch(&self, id: &str) {
        let key: Arc<str> = format!("session/{id}").into();
        let expected = self.desk.store.read(&key).map_or(0, |record| record.version);
        let change = Change::Put { writer: self.life, key, expected, claims: Claims::default(), body: vec![1].into() };
        let reply = self.desk.store.propose(Command::Batch { changes: vec![change] }).await.unwrap();
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }

    fn follow(&self, last: Option<&str>) -> Follower {
        Follower::of(self.server.addresses()[0], last)
    }
}

/// Reads the stream as any program would.
struct Follower {
    status: u16,
    head: String,
    lines: BufReader<TcpStream>,
}

impl Follower {
    fn of(address: SocketAddr, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), lines }
    }

    /// The next event, its id beside it.
    fn next(&mut self) -> (String, Value) {
        let (mut id, mut event) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("an event in time") > 0, "the stream is over");
            if let Some(told) = line.strip_prefix("id: ") {
                id = told.trim().to_owned();
            } else if let Some(kind) = line.strip_prefix("event: ") {
                event = kind.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["kind"], event.as_str(), "{data}");
                return (id, data);
            }
        }
    }

    /// The next one of this kind.
    fn of_kind(&mut self, kind: &str) -> (String, Value) {
        loop {
            let (id, data) = self.next();
            if data["kind"] == kind {
                return (id, data);
            }
        }
    }
}

/// The node looks for the first time, which is told to nobody.
async fn looked() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_once_in_its_own_words() {
    let rig = Rig::start().await;
    let mut follower = rig.follow(None);
    assert!(follower.head.contains("content-type: text/event-stream"), "{}", follower.head);
    let (_, hello) = follower.next();
    assert_eq!((hello["kind"].as_str(), hello["node"].as_str()), (Some("hello"), Some("node1")));
    looked().await;
    let told = |follower: &mut Follower| follower.next().1;

    rig.desk.change(|state| (state.link.state, state.link.last_error) = ("down".into(), Some("no answer".into())));
    let event = told(&mut follower);
    let words = ["kind", "node"].map(|key| event[key].as_str().unwrap_or_default().to_owned());
    assert_eq!((words, event["link"]["last_error"].as_str()), (["link", "node1"].map(String::from), Some("no answer")));

    rig.desk.change(|state| {
        let service = state.node.service.as_mut().unwrap();
        (service.is_ready, service.not_ready, service.is_draining) = (false, vec!["it is draining".into()], true);
    });
    let event = told(&mut follower);
    assert_eq!(
        (&event["kind"], &event["is_draining"], &event["is_ready"]),
        (&"node".into(), &true.into(), &false.into())
    );

    rig.desk
        .change(|state| state.refusals.splice(0..0, [refusal(6, "later"), refusal(5, "same moment")]).for_each(drop));
    let users = [told(&mut follower), told(&mut follower)].map(|event| event["refusal"]["user"].clone());
    assert_eq!(users, ["same moment", "later"], "the older one first, and none that was there");

    let takeover = TakeoverView {
        at_ms: 9,
        is_planned: false,
        from: Some("node2".into()),
        to: "node1".into(),
        moved: 3,
        stayed: 0,
        gap_ms: 41,
    };
    rig.desk.change(|state| state.node.service.as_mut().unwrap().last_takeover = Some(takeover.clone()));
    let event = told(&mut follower);
    assert_eq!((&event["kind"], &event["takeover"]["gap_ms"]), (&"takeover".into(), &41.into()));

    rig.desk.change(|state| state.node.service.as_mut().unwrap().sessions = 2);
    assert_eq!(told(&mut follower)["kind"], "load");
    // What moves all the time is no event: the next thing told is the session.
    rig.desk.change(|state| (state.node.uptime_s, state.link.heartbeat_rtt_ms) = (99, Some(7)));
    tokio::time::sleep(Duration::from_millis(700)).await;

    rig.desk.change(|state| state.sessions = vec![session("alice", &[])]);
    rig.touch("alice").await;
    let event = told(&mut follower);
    assert_eq!((&event["kind"], &event["session"]["user"]), (&"session".into(), &"sip:alice@contoso.com".into()));
    rig.touch("alice").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.desk.change(|state| state.sessions = vec![session("alice", &["alerting"])]);
    rig.touch("alice").await;
    let event = told(&mut follower);
    assert_eq!(
        (&event["kind"], &event["calls"][0]),
        (&"calls".into(), &"alerting".into()),
        "written anew is no change"
    );
    rig.desk.change(|state| state.sessions.clear());
    rig.touch("alice").await;
    let event = told(&mut follower);
    assert_eq!((&event["kind"], &event["id"]), (&"session_ended".into(), &"alice".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_goes_on_and_who_cannot_is_told() {
    let rig = Rig::start().await;
    let mut follower = rig.follow(None);
    follower.of_kind("hello");
    looked().await;
    rig.desk.change(|state| state.refusals.insert(0, refusal(6, "first")));
    let (first, _) = follower.of_kind("refusal");
    drop(follower);
    rig.desk.change(|state| state.refusals.insert(0, refusal(7, "missed")));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (_, event) = rig.follow(Some(&first)).next();
    assert_eq!(event["refusal"]["user"], "missed", "{event}");
    let (id, event) = rig.follow(Some("1-1")).next();
    assert_eq!(event["kind"], "gap", "{event}");
    rig.desk.change(|state| state.refusals.insert(0, refusal(8, "last")));
    let (_, event) = rig.follow(Some(&id)).of_kind("refusal");
    assert_eq!(event["refusal"]["user"], "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_at_once_are_one_event() {
    let rig = Rig::start().await;
    let mut follower = rig.follow(None);
    follower.of_kind("hello");
    looked().await;
    for n in 0..2_000 {
        rig.touch(&n.to_string()).await;
    }
    let mut told = 0;
    let mut ended = 0;
    while told + ended < 2_000 {
        let (_, event) = follower.next();
        told += event["changed"].as_u64().unwrap_or_default();
        ended += u64::from(event["kind"] == "session_ended");
    }
    assert!(told > 1_000 && ended <= 1_000, "{told} together, {ended} alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_and_a_closing_door_are_told() {
    let Rig { desk, server, .. } = Rig::start().await;
    let address = server.addresses()[0];
    let mut followers: Vec<Follower> = (0..32).map(|_| Follower::of(address, None)).collect();
    let refused = Follower::of(address, None);
    assert!(refused.status == 503 && refused.head.contains("retry-after: 5"), "{}", refused.head);
    followers.pop();
    // A reader that has gone is noticed when the next thing is told.
    desk.change(|state| state.refusals.insert(0, refusal(6, "x")));
    followers[0].of_kind("refusal");
    followers.push(Follower::of(address, None));
    assert_eq!(followers[31].status, 200);
    drop(server);
    for follower in &mut followers {
        let mut rest = String::new();
        while follower.lines.read_line(&mut rest).expect("it ends in time") > 0 {}
        assert!(rest.ends_with("0\r\n\r\n"), "a stream that ends as HTTP says: {rest:?}");
    }
}
