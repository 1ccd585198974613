//! What a laboratory's operator can ask of the PBX: one JSON object a line, `{"op":"ring","device":"5101"}`.

use serde::{Deserialize, Serialize};

use super::board::Stats;
use super::fault::Faults;
use super::history::HistoryPage;
use crate::csta::{Failure, LocalState};

/// A longer line is answered with an error and skipped to its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most entries or calls one reply carries.
pub const PAGE_MAX: usize = 10_000;

/// Phone actions name a device, or with a call any party of it; faults name a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Someone calls the device; `from` missing: the number is withheld.
    Ring {
        device: String,
        from: Option<String>,
    },
    /// Lifts the handset for the ringing call. Without a device: whoever rings in the call answers.
    Answer {
        device: Option<String>,
        call: Option<String>,
    },
    /// Hangs up. Without a call: the active one, else the ringing, else the oldest.
    Hangup {
        device: String,
        call: Option<String>,
    },
    Hold {
        device: String,
        call: Option<String>,
    },
    Retrieve {
        device: String,
        call: Option<String>,
    },
    Dial {
        device: String,
        to: String,
    },
    /// `to` missing: off. The type is `forwardImmediate` unless given.
    Forward {
        device: String,
        to: Option<String>,
        forwarding_type: Option<String>,
    },
    Dnd {
        device: String,
        on: bool,
    },
    Mwi {
        device: String,
        on: bool,
    },
    /// Closes every connection of the link.
    Drop {
        link: String,
    },
    Refuse {
        link: String,
        on: bool,
    },
    Freeze {
        link: String,
        on: bool,
    },
    Delay {
        link: String,
        ms: u64,
    },
    /// 0: off.
    DropAnswers {
        link: String,
        every: u64,
    },
    AnswerTwice {
        link: String,
        on: bool,
    },
    /// New sessions, no monitors; without a link on all of them, and only then can the calls go too.
    Restart {
        link: Option<String>,
        #[serde(default)]
        forget_calls: bool,
    },
    /// Ends every session of the link with ApplicationSessionTerminated.
    Terminate {
        link: String,
    },
    Status {
        link: String,
        status: String,
    },
    /// Ends every fault of the link, or of all.
    Heal {
        link: Option<String>,
    },
    History {
        #[serde(default)]
        after: u64,
        #[serde(default = "page_usual")]
        max: usize,
    },
    Calls {
        #[serde(default)]
        after: u64,
        #[serde(default = "page_usual")]
        max: usize,
    },
    Stats,
    Links,
    AddDevices {
        first: String,
        count: usize,
    },
}

fn page_usual() -> usize {
    1_000
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Done,
    /// Done, and this is the call it made.
    Call {
        call: String,
    },
    /// The PBX would not.
    Refused {
        failure: Failure,
    },
    History(HistoryPage),
    Calls {
        calls: Vec<CallSeen>,
    },
    Stats(Stats),
    Links {
        links: Vec<LinkSeen>,
    },
    Error {
        error: RequestError,
    },
}

impl Reply {
    pub fn is_ok(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Error { .. })
    }
}

/// A request that means nothing; it changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RequestError {
    #[error("no such request, at column {column}")]
    Unreadable { column: usize },
    #[error("a line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("no such link")]
    NoSuchLink,
    #[error("no such device or party")]
    NoSuchParty,
    #[error("no call it could mean")]
    NoSuchCall,
    #[error("not a system status of ECMA-323")]
    NoSuchStatus,
    #[error("calls are shared by all links: only a restart of all forgets them")]
    CallsAreShared,
    #[error("devices cannot be added: not an extension, or too many")]
    CannotAddDevices,
}

/// One call, as the PBX itself sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSeen {
    pub call: String,
    /// `None`: withheld.
    pub calling: Option<String>,
    pub called: Option<String>,
    pub correlator: Option<String>,
    pub parties: Vec<PartySeen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartySeen {
    pub party: String,
    pub is_device: bool,
    pub state: LocalState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSeen {
    pub link: String,
    pub faults: Faults,
    pub flows: usize,
    pub sessions: usize,
}

/// Reads one line.
pub fn read(line: &[u8]) -> Result<Request, RequestError> {
    serde_json::from_slice(line).map_err(|fault| RequestError::Unreadable { column: fault.column() })
}

/// Writes one line, with `ok` in front for those who read by eye or with a shell.
pub fn write(reply: &Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        ok: bool,
        #[serde(flatten)]
        reply: &'a Reply,
    }
    let line = Line { ok: reply.is_ok(), reply };
    let mut bytes = serde_json::to_vec(&line).expect("every reply is plain data with text keys");
    bytes.push(b'\n');
    bytes
}
