//! The operator's door over real sockets: who may open it, what a stranger gets, what it costs.

mod events;
mod openapi;
#[allow(dead_code)]
#[path = "../dashboard/told.rs"]
mod told;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin::admin::{
    Act, AdminServer, ClusterView, Desk, Done, LinkView, NodeView, NotDone, RefusalView, SessionView, hash_of,
};
use lyncpin::config::Admin;
use tempfile::TempDir;

/// A node that counts what it is told to do.
#[derive(Default)]
struct Counting {
    acts: AtomicUsize,
}

impl Desk for Counting {
    fn node(&self) -> NodeView {
        NodeView {
            name: "node1".into(),
            version: "9.9.9".into(),
            feature_level_max: 1,
            uptime_s: 1,
            voter: None,
            service: None,
        }
    }
    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>> {
        let is_ready = self.acts.load(Ordering::SeqCst) == 0;
        Box::pin(async move { if is_ready { Ok(()) } else { Err(vec!["it is draining".into()]) } })
    }
    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>> {
        Box::pin(async { None })
    }
    fn sessions(&self, _: &str, _: usize) -> (Vec<SessionView>, usize) {
        (Vec::new(), 0)
    }
    fn links(&self) -> BoxFuture<'_, Vec<LinkView>> {
        Box::pin(async { Vec::new() })
    }
    fn refusals(&self) -> Vec<RefusalView> {
        Vec::new()
    }
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }
    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>> {
        Box::pin(async { Ok(vec![7; 1_000]) })
    }
    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>> {
        self.acts.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(Done::told(act.name())) })
    }
}

struct Door {
    desk: Arc<Counting>,
    server: AdminServer,
    _folder: TempDir,
}

impl Door {
    async fn open(change: impl FnOnce(&mut Admin, &TempDir)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        change(&mut config, &folder);
        let desk = Arc::new(Counting::default());
        let server = AdminServer::start(&config, desk.clone()).await.unwrap();
        Self { desk, server, _folder: folder }
    }

    async fn with_token(token: &str) -> Self {
        Self::open(|config, folder| {
            let file = folder.path().join("token");
            std::fs::write(&file, token).unwrap();
            config.secret_file = Some(file);
        })
        .await
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    fn acts(&self) -> usize {
        self.desk.acts.load(Ordering::SeqCst)
    }

    /// The status and body of one request, its head written out.
    fn ask(&self, head: &str) -> (u16, String) {
        self.send(&format!("{head}\r\nConnection: close\r\n\r\n"))
    }

    fn send(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Err: it closed on us with the answer on its way.
        let _ = stream.read_to_string(&mut answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        (status, body)
    }
}

#[tokio::test]
async fn health_is_for_everybody_and_the_rest_for_who_has_the_token() {
    let hash = hash_of("a long enough token").unwrap();
    for secret in ["a long enough token", &hash] {
        let door = Door::with_token(secret).await;
        assert_eq!(door.ask("GET /livez HTTP/1.1\r\nHost: lb").0, 200);
        assert_eq!(door.ask("GET /readyz HTTP/1.1\r\nHost: lb").0, 200);
        for path in ["/metrics", "/api/v1/node", "/api/v1/sessions", "/api/v1/backup"] {
            let asked = |more: &str| door.ask(&format!("GET {path} HTTP/1.1\r\nHost: rccgw.contoso.com{more}")).0;
            assert_eq!(asked(""), 401, "{path}");
            assert_eq!(asked("\r\nAuthorization: Bearer a long enough tokem"), 401, "{path}");
            assert_eq!(asked("\r\nAuthorization: Bearer a long enough token"), 200, "{path}");
            // operator:a long enough token
            let basic = "\r\nAuthorization: Basic b3BlcmF0b3I6YSBsb25nIGVub3VnaCB0b2tlbg==";
            assert_eq!(asked(basic), 200, "{path}");
        }
        // Without the token it ends with a refusal; with it it would not end.
        assert_eq!(door.ask("GET /api/v1/events HTTP/1.1\r\nHost: rccgw.contoso.com").0, 401);
        let drain = "POST /api/v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nlyncpin-operator: me";
        assert_eq!((door.ask(drain).0, door.acts()), (401, 0));
        assert_eq!(door.ask(&format!("{drain}\r\nAuthorization: Bearer a long enough token")).0, 200);
        assert_eq!(door.acts(), 1);
        let (status, body) = door.ask("GET /readyz HTTP/1.1\r\nHost: lb");
        assert_eq!((status, body.as_str()), (503, "not ready: it is draining\n"));
    }
}

#[tokio::test]
async fn a_guesser_is_locked_out() {
    let door = Door::with_token("a long enough token").await;
    let guess =
        |token: &str| door.ask(&format!("GET /api/v1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}")).0;
    let answers: Vec<u16> = (0..12).map(|n| guess(&format!("guess {n}"))).collect();
    assert_eq!((answers[9], answers[10], answers[11]), (401, 429, 429));
    assert_eq!(guess("a long enough token"), 429, "even the right one, for a minute");
    assert_eq!(door.ask("GET /livez HTTP/1.1\r\nHost: x").0, 200);
}

#[tokio::test]
async fn a_foreign_page_in_the_operator_s_browser_can_do_nothing() {
    let door = Door::open(|_, _| {}).await;
    // Its name was pointed here (DNS rebinding).
    let (status, body) = door.ask("GET /api/v1/node HTTP/1.1\r\nHost: evil.example:8480");
    assert_eq!(status, 403, "{body}");
    for host in ["127.0.0.1", "localhost:8480", "[::1]:8480"] {
        assert_eq!(door.ask(&format!("GET /api/v1/node HTTP/1.1\r\nHost: {host}")).0, 200, "{host}");
    }
    // A form or an image of its: no header that a browser would have to ask for first.
    for method in ["POST /api/v1/drain", "DELETE /api/v1/drain", "POST /api/v1/restore", "DELETE /api/v1/voters/2"] {
        let (status, body) = door.ask(&format!("{method} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0"));
        assert!(status == 403 && body.contains("lyncpin-operator"), "{method}: {status} {body}");
    }
    assert_eq!(door.acts(), 0);
}

#[tokio::test]
async fn what_is_not_understood_is_told_and_too_much_is_not_read() {
    let door = Door::open(|_, _| {}).await;
    let voters = |body: &str| {
        let length = body.len();
        door.send(&format!(
            "POST /api/v1/voters HTTP/1.1\r\nHost: localhost\r\nlyncpin-operator: me\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    };
    let (status, body) = voters("{\"id\": 4}");
    assert!(status == 400 && body.contains("host:port") && body.contains("address"), "{status} {body}");
    assert_eq!(voters("{\"id\": 4, \"address\": \"10.0.0.4:7400\"}").0, 200);
    assert_eq!(voters(&"x".repeat(70_000)).0, 413);
    assert_eq!(door.acts(), 1);
    let (status, body) = door.ask("GET /api/v2/node HTTP/1.1\r\nHost: localhost");
    assert!(status == 404 && body.contains("/api/v1"), "{status} {body}");
    assert_eq!(door.ask("GET /api/v1/cluster HTTP/1.1\r\nHost: localhost").0, 404, "this node is alone");
    assert_eq!(door.send("no HTTP at all\r\n\r\n").0, 400);
}

/// `connections_max`: what is over it waits, and is served when there is room.
#[tokio::test]
async fn idle_connections_are_bounded_by_connections_max() {
    let door = Door::open(|config, _| config.connections_max = 8).await;
    let idle: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(door.address()).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ninth = || {
        let mut stream = TcpStream::connect(door.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    };
    assert_eq!(ninth(), None);
    drop(idle);
    let served = (0..40).find_map(|_| ninth());
    assert_eq!(served.as_ref(), Some(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn beyond_this_machine_the_door_speaks_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let door = Door::open(|config, folder| {
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        config.listen = vec!["tls://127.0.0.1:0".parse().unwrap()];
        config.cert = write("cert.pem", made.cert.pem());
        config.key = write("key.pem", made.signing_key.serialize_pem());
        config.secret_file = write("token", "a long enough token".to_owned());
    })
    .await;
    assert_eq!(door.ask("GET /livez HTTP/1.1\r\nHost: x").0, 0, "plain HTTP gets no byte of HTTP back");
    let address = door.address();
    let ca = door._folder.path().join("cert.pem");
    let token = door._folder.path().join("token");
    let run = tokio::task::spawn_blocking(move || {
        let url = format!("https://localhost:{}", address.port());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lyncpin"));
        command.args(["ctl", "--json", "--admin", &url, "--ca"]).arg(ca).arg("--token-file").arg(token).arg("status");
        command.output().unwrap()
    })
    .await
    .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((run.status.success(), &said["node"]["version"]), (true, &"9.9.9".into()), "{said:#}");
}

#[tokio::test]
async fn the_page_is_for_everybody_and_nothing_of_the_node_is_in_it() {
    let door = Door::with_token("a long enough token").await;
    let mut stream = TcpStream::connect(door.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: rccgw.contoso.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let head = page.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    for policy in
        ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]
    {
        assert!(head.contains(policy), "{policy}: {head}");
    }
    assert!(head.contains("x-content-type-options: nosniff") && !head.contains("unsafe"), "{head}");
    assert!(!page.contains("node1") && !page.contains("9.9.9"), "{page}");
    assert_eq!(door.ask("GET /page/main.js HTTP/1.1\r\nHost: x").0, 200);
    for no in ["/page/", "/page/../Cargo.toml", "/page/..%2fapi.rs", "/page/none.js"] {
        assert_eq!(door.ask(&format!("GET {no} HTTP/1.1\r\nHost: x")).0, 404, "{no}");
    }
}
