//! Who may speak at a voter's door, and what becomes of those who may not.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin_cluster::log::memory::MemoryDisk;
use lyncpin_cluster::log::{Log, Mode};
use lyncpin_cluster::peer::{Acceptor, AskError, Link, LinkOptions, Links, Relay, Security, Service, node_name};
use lyncpin_cluster::raft::Role;
use lyncpin_cluster::replica::{Parts, Replica, Timers};
use lyncpin_cluster::wire::{self, Hello, Kind, PROTOCOL};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers, and counts what reached it.
struct Counting(Arc<AtomicUsize>);

impl Relay for Counting {
    fn heard(&self, from: u64, body: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { if body == b"fail" { Err("no".into()) } else { Ok([vec![from as u8], body].concat()) } })
    }
    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async { Vec::new() })
    }
}

struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "voters");
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Files of a voter whose certificate holds `name`, and who believes `trusted`.
    fn voter(&self, name: &str, trusted: &Self, years: (i32, i32)) -> (TempDir, Security) {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cert.pem", &params.signed_by(&key, &self.0).unwrap().pem());
        write("key.pem", &key.serialize_pem());
        write("ca.pem", &trusted.1);
        let path = |name: &str| folder.path().join(name);
        let security = Security::from_files(&path("cert.pem"), &path("key.pem"), &path("ca.pem")).unwrap();
        (folder, security)
    }
}

fn hello(from: u64, to: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        cluster_id: "contoso".into(),
        epoch: 3,
        from,
        to,
        version: String::new(),
        feature_level: 1,
        any: false,
        birth: 0,
        has_state: true,
        refusal: None,
    }
}

struct Door {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
    acceptor: Acceptor,
    _service: watch::Sender<Option<Arc<Service>>>,
}

impl Door {
    async fn open(security: Security) -> Self {
        let (deaths, _) = mpsc::channel(1);
        let links = Links::new(security.clone(), hello(1, 0), deaths);
        let log = Log::open(Arc::new(MemoryDisk::default()), None, Mode::Inline).unwrap();
        let parts = Parts {
            id: 1,
            role: Role::Data,
            timers: Timers::DEFAULT,
            log: log.clone(),
            network: links.clone(),
            shelf: Arc::new(log.shelf()),
            peers: Arc::new(links.clone()),
            runtime: tokio::runtime::Handle::current(),
        };
        let replica = Replica::build(parts).await.unwrap();
        replica.run();
        let heard = Arc::new(AtomicUsize::new(0));
        let relay = Arc::new(Counting(heard.clone()));
        let service = Service { replica, relay, links, begun_with: None };
        let (tell, service) = watch::channel(Some(Arc::new(service)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = Acceptor::start(listener, security, hello(1, 0), service).unwrap();
        Self { address: acceptor.address(), heard, acceptor, _service: tell }
    }

    fn link(&self, security: Security, hello: Hello) -> Link {
        Link::new(LinkOptions { to: 1, address: self.address.to_string(), security, hello, deaths: None, epochs: None })
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

async fn say(link: &Link, word: &[u8]) -> Result<Vec<u8>, AskError> {
    link.ask(Kind::Relay, word, PATIENCE).await
}

#[tokio::test]
async fn voters_of_one_authority_speak_and_answers_find_their_questions() {
    let authority = Authority::new();
    let (_a, one) = authority.voter(&node_name(1), &authority, (2020, 2090));
    let (_b, two) = authority.voter(&node_name(2), &authority, (2020, 2090));
    let door = Door::open(one).await;
    let link = door.link(two, hello(2, 1));
    let many = futures_util::future::join_all((0..500_u16).map(|n| {
        let link = link.clone();
        async move { (n, say(&link, &n.to_be_bytes()).await.unwrap()) }
    }));
    for (n, answer) in many.await {
        assert_eq!(answer, [&[2][..], &n.to_be_bytes()].concat());
    }
    assert!(matches!(say(&link, b"fail").await, Err(AskError::Refused { why, .. }) if why == "no"));
    let unknown = link.ask(Kind::Answer, b"", PATIENCE).await;
    assert!(matches!(unknown, Err(AskError::Refused { .. })), "a kind it does not know is answered so: {unknown:?}");
    assert_eq!(link.heard().unwrap().from, 1);
    door.acceptor.stop().await;
}

#[tokio::test]
async fn two_hundred_intruders_say_nothing_that_is_heard() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (_a, one) = authority.voter(&node_name(1), &authority, (2020, 2090));
    let door = Door::open(one).await;
    let always = (2020, 2090);
    let others = [
        ("another authority's", stranger.voter(&node_name(2), &authority, always), hello(2, 1)),
        ("another node's", authority.voter(&node_name(3), &authority, always), hello(2, 1)),
        ("no node's", authority.voter("fe01.contoso.com", &authority, always), hello(2, 1)),
        ("run out", authority.voter(&node_name(2), &authority, (2020, 2021)), hello(2, 1)),
        (
            "of another cluster",
            authority.voter(&node_name(2), &authority, always),
            Hello { cluster_id: "fabrikam".into(), ..hello(2, 1) },
        ),
        (
            "of an epoch that was given up",
            authority.voter(&node_name(2), &authority, always),
            Hello { epoch: 2, ..hello(2, 1) },
        ),
        ("for another node", authority.voter(&node_name(2), &authority, always), hello(2, 7)),
        (
            "of another protocol",
            authority.voter(&node_name(2), &authority, always),
            Hello { protocol: 99, ..hello(2, 1) },
        ),
        ("without TLS", (tempfile::tempdir().unwrap(), Security::Loopback), hello(2, 1)),
    ];
    for _ in 0..23 {
        for (who, (_, security), hello) in &others {
            let said = say(&door.link(security.clone(), hello.clone()), b"let me in").await;
            assert!(matches!(said, Err(AskError::NotSent { .. })), "{who}: {said:?}");
        }
    }
    assert_eq!(door.heard(), 0);
    let (_b, two) = authority.voter(&node_name(2), &authority, always);
    assert!(say(&door.link(two, hello(2, 1)), b"x").await.is_ok(), "the good one is heard after all of them");
    assert_eq!(door.heard(), 1);
}

#[tokio::test]
async fn frames_that_are_none_end_their_connection_and_nothing_else() {
    let door = Door::open(Security::Loopback).await;
    let good = door.link(Security::Loopback, hello(2, 1));
    say(&good, b"before").await.unwrap();
    let greeting = wire::frame(Kind::Hello, 0, &wire::encode(&hello(2, 1)));
    let long = |kind: Kind| wire::frame(kind, 1, &[0xff; 64]);
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("no length", vec![0; 4]),
        ("four gigabytes", vec![0xff; 4]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("no greeting", long(Kind::Relay)),
        ("a greeting that is none", long(Kind::Hello)),
        ("four gigabytes after the greeting", [&greeting[..], &[0xff; 4]].concat()),
        ("a length of three", [&greeting[..], &[0, 0, 0, 3, 1, 2, 3]].concat()),
    ];
    for (what, bytes) in &wrong {
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        // Err: it was closed at the first bytes.
        let _ = stream.write_all(bytes).await;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{what}: the connection ends");
    }
    // Bodies that are none are answered, and the connection stands.
    for kind in [Kind::Append, Kind::Vote, Kind::PreVote, Kind::TransferLeader, Kind::Propose, Kind::SnapshotBegin] {
        let refused = good.ask(kind, &[0xc1; 100], PATIENCE).await;
        assert!(matches!(refused, Err(AskError::Refused { .. })), "{kind:?}: {refused:?}");
    }
    for kind in [Kind::SnapshotChunk, Kind::SnapshotEnd] {
        assert!(good.ask(kind, &[], PATIENCE).await.is_err(), "{kind:?} before a snapshot began");
    }
    say(&good, b"after").await.unwrap();
    assert_eq!(door.heard(), 2);
}

#[tokio::test]
async fn a_crowd_at_the_door_is_bounded_and_passes() {
    let door = Door::open(Security::Loopback).await;
    // They say nothing at all: 64 wait, the rest is turned away at once.
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(door.address).await.unwrap());
    }
    let mut turned_away = 0;
    for stream in &mut crowd {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("nobody waits for ever");
        turned_away += usize::from(matches!(read, Ok(0) | Err(_)));
    }
    assert_eq!(turned_away, 200, "the patient ones after their time");
    assert!(say(&door.link(Security::Loopback, hello(2, 1)), b"x").await.is_ok());
}

/// A process that listens and is killed: refused afterwards; one whose listener lives closes connections only.
#[tokio::test]
async fn a_death_is_proven_by_a_refusal_and_by_nothing_less() {
    let (tell, mut deaths) = mpsc::channel(4);
    let door = Door::open(Security::Loopback).await;
    let options = |address: SocketAddr| LinkOptions {
        to: 1,
        address: address.to_string(),
        security: Security::Loopback,
        hello: hello(2, 1),
        deaths: Some(tell.clone()),
        epochs: None,
    };
    let link = Link::new(options(door.address));
    say(&link, b"x").await.unwrap();
    door.acceptor.stop().await;
    assert_eq!(tokio::time::timeout(PATIENCE, deaths.recv()).await.unwrap(), Some(1));

    // This one ends each connection and lives: the proof fails for good, however long one looks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closes = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if wire::read(&mut stream, 1024).await.is_ok_and(|frame| frame.is_some()) {
                let answer = wire::frame(Kind::Hello, 0, &wire::encode(&hello(1, 2)));
                wire::write(&mut stream, &answer).await.unwrap();
            }
        }
    });
    let link = Link::new(options(address));
    for _ in 0..3 {
        // Err: the connection ends under the question.
        let _ = say(&link, b"x").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(deaths.try_recv().is_err(), "its process lives");
    closes.abort();
}

#[test]
fn plain_tcp_is_for_one_machine() {
    let local: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
    assert!(Security::Loopback.is_enough_for(&local));
    assert!(!Security::Loopback.is_enough_for(&["10.0.0.1:1".parse().unwrap()]));
    assert!(Security::from_files(Path::new("absent"), Path::new("absent"), Path::new("absent")).is_err());
}
