//! What goes into and comes out of the link machine.

use crate::csta::{Event, Outcome};
use crate::machine::ask::LinkFailed;

/// Names one request on one link; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Chance handed in as a number, 0 to 1000: the machine has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(u16);

impl Jitter {
    pub const NONE: Jitter = Jitter(1000);

    /// Any number; only its remainder counts.
    pub fn from_random(random: u64) -> Self {
        Self((random % 1001) as u16)
    }

    /// Between half of `ms` and all of it.
    pub fn spread(self, ms: u64) -> u64 {
        ms / 2 + (ms - ms / 2) * u64::from(self.0) / 1000
    }
}

/// The times and bounds of one link, all checked by whoever made them; 0 is read as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTiming {
    pub heartbeat_ms: u64,
    pub heartbeat_misses_max: u32,
    pub connect_timeout_ms: u64,
    /// The most a request may take; also the time for logging in and for draining.
    pub request_timeout_ms: u64,
    pub backoff_min_ms: u64,
    pub backoff_max_ms: u64,
    pub outstanding_max: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Hold this link: connect now, and again whenever it is lost.
    Start,
    /// Take no new service, let the open ones finish, log out, stay down until `Start`.
    Drain,
    /// The transport stands.
    Connected { generation: u64 },
    /// The transport could not be made, or is gone.
    Closed { generation: u64, trouble: Trouble },
    /// The driver understood something on the connection of this generation.
    Heard { generation: u64, heard: Heard },
    /// A service to be put to the PBX and settled within `timeout_ms`, at most the link's own `request_timeout_ms`.
    Ask { ticket: Ticket, timeout_ms: u64 },
    /// The answer to `Effect::Send`: the connection or the dialect did not take it, nothing was written.
    NotTaken { ticket: Ticket },
    /// Time has passed.
    Tick,
}

/// What a PBX said, as far as the link itself cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The application session stands. `resumed`: the PBX kept the monitors of the one before. `duration_ms` 0: it does
    /// not expire.
    Granted {
        duration_ms: u64,
        resumed: bool,
    },
    LoginRefused(LoginRefusal),
    /// The session goes on for this long from now.
    TimerReset {
        duration_ms: u64,
    },
    TimerRefused,
    /// The PBX ended the session by itself.
    Terminated,
    /// The PBX answered our goodbye.
    LoggedOut,
    /// The answer to our question.
    Status(SystemStatus),
    /// The PBX's own report, which wants an answer.
    StatusReport {
        invoke: u16,
        status: SystemStatus,
    },
    Answer {
        ticket: Ticket,
        outcome: Outcome,
    },
    /// The answer came and cannot be read: what became of the service is not known.
    Unreadable {
        ticket: Ticket,
    },
    Event(Event),
    /// A sign of life and nothing more: a late answer, an unknown document.
    Noise,
}

/// ECMA-269 systemStatus, by what it means for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemStatus {
    /// normal, enabled, and the overload levels: it serves.
    Usable,
    /// messagesLost: it serves, and events are missing.
    Lossy,
    /// disabled, initializing, and what we do not know.
    Unusable,
}

impl SystemStatus {
    /// By ECMA-323's spelling; `messageLost` occurs too.
    pub fn named(name: &str) -> Self {
        match name {
            "normal" | "enabled" | "overloadImminent" | "overloadReached" | "overloadRelieved" => Self::Usable,
            "messagesLost" | "messageLost" => Self::Lossy,
            _ => Self::Unusable,
        }
    }
}

/// errorCode of a StartApplicationSession negative response (ECMA-354 §6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    #[error("user name, password or application are not accepted")]
    InvalidApplicationInfo,
    #[error("none of the protocol versions is supported")]
    ProtocolVersionNotSupported,
    #[error("the server's resources are busy")]
    ServerResourcesBusy,
    #[error("the server has its greatest number of sessions")]
    MaxNumberSessions,
    /// The server's own words, at most 256 bytes.
    #[error("the server says: {0}")]
    Application(Box<str>),
    #[error("no reason given")]
    Unspecified,
}

/// Why a link went down; each is healed by connecting again, the login refusals usually after a person has acted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("cannot connect: {0}")]
    ConnectFailed(std::io::ErrorKind),
    #[error("no connection within the time for it")]
    ConnectTimedOut,
    #[error("login refused: {0}")]
    LoginRefused(LoginRefusal),
    #[error("no answer to the login")]
    LoginTimedOut,
    #[error("the PBX closed the connection")]
    ClosedByPbx,
    #[error("the connection broke: {0}")]
    Broken(std::io::ErrorKind),
    #[error("the PBX sent bytes that are not the link's protocol")]
    ProtocolViolated,
    #[error("the PBX does not take what is written to it")]
    PbxNotReading,
    #[error("the PBX is silent: its heartbeats are missed")]
    HeartbeatMissed,
    #[error("the PBX reports that its system is not in service")]
    SystemNotInService,
    #[error("the PBX ended the application session")]
    SessionTerminated,
    #[error("the PBX does not prolong the application session")]
    SessionNotProlonged,
    #[error("drained")]
    Drained,
}

/// Sentences of the link itself; the driver knows their spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    Login,
    ResetTimer,
    AskStatus,
    AnswerStatus { invoke: u16 },
    Logout,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Connect {
        generation: u64,
    },
    /// Let go of the connection, finished or not.
    Disconnect {
        generation: u64,
    },
    Say(Say),
    /// Put the ticket's service on the wire, or come back with `NotTaken`.
    Send {
        ticket: Ticket,
    },
    /// What became of the ticket; exactly once a ticket.
    Settle {
        ticket: Ticket,
        result: Result<Outcome, LinkFailed>,
    },
    Report(Event),
    /// Sessions may use the link. Without `resumed` every monitor of an earlier generation is gone.
    Up {
        generation: u64,
        resumed: bool,
    },
    /// The PBX says that it lost events: every session's view may be wrong.
    EventsLost,
    /// Sessions must not use the link; everything open has been settled before this.
    Down {
        trouble: Trouble,
    },
}

/// A link's state as others may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Down,
    Connecting,
    Authenticating,
    Syncing,
    Up,
    Draining,
}

impl LinkState {
    /// The word used in logs, in the operator's output and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Syncing => "syncing",
            Self::Up => "up",
            Self::Draining => "draining",
        }
    }
}
