//! What the witnesses and the conductor of a run wrote down: one JSON object a line, with a seal at the end.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::Kind;

/// A whole run. Entries are in the order of their time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub run: Run,
    pub entries: Vec<Entry>,
}

/// How the run was made, and what it is held to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    pub seed: u64,
    pub scenario: String,
    /// The command that makes this run again.
    pub replay: String,
    /// Every option derived from the seed.
    pub options: BTreeMap<String, String>,
    /// Users that ask without a pause: gaps are measured at them.
    pub probers: Vec<String>,
    /// Goals of recovery are multiplied by this: a slow or shared machine, a build without optimisation.
    pub slack: u64,
    pub bounds: Bounds,
    /// Entries that found no room: not 0, and the run proves nothing.
    pub lost: u64,
}

/// What a node may use at most under flood (I11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    pub rss_bytes_max: u64,
    pub files_max: u64,
    pub threads_max: u64,
    pub log_bytes_max: u64,
    /// The 99th percentile of users' requests while the flood lasts.
    pub p99_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        let mib = 1024 * 1024;
        Self { rss_bytes_max: 512 * mib, files_max: 2_000, threads_max: 64, log_bytes_max: 64 * mib, p99_ms_max: 500 }
    }
}

/// `at_us`: microseconds since the run began, all from one clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at_us: u64,
    #[serde(flatten)]
    pub what: What,
}

/// The option of a run in which an operator's tools looked at the nodes.
pub const OPERATOR: &str = "operator";

/// `user` is the device of a user's line, e.g. `10001`, for clients and PBX alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The conductor goes on to the next part.
    Phase {
        phase: Phase,
    },
    /// A node's process, by its life: 1 is its first.
    Process {
        node: u32,
        life: u32,
        turn: ProcessTurn,
    },
    /// Whether a node answered OPTIONS with 200, when that changed.
    Health {
        node: u32,
        serves: bool,
    },
    Fault {
        fault: u32,
        name: Kind,
        nodes: Vec<u32>,
        turn: FaultTurn,
    },
    /// The world outside could see the fault at this node, or could see that it is over.
    Notice {
        fault: u32,
        node: u32,
        shown: bool,
        how: String,
        #[serde(default)]
        by: By,
    },
    /// Client: the dialog and its monitor stand.
    SignedIn {
        user: String,
        call_id: String,
        tag: String,
    },
    /// Client: BYE was sent.
    SignedOut {
        user: String,
    },
    /// Client: one request and what became of it; the entry's time is its end.
    Operation(Operation),
    /// Client: an event was applied.
    Event {
        user: String,
        cseq: u32,
        event: String,
        call: String,
    },
    /// Client: the gateway broke a rule.
    Broke {
        user: String,
        rule: String,
        detail: String,
    },
    /// Client: a message of a dialog, as it went over a connection.
    Message(Message),
    /// PBX: a service came in, from this life of this node.
    Asked(Asked),
    /// PBX: it told the monitors of this device.
    Told {
        user: String,
        event: String,
        call: String,
    },
    /// All views side by side while nothing is under way: users whose client differs from the PBX.
    Compared {
        users: usize,
        differ: Vec<Difference>,
    },
    /// Somebody without a right came to a door.
    Intruder {
        manner: String,
        bytes_back: u64,
        got_in: bool,
    },
    Sample {
        node: u32,
        rss_bytes: u64,
        files: u64,
        threads: u64,
        log_bytes: u64,
    },
    /// The machine did not run the one who watches for it, until this entry's time.
    Stall {
        us: u64,
    },
    /// A reader or writer of the record store; the entry's time is the end.
    Store {
        client: u32,
        key: String,
        start_us: u64,
        op: StoreOp,
        result: StoreResult,
    },
}

/// By what a watcher outside sees a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// OPTIONS, the process, the log.
    #[default]
    Service,
    /// `/metrics`.
    Metrics,
    /// `/api/v1/cluster`.
    Api,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    SignIn,
    /// The workload runs, nothing is broken yet.
    Calm,
    Faults,
    /// Every fault is taken away, and no new call is made.
    Healing,
    /// Everything must work again.
    Convergence,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessTurn {
    Started,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultTurn {
    Began,
    /// Seen to have done what it should, and how that was seen.
    Bit(String),
    Healed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub user: String,
    /// The CSTA service, or the SIP method when there was none.
    pub op: String,
    /// The digits dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    pub cseq: u32,
    pub start_us: u64,
    pub result: Done,
}

/// What a client may conclude.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Ok,
    /// It was not done and will not be; the SIP status (0: none) and why.
    Failed(u16, String),
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub call_id: String,
    pub is_from_client: bool,
    /// The connection, by number.
    pub flow: u64,
    /// Of the CSeq: equal in a request and its answers.
    pub method: String,
    pub cseq: u32,
    /// `None`: a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub from_tag: String,
    pub to_tag: String,
    /// Of the body.
    pub digest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub node: u32,
    pub life: u32,
    /// `None`: about no device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Whether the PBX did it.
    pub was_done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub user: String,
    pub client: Vec<String>,
    pub pbx: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreOp {
    Write(u64),
    /// From this value to that one.
    Swap(Option<u64>, u64),
    Read,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreResult {
    Done,
    /// What a read found.
    Found(Option<u64>),
    /// A swap that found another value; or a definite failure of a write.
    Refused,
    Unknown,
}

/// The last line of a file.
#[derive(Serialize, Deserialize)]
struct Seal {
    sealed: usize,
    digest: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("line {line} cannot be read: {why}")]
    Line { line: usize, why: serde_json::Error },
    #[error("the seal is missing or broken: the file is not as the run left it")]
    Unsealed,
}

/// FNV-1a of 64 bits.
pub fn digest(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

impl History {
    /// Puts the entries in the order of their time.
    pub fn new(run: Run, mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.at_us);
        Self { run, entries }
    }

    pub fn save(&self, out: &mut impl Write) -> io::Result<()> {
        let mut hash = DIGEST_START;
        let mut line = |value: serde_json::Result<String>| {
            let text = value? + "\n";
            hash = digest(text.as_bytes(), hash);
            out.write_all(text.as_bytes())
        };
        line(serde_json::to_string(&self.run))?;
        self.entries.iter().try_for_each(|entry| line(serde_json::to_string(entry)))?;
        let seal = Seal { sealed: self.entries.len(), digest: format!("{hash:016x}") };
        writeln!(out, "{}", serde_json::to_string(&seal)?)
    }

    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::read(&mut io::BufReader::new(std::fs::File::open(path)?))
    }

    /// An `Err` is a file that was cut short or altered since the run.
    pub fn read(input: &mut impl BufRead) -> Result<Self, OpenError> {
        let lines: Vec<String> = input.lines().collect::<io::Result<_>>()?;
        let (last, body) = lines.split_last().ok_or(OpenError::Unsealed)?;
        let seal: Seal = serde_json::from_str(last).map_err(|_| OpenError::Unsealed)?;
        let hash = body.iter().fold(DIGEST_START, |hash, line| digest(b"\n", digest(line.as_bytes(), hash)));
        if seal.sealed + 1 != body.len() || seal.digest != format!("{hash:016x}") {
            return Err(OpenError::Unsealed);
        }
        let broken = |n: usize| move |why| OpenError::Line { line: n + 1, why };
        let run = serde_json::from_str(&body[0]).map_err(broken(0))?;
        let entry = |(n, line): (usize, &String)| serde_json::from_str(line).map_err(broken(n + 1));
        Ok(Self { run, entries: body[1..].iter().enumerate().map(entry).collect::<Result<_, _>>()? })
    }

    pub fn operations(&self) -> impl Iterator<Item = (u64, &Operation)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Operation(operation) => Some((entry.at_us, operation)),
            _ => None,
        })
    }

    pub fn asked(&self) -> impl Iterator<Item = (u64, &Asked)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Asked(asked) => Some((entry.at_us, asked)),
            _ => None,
        })
    }

    /// When a phase began.
    pub fn phase_at(&self, wanted: Phase) -> Option<u64> {
        self.entries.iter().find_map(|entry| match &entry.what {
            What::Phase { phase } if *phase == wanted => Some(entry.at_us),
            _ => None,
        })
    }

    /// The faults in the order they began.
    pub fn faults(&self) -> Vec<FaultSeen> {
        let mut seen: Vec<FaultSeen> = Vec::new();
        for entry in &self.entries {
            let What::Fault { fault, name, nodes, turn } = &entry.what else { continue };
            let known = seen.iter_mut().find(|known| known.fault == *fault);
            match (turn, known) {
                (FaultTurn::Began, None) => seen.push(FaultSeen {
                    fault: *fault,
                    kind: *name,
                    nodes: nodes.clone(),
                    began_us: entry.at_us,
                    proof: None,
                    healed_us: None,
                }),
                (FaultTurn::Bit(proof), Some(known)) => known.proof = Some(proof.clone()),
                (FaultTurn::Healed, Some(known)) => known.healed_us = Some(entry.at_us),
                _ => {}
            }
        }
        seen
    }
}

/// One fault from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSeen {
    pub fault: u32,
    pub kind: Kind,
    pub nodes: Vec<u32>,
    pub began_us: u64,
    pub proof: Option<String>,
    pub healed_us: Option<u64>,
}

impl FaultSeen {
    pub fn contains(&self, at_us: u64, before_us: u64, after_us: u64) -> bool {
        at_us + before_us >= self.began_us && self.healed_us.is_none_or(|healed| at_us <= healed + after_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::Golden;

    #[test]
    fn a_history_comes_back_as_it_was_saved_and_a_touched_one_does_not() {
        let golden = Golden::default().signed_in("10001", "a", "t").kill(1).told("10001", "HeldEvent", "c");
        let golden = golden.dialled("10001", "+1", Done::Unknown("late".to_owned())).compared(&["10001"]);
        let history = golden.invite("a", "c", "g").intruder(3, false).healed(1).history();
        let mut saved = Vec::new();
        history.save(&mut saved).expect("memory takes it");
        assert_eq!(History::read(&mut saved.as_slice()).expect("as saved"), history);
        let text = String::from_utf8(saved).expect("text");
        for touched in [text.replace("10001", "10002"), text.lines().rev().skip(1).collect(), String::new()] {
            assert!(matches!(History::read(&mut touched.as_bytes()), Err(OpenError::Unsealed)), "{touched}");
        }
    }
}
