//! What a listener is told: one line a message.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Ends;
use crate::csta;
use crate::sip::Message;

/// One thing that happened, as `lyncpin ctl trace --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since 1970.
    pub at_us: u64,
    #[serde(flatten)]
    pub what: What,
}

/// As this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    In,
    Out,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// First: who is followed, and where.
    Begun {
        node: String,
        users: Vec<String>,
        devices: Vec<String>,
        /// Nodes that serve sessions of theirs now: a message is shown by the node that has its connection and by this one.
        served_by: Vec<String>,
        shows_numbers: bool,
        ends_in_s: u64,
    },
    /// A SIP message.
    Sip {
        way: Way,
        flow: u64,
        local: Option<SocketAddr>,
        peer: SocketAddr,
        is_secure: bool,
        /// `INFO MakeCall`, `200 OK to INFO`.
        summary: String,
        text: String,
    },
    /// What was said to the PBX, or what it said.
    Cti {
        way: Way,
        link: String,
        /// `MakeCall`, `DeliveredEvent`.
        summary: String,
        text: String,
    },
    /// So many lines came faster than they were read.
    Lost { count: u64 },
    /// Last.
    Ended { why: String },
}

impl What {
    pub(super) fn of_sip(way: Way, ends: &Ends, message: &Message, text: String) -> Self {
        let Ends { flow, local, peer, is_secure } = *ends;
        Self::Sip { way, flow, local, peer, is_secure, summary: summary(message), text }
    }
}

fn summary(message: &Message) -> String {
    let method = message.headers.cseq().map(|cseq| cseq.method).unwrap_or_default();
    let mut text = match (message.method(), message.status()) {
        (Some(method), _) => method.to_owned(),
        (None, status) => {
            let status = status.unwrap_or_default();
            format!("{status} {} to {method}", crate::sip::reason_of(status))
        }
    };
    if !message.body.is_empty()
        && let Ok(document) = csta::decode(&message.body)
    {
        text = format!("{text} {}", document.payload.name());
    }
    text
}
