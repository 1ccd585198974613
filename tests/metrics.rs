//! A scrape of a real node: every metric of the list is there, none beyond it, and what happened is what was counted.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lyncpin::admin::{AdminServer, metric_names};
use lyncpin::client::{FrontEnd, FrontEndOptions, Phase, UserOptions};
use lyncpin::config::Admin;
use lyncpin::lab::pbx::Request;
use support::{Lab, Plan, line, settled};

const WITHIN: Duration = Duration::from_secs(20);

/// Further lines of the configuration: a voter of its own, and certificates for all that has one.
fn everything(folder: &Path) -> &'static str {
    let mut certs = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
    certs.arg("certs").arg("--dir").arg(folder).args(["--fqdn", "rccgw.contoso.com", "--voters", "1"]);
    let made = certs.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = |name: &str| format!("\"{}\"", folder.join(name).display());
    let voter = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[sip.tls]\ncert = {sip}\nkey = {sip_key}\n[admin]\ncert = {sip}\n[node]\ndata_dir = {data}\nstop_linger_s = 0\n\
         [cluster]\npace = \"wan\"\n[[cluster.voter]]\nid = 1\naddress = \"{voter}\"\n\
         [cluster.tls]\ncert = {node}\nkey = {node_key}\nca = {ca}\n",
        sip = file("sip.pem"),
        sip_key = file("sip.key"),
        data = file("data"),
        node = file("node-1.pem"),
        node_key = file("node-1.key"),
        ca = file("voters-ca.pem"),
    );
    // Once a test.
    text.leak()
}

fn scraped(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "{head}");
    body.to_owned()
}

/// Each sample's value, by its name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

#[test]
fn a_scrape_of_a_real_node_shows_every_metric_and_none_beyond() {
    lyncpin::gateway::block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let cti = "backoff_min_ms = 20";
        let lab = Lab::start(Plan { users: 2, links: 2, arbiters: 1, sip: everything(folder.path()), cti }).await;
        let admin = Admin { listen: vec!["tcp://127.0.0.1:0".parse().unwrap()], ..Admin::default() };
        let door = AdminServer::start(&admin, lab.gateway.desk()).await.unwrap();
        let address = door.addresses()[0];
        let scrape = async || tokio::task::spawn_blocking(move || scraped(address)).await.unwrap();

        let before = scrape().await;
        let before = samples(&before);
        let links = ["cm0", "cm1"].map(|link| format!("lyncpin_link_reconnects_total{{link=\"{link}\"}}"));
        assert_eq!(links.each_ref().map(|link| before[link.as_str()]), [0.0, 0.0], "the first time is none");
        assert_eq!(before["lyncpin_takeovers_total"], 0.0);

        let alice = &lab.users[0];
        let call = alice.make_call("+12065550100").await.unwrap().call().unwrap().call.clone();
        alice.until(WITHIN, |view| (view.phase(&call)? == Phase::Talking).then_some(())).await.expect("they talk");
        assert!(alice.hold(&call).await.unwrap().is_done());
        assert!(!alice.hold(&call).await.unwrap().is_done(), "it is held already");
        let stranger = FrontEnd::new(FrontEndOptions::front_end("fe02.contoso.com"));
        stranger.connect(lab.gateway.addresses()[0]).await.unwrap();
        let nobody = UserOptions::new("sip:nobody@contoso.com", line(99_999), "sip:rccgw@rccgw.contoso.com");
        stranger.user(nobody).sign_in().await.expect_err("nobody knows them");
        lab.order(Request::Drop { link: "pbx2".into() }).await;
        let seat = lab.gateway.node().links.by_name("cm1").unwrap().clone();
        settled(WITHIN, || seat.reconnects() == 1).await;

        let text = scrape().await;
        let found = samples(&text);
        let names: BTreeSet<&str> = found.keys().map(|sample| sample.split('{').next().unwrap()).collect();
        assert_eq!(names, metric_names().collect(), "a node with everything shows all of them\n{text}");
        for (sample, value) in [
            ("lyncpin_services_total{service=\"MakeCall\",outcome=\"ok\"}", 1.0),
            ("lyncpin_services_total{service=\"HoldCall\",outcome=\"ok\"}", 1.0),
            ("lyncpin_services_total{service=\"HoldCall\",outcome=\"refused\"}", 1.0),
            (links[0].as_str(), 0.0),
            (links[1].as_str(), 1.0),
            ("lyncpin_sessions", 2.0),
            ("lyncpin_calls", 1.0),
            ("lyncpin_cluster_leader", 1.0),
            ("lyncpin_takeovers_total", 0.0),
            ("lyncpin_ready", 1.0),
        ] {
            assert_eq!(found.get(sample), Some(&value), "{sample}\n{text}");
        }
        let sum = |metric: &str| found.iter().filter(|(name, _)| name.starts_with(metric)).map(|(_, n)| n).sum::<f64>();
        let signed_in = (sum("lyncpin_sign_ins_total"), sum("lyncpin_sign_in_refusals_total"));
        assert_eq!(signed_in, (2.0, 1.0), "{text}");
        assert!(found["lyncpin_events_total"] >= 4.0, "originated, delivered, established, held: {text}");
        for (what_for, days) in [("sip", 300.0), ("cluster", 300.0), ("admin", 300.0)] {
            let left = found[format!("lyncpin_certificate_expiry_seconds{{use=\"{what_for}\"}}").as_str()];
            assert!(left > days * 86_400.0 && left < 20.0 * 366.0 * 86_400.0, "{what_for}: {left}");
        }
        approved(&text);
        drop(door);
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

/// promtool finds nothing to say about the form.
fn approved(text: &str) {
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
        assert!(!required, "promtool is required and not installed: apt-get install prometheus");
        eprintln!("\n*** NOT TESTED: promtool is not installed (apt-get install prometheus) ***\n");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}
