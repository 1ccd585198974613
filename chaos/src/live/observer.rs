//! What an operator's tools see: each data node's `/metrics` and `/api/v1/cluster`, read on that node ten times a second by a
//! process in its namespace, since the operator's door listens on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::network;

const DOOR: &str = "127.0.0.1:8480";
const EVERY: Duration = Duration::from_millis(100);
/// As a scraper that is in a hurry.
const PATIENCE: Duration = Duration::from_millis(700);
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Older than this it says nothing any more.
const FRESH: Duration = Duration::from_secs(3);

/// Reads one door, and writes what it finds to standard output, a line each.
#[derive(Args, Clone, Debug)]
pub struct ObserverPart {
    #[arg(long, default_value = DOOR)]
    address: SocketAddr,
}

/// One look at a door. `None`: there was no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub metrics: Option<Metrics>,
    /// Nodes that say nothing to this one, or that they are not ready, as its API has it.
    pub silent: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    pub is_ready: bool,
    pub voters: u64,
    pub voters_connected: u64,
    pub links_down: u64,
}

impl ObserverPart {
    /// Until nobody reads it any more.
    pub fn run(&self) -> io::Result<()> {
        loop {
            let look = Look {
                metrics: fetch(self.address, "/metrics").ok().map(|text| Metrics::of(&text)),
                silent: fetch(self.address, "/api/v1/cluster").ok().and_then(|text| silent(&text)),
            };
            let mut out = io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&look)?)?;
            out.flush()?;
            drop(out);
            std::thread::sleep(EVERY);
        }
    }
}

/// The body of a 200.
fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the body ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.take(BYTES_MAX).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned())),
    }
}

impl Metrics {
    fn of(text: &str) -> Self {
        let samples = || text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let one = |name: &str| samples().find(|(own, _)| *own == name).and_then(|(_, value)| value.parse().ok());
        let is_down = |(name, value): &(&str, &str)| name.starts_with("lyncpin_link_up{") && *value == "0";
        Self {
            is_ready: one("lyncpin_ready") == Some(1),
            voters: one("lyncpin_cluster_voters").unwrap_or_default(),
            voters_connected: one("lyncpin_cluster_voters_connected").unwrap_or_default(),
            links_down: samples().filter(is_down).count() as u64,
        }
    }
}

fn silent(text: &str) -> Option<BTreeSet<String>> {
    let view: Value = serde_json::from_str(text).ok()?;
    let nodes = view.get("nodes")?.as_array()?.iter();
    let is_ready = |says: &Value| says.pointer("/service/is_ready").and_then(Value::as_bool).unwrap_or(true);
    let is_silent = |node: &&Value| !node.get("says").is_some_and(|says| !says.is_null() && is_ready(says));
    Some(nodes.filter(is_silent).filter_map(|node| node.get("name")?.as_str().map(str::to_owned)).collect())
}

type Looks = BTreeMap<u32, (Instant, Look)>;

/// Observers of the data nodes; they end with this.
pub struct Observers {
    children: Vec<Child>,
    looks: Arc<Mutex<Looks>>,
}

impl Drop for Observers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Err: it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Observers {
    /// One in the namespace of each of these nodes.
    pub fn start(nodes: &[u32]) -> io::Result<Self> {
        let mut observers = Self { children: Vec::new(), looks: Arc::default() };
        let own = std::env::current_exe()?;
        for node in nodes.iter().copied() {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/run/netns/{}", network::namespace(node))).arg(&own).arg("part-observer");
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
            let said = child.stdout.take().map(BufReader::new);
            observers.children.push(child);
            let looks = observers.looks.clone();
            std::thread::Builder::new().name(format!("operator{node}")).spawn(move || {
                for line in said.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                    if let Ok(look) = serde_json::from_str(&line) {
                        looks.lock().unwrap_or_else(PoisonError::into_inner).insert(node, (Instant::now(), look));
                    }
                }
            })?;
        }
        Ok(observers)
    }

    /// What each node's door said last; nothing where it is too long ago.
    pub fn looks(&self) -> BTreeMap<u32, Look> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks
            .iter()
            .filter(|(_, (at, _))| at.elapsed() < FRESH)
            .map(|(node, (_, look))| (*node, look.clone()))
            .collect()
    }
}

/// Why this node looks unwell in `/metrics`; `None`: it looks well, or nobody looks.
pub fn in_metrics(looks: &BTreeMap<u32, Look>, node: u32) -> Option<String> {
    if let Some(own) = looks.get(&node) {
        match &own.metrics {
            None => return Some("its /metrics do not answer".to_owned()),
            Some(metrics) if !metrics.is_ready => return Some("lyncpin_ready 0".to_owned()),
            Some(metrics) if metrics.links_down > 0 => return Some("lyncpin_link_up 0".to_owned()),
            Some(_) => {}
        }
    }
    if !looks.is_empty() && looks.values().all(|look| look.metrics.is_none()) {
        return Some("no node's /metrics answer".to_owned());
    }
    looks.iter().find_map(|(other, look)| {
        let Metrics { voters, voters_connected, .. } = look.metrics.as_ref()?;
        (voters_connected < voters)
            .then(|| format!("lyncpin_cluster_voters_connected {voters_connected} of {voters} at node {other}"))
    })
}

/// Why this node looks unwell in the API of any node.
pub fn in_api(looks: &BTreeMap<u32, Look>, node: u32) -> Option<String> {
    let name = format!("node{node}");
    let others = looks.iter().filter(|(other, _)| **other != node);
    let mut says = others.filter_map(|(other, look)| Some((other, look.silent.as_ref()?)));
    if let Some((other, _)) = says.find(|(_, silent)| silent.contains(&name)) {
        return Some(format!("at node {other} it says nothing, or that it is not ready"));
    }
    if !looks.is_empty() && looks.values().all(|look| look.silent.is_none()) {
        return Some("no node's API answers".to_owned());
    }
    match looks.get(&node).map(|own| &own.silent) {
        Some(None) => Some("its API does not answer".to_owned()),
        Some(Some(silent)) if !silent.is_empty() => {
            Some(format!("there {silent:?} say nothing, or that they are not ready"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP lyncpin_ready 1: users may come here.\nlyncpin_ready 1\nlyncpin_cluster_voters 3\n\
        lyncpin_cluster_voters_connected 2\nlyncpin_link_up{link=\"cm1\"} 1\nlyncpin_link_up{link=\"cm2\"} 0\n";

    #[test]
    fn a_page_of_metrics_and_a_view_of_the_cluster_are_read() {
        let metrics = Metrics { is_ready: true, voters: 3, voters_connected: 2, links_down: 1 };
        assert_eq!(Metrics::of(TEXT), metrics);
        let view = r#"{"nodes":[{"id":1,"name":"node1","says":{"name":"node1"}},{"id":2,"name":"node2","says":null}]}"#;
        assert_eq!(silent(view), Some(BTreeSet::from(["node2".to_owned()])));
        let full = r#"{"nodes":[{"name":"node1","says":{"service":{"is_ready":false}}},{"name":"node3","says":{"service":null}}]}"#;
        assert_eq!(silent(full), Some(BTreeSet::from(["node1".to_owned()])), "a witness serves nobody");
        assert_eq!(silent("not JSON"), None);
    }

    #[test]
    fn a_node_that_is_gone_shows_on_itself_and_on_the_other_one() {
        let well = Metrics { is_ready: true, voters: 3, voters_connected: 3, links_down: 0 };
        let look = |metrics: Option<Metrics>, silent: Option<&[&str]>| Look {
            metrics,
            silent: silent.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let both = BTreeMap::from([(1, look(Some(well.clone()), Some(&[]))), (2, look(Some(well.clone()), Some(&[])))]);
        assert_eq!((in_metrics(&both, 1), in_api(&both, 1)), (None, None));
        let gone = Metrics { voters_connected: 2, ..well };
        let one = BTreeMap::from([(1, Look::default()), (2, look(Some(gone), Some(&["node1"])))]);
        assert!(in_metrics(&one, 1).is_some_and(|why| why.contains("do not answer")));
        assert!(
            in_metrics(&one, 3).is_some_and(|why| why.contains("2 of 3 at node 2")),
            "the witness has no door here"
        );
        let none = BTreeMap::from([(1, Look::default()), (2, Look::default())]);
        assert!(in_metrics(&none, 3).is_some() && in_api(&none, 3).is_some(), "nobody is left to say it");
        assert!(in_api(&one, 1).is_some_and(|why| why.contains("at node 2")));
    }
}
