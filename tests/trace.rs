//! `lyncpin ctl trace` against a real node: whose messages it shows, what it hides, and what others read in its capture.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lyncpin::admin::AdminServer;
use lyncpin::client::Phase;
use lyncpin::config::Admin;
use lyncpin::trace::{Capture, Line, Way, What};
use support::{Lab, Plan, settled};

const WITHIN: Duration = Duration::from_secs(20);

/// `lyncpin ctl trace`, read line by line on a thread of its own.
struct Follower {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Follower {
    fn start(door: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
        command.args(["ctl", "--admin", &format!("http://{door}"), "trace"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = Some(BufReader::new(child.stdout.take().unwrap()));
        Self { child, out }
    }

    /// Reads until a line is the one; yields them all.
    async fn until(&mut self, is_last: impl Fn(&str) -> bool + Send + 'static) -> Vec<String> {
        let mut out = self.out.take().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if out.read_line(&mut line).unwrap() == 0 {
                    return (out, lines, false);
                }
                let is_over = is_last(&line);
                lines.push(line);
                if is_over {
                    return (out, lines, true);
                }
            }
        });
        let (out, lines, is_found) = tokio::time::timeout(WITHIN, reading).await.expect("it comes in time").unwrap();
        self.out = Some(out);
        assert!(is_found, "the trace ended before: {lines:#?}");
        lines
    }
}

fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let Ok(run) = Command::new(program).args(arguments).output() else {
        let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
        assert!(!required, "{program} is required and not installed: apt-get install {program}");
        eprintln!("\n*** NOT TESTED: {program} is not installed (apt-get install {program}) ***\n");
        return None;
    };
    assert!(run.status.success(), "{program}: {}", String::from_utf8_lossy(&run.stderr));
    Some(String::from_utf8(run.stdout).unwrap())
}

/// What tshark makes of a capture: method, status and Call-ID of each SIP message, and what it has to say against it.
fn decoded(file: &Path) -> Option<(Vec<[String; 3]>, Vec<String>)> {
    let file = file.to_str().unwrap();
    let fields = ["-e", "sip.Method", "-e", "sip.Status-Code", "-e", "sip.Call-ID"];
    let checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let messages = tool("tshark", &[&["-n", "-r", file, "-Y", "sip", "-T", "fields"], &fields[..]].concat())?;
    let row = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        [(); 3].map(|()| cells.next().unwrap_or_default())
    };
    let wrong = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed || (tcp.len > 0 && !sip && !tcp.reassembled_in)";
    let against = tool("tshark", &[&["-n", "-2", "-r", file], &checks[..], &["-Y", wrong]].concat())?;
    Some((messages.lines().map(row).collect(), against.lines().map(str::to_owned).collect()))
}

#[test]
fn one_user_s_sip_and_csta_are_followed_and_nobody_else_s() {
    lyncpin::gateway::block_on(async {
        let lab = Lab::start(Plan { users: 3, links: 1, arbiters: 1, sip: "keepalive_s = 0", cti: "" }).await;
        let admin = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        let door = AdminServer::start(&admin, lab.gateway.desk()).await.unwrap();
        let address = door.addresses()[0];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alice.pcap");
        let (alice, other) = (&lab.users[0], &lab.users[1]);

        let mut follower = Follower::start(address, &["user10001", "--json", "--pcap", file.to_str().unwrap()]);
        let first = follower.until(|line| line.contains("begun")).await;
        let What::Begun { users, devices, served_by, shows_numbers, .. } = read(&first[0]).what else {
            panic!("first")
        };
        assert_eq!((users, devices), (vec!["user10001@contoso.com".to_owned()], vec!["10001".to_owned()]));
        assert_eq!((served_by, shows_numbers), (vec!["node1".to_owned()], false));
        let mut ladder = Follower::start(address, &["10001", "--show-numbers", "--full"]);
        ladder.until(|line| line.contains("PBX")).await;

        for user in [other, alice] {
            let call = user.make_call("+12065550100").await.unwrap().call().unwrap().call.clone();
            user.until(WITHIN, |view| (view.phase(&call)? == Phase::Talking).then_some(())).await.expect("they talk");
            assert!(user.hang_up(&call).await.unwrap().is_done());
        }
        alice.sign_out().await.unwrap();
        let is_bye = |line: &str| line.contains("200 OK to BYE");
        let lines: Vec<Line> = follower.until(is_bye).await.iter().map(|line| read(line)).collect();
        let mut seen = Vec::new();
        for line in &lines {
            let (way, summary, text) = match &line.what {
                What::Sip { way, summary, text, peer, local, .. } => {
                    assert!(text.contains("user10001@contoso.com"), "hers alone: {text}");
                    assert_eq!(local.unwrap(), lab.gateway.addresses()[0]);
                    assert!(peer.ip().is_loopback() && peer.port() != local.unwrap().port());
                    (way, format!("sip {summary}"), text)
                }
                What::Cti { way, link, summary, text } => {
                    assert_eq!(link, "cm0");
                    (way, format!("cti {summary}"), text)
                }
                other => panic!("{other:?}"),
            };
            assert!(!text.contains("2065550100") && !text.contains("4255551"), "numbers are masked: {text}");
            seen.push(format!("{} {summary}", if *way == Way::In { '<' } else { '>' }));
        }
        let mut expected = [
            "< sip INFO MakeCall",
            "> cti MakeCall",
            "< cti MakeCallResponse",
            "> sip 200 OK to INFO MakeCallResponse",
            "< cti EstablishedEvent",
            "> sip INFO EstablishedEvent",
            "< sip INFO ClearConnection",
            "< sip BYE",
            "> sip 200 OK to BYE",
        ]
        .into_iter()
        .peekable();
        for line in &seen {
            expected.next_if(|wanted| wanted == line);
        }
        assert_eq!(expected.next(), None, "in this order: {seen:#?}");

        let shown = ladder.until(|line| line.contains("200 OK to BYE")).await.concat();
        assert!(shown.contains("|-- INFO MakeCall --") && shown.contains("|-- MakeCall --"), "{shown}");
        assert!(shown.contains("12065550100"), "asked for, numbers are whole: {shown}");

        // It is dropped with its reader, and nobody is listened to any more.
        drop((follower, ladder));
        let node = lab.gateway.node().clone();
        settled(WITHIN, || node.tap.traces() == 0 && !node.tap.is_open()).await;

        if let Some((messages, against)) = decoded(&file) {
            assert_eq!(against, [""; 0], "tshark finds nothing wrong");
            let in_lines = lines.iter().filter(|line| matches!(line.what, What::Sip { .. })).count();
            assert_eq!(messages.len(), in_lines, "each message is decoded as SIP: {messages:#?}");
            assert!(messages.iter().any(|[method, _, _]| method == "BYE"), "{messages:#?}");
            let dialogs = tool("sngrep", &["-N", "-I", file.to_str().unwrap()]);
            assert!(dialogs.is_none_or(|said| said.contains("Dialog count: 1")), "sngrep finds her one dialog");
            assert!(messages.iter().all(|[.., call_id]| **call_id == *alice.call_id()), "{messages:#?}");
        }
        drop(door);
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

/// `[trace] hep`, over the socket of a collector.
#[test]
fn sip_is_copied_to_the_collector_that_the_configuration_names() {
    lyncpin::gateway::block_on(async {
        let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(WITHIN)).unwrap();
        let sip = format!("[trace]\nhep = \"udp://{}\"\n", collector.local_addr().unwrap()).leak();
        let lab = Lab::start(Plan { users: 1, links: 1, arbiters: 1, sip, cti: "" }).await;
        let mut copy = [0; 65_536];
        for begins in ["INVITE sip:", "SIP/2.0 200 OK\r\n", "ACK sip:"] {
            loop {
                let length = collector.recv(&mut copy).unwrap_or_else(|why| panic!("no copy of {begins}: {why}"));
                assert_eq!((&copy[..4], u16::from_be_bytes([copy[4], copy[5]])), (&b"HEP3"[..], length as u16));
                let text = String::from_utf8_lossy(&copy[..length]);
                assert!(!text.contains("142555510001"), "numbers are masked: {text}");
                if text.contains(begins) {
                    break;
                }
            }
        }
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

fn read(line: &str) -> Line {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

/// `traces_max`: the next one is refused, and told what to do.
#[test]
fn traces_are_bounded_and_a_stranger_s_name_is_told() {
    lyncpin::gateway::block_on(async {
        let sip = "[trace]\ntraces_max = 1\n";
        let lab = Lab::start(Plan { users: 1, links: 1, arbiters: 1, sip, cti: "" }).await;
        let admin = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        let door = AdminServer::start(&admin, lab.gateway.desk()).await.unwrap();
        let address = door.addresses()[0];
        let refused = async |arguments: &'static [&'static str]| {
            let run = tokio::task::spawn_blocking(move || {
                let mut command = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
                command
                    .args(["ctl", "--admin", &format!("http://{address}"), "trace"])
                    .args(arguments)
                    .output()
                    .unwrap()
            });
            let run = tokio::time::timeout(WITHIN, run).await.expect("it ends").unwrap();
            assert!(!run.status.success());
            String::from_utf8(run.stderr).unwrap()
        };
        let said = refused(&["mallory"]).await;
        assert!(said.contains("nobody is known as mallory") && said.contains("SIP address"), "{said}");
        let said = refused(&["user10001", "--for", "5h"]).await;
        assert!(said.contains("at most 4 hours"), "{said}");
        let mut follower = Follower::start(address, &["nobody@contoso.com", "--for", "1h"]);
        follower.until(|line| line.contains("PBX")).await;
        let said = refused(&["user10001"]).await;
        assert!(said.contains("1 traces run already") && said.contains("traces_max"), "{said}");
        // One that is over makes room.
        drop(follower);
        let node = lab.gateway.node().clone();
        settled(WITHIN, || node.tap.traces() == 0).await;
        let mut short = Follower::start(address, &["user10001", "--for", "1s"]);
        short.until(|line| line.contains("the trace has ended: its time is over")).await;
        drop(door);
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

/// Also on the port of SIP over TLS, over IPv6, and of a message that no IP packet holds.
#[test]
fn tshark_reads_every_capture_as_sip() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.pcap");
    let mut capture = Capture::begin(std::fs::File::create(&file).unwrap()).unwrap();
    let ends = [
        ("192.0.2.31:5061", "192.0.2.10:49152"),
        ("192.0.2.31:5060", "192.0.2.10:49153"),
        ("[2001:db8::31]:5061", "[2001:db8::10]:49154"),
        ("127.0.0.1:35011", "127.0.0.1:49155"),
    ];
    for (flow, (local, peer)) in (1..).zip(ends) {
        for (way, body_bytes) in [(Way::In, 10), (Way::Out, 70_000), (Way::In, 1)] {
            let start = if way == Way::In { "INFO sip:rccgw@contoso.com SIP/2.0" } else { "SIP/2.0 200 OK" };
            let text = format!(
                "{start}\r\nVia: SIP/2.0/TLS 192.0.2.10;branch=z9hG4bK1\r\nFrom: <sip:a@contoso.com>;tag=1\r\n\
                 To: <sip:b@contoso.com>;tag=2\r\nCall-ID: {flow}\r\nCSeq: 1 INFO\r\nContent-Type: text/plain\r\n\
                 Content-Length: {body_bytes}\r\n\r\n{}",
                "x".repeat(body_bytes)
            );
            let (local, peer) = (Some(local.parse().unwrap()), peer.parse().unwrap());
            let what = What::Sip { way, flow, local, peer, is_secure: true, summary: String::new(), text };
            capture.take(&Line { at_us: 1_700_000_000_000_000 + flow, what }).unwrap();
        }
    }
    drop(capture);
    if let Some((messages, against)) = decoded(&file) {
        let expected: Vec<[String; 3]> = (1..=4)
            .flat_map(|flow: u32| {
                [["INFO", ""], ["", "200"], ["INFO", ""]]
                    .map(|[method, status]| [method.to_owned(), status.to_owned(), flow.to_string()])
            })
            .collect();
        assert_eq!(messages, expected);
        assert_eq!(against, [""; 0], "tshark finds nothing wrong");
    }
}
