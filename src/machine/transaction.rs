//! Requests that are open, and answers that are remembered (RFC 3261 §17.2, over reliable transports).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::input::FlowId;
use crate::sip::{Malformed, Message, Via};

/// Answers remembered for repeated requests.
pub const ANSWERED_MAX: usize = 8;

/// What must be known of a request to answer it later, here or on the node that takes the session over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Where the answer goes; means nothing on another node, which answers on the flow a repetition comes on.
    #[serde(skip)]
    pub flow: FlowId,
    pub vias: Vec<String>,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    pub method: String,
    /// Tells a repetition from another request with the same number.
    pub fingerprint: u64,
    /// The branch nearest to the client, as a fingerprint; 0 where no Via has one.
    #[serde(default)]
    pub branch: u64,
    /// The far side has begun to count anew since: its numbers say nothing about this request any more.
    #[serde(default)]
    pub is_past: bool,
}

impl Open {
    pub fn of(flow: FlowId, request: &Message) -> Result<Self, Malformed> {
        let cseq = request.headers.cseq()?;
        Ok(Self {
            flow,
            vias: request.headers.fields("Via").map(str::to_owned).collect(),
            from: request.headers.get("From").unwrap_or_default().to_owned(),
            to: request.headers.get("To").unwrap_or_default().to_owned(),
            call_id: request.headers.call_id()?.to_owned(),
            cseq: cseq.number,
            method: cseq.method,
            fingerprint: fingerprint(&request.body),
            branch: client_branch(request),
            is_past: false,
        })
    }

    /// Whether `later` is this request once more.
    pub fn is_repeated_by(&self, later: &Open) -> bool {
        self.print().is_repeated_by(later)
    }

    fn print(&self) -> Print<'_> {
        let Self { cseq, method, fingerprint, branch, is_past, .. } = self;
        Print { cseq: *cseq, method, fingerprint: *fingerprint, branch: *branch, is_past: *is_past }
    }

    /// A response to this request without a body (RFC 3261 §8.2.6.2); `tag` is added to a To that has none.
    pub fn response(&self, status: u16, reason: &str, tag: Option<&str>) -> Message {
        let mut message = Message::response(status, reason);
        for via in &self.vias {
            message.headers.push("Via", via);
        }
        message.headers.push("From", &self.from);
        match tag {
            Some(tag) if !has_tag(&self.to) => message.headers.push("To", format!("{};tag={tag}", self.to)),
            _ => message.headers.push("To", &self.to),
        }
        message.headers.push("Call-ID", &self.call_id);
        message.headers.push("CSeq", format!("{} {}", self.cseq, self.method));
        message
    }
}

/// What a repetition is known by: number, method and body; Vias change on the way over another connection. After the far
/// side has begun to count anew the same number and body are another request, unless the client's branch is the same too.
struct Print<'a> {
    cseq: u32,
    method: &'a str,
    fingerprint: u64,
    branch: u64,
    is_past: bool,
}

impl Print<'_> {
    fn is_repeated_by(&self, later: &Open) -> bool {
        let is_same = self.cseq == later.cseq && self.method == later.method && self.fingerprint == later.fingerprint;
        is_same && (!self.is_past || (self.branch != 0 && self.branch == later.branch))
    }
}

/// Proxies put their own Via on top; some clients leave the branch out.
fn client_branch(request: &Message) -> u64 {
    let vias: Vec<&str> = request.headers.values("Via").collect();
    let branch = vias.iter().rev().find_map(|via| Some(Via::parse(via).ok()?.transaction_branch()?.to_owned()));
    branch.map_or(0, |branch| fingerprint(branch.as_bytes()))
}

fn has_tag(value: &str) -> bool {
    crate::sip::NameAddr::parse(value).is_ok_and(|address| address.tag().is_some())
}

/// FNV-1a: stable over versions and nodes, as records need; no adversary gains by a collision, which only costs him the
/// recorded answer to his own request.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A final answer, remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub cseq: u32,
    pub method: String,
    pub fingerprint: u64,
    pub status: u16,
    pub body: AnswerBody,
    /// As in [`Open`].
    #[serde(default)]
    pub branch: u64,
    #[serde(default)]
    pub is_past: bool,
}

impl Answered {
    fn is_repeated_by(&self, later: &Open) -> bool {
        let Self { cseq, method, fingerprint, branch, is_past, .. } = self;
        let print = Print { cseq: *cseq, method, fingerprint: *fingerprint, branch: *branch, is_past: *is_past };
        print.is_repeated_by(later)
    }
}

/// A body that can be made again is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerBody {
    None,
    Features { namespace: String },
    Xml(String),
}

/// What a CSeq number means against the ones seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Higher than all before.
    Next,
    /// Lower than the highest, not seen yet: several connections reorder.
    Late,
    /// Seen before, or too far below to know.
    Seen,
}

/// The far side's CSeq numbers: the highest, and which of the 64 below it have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RemoteCSeq {
    pub highest: u32,
    /// Bit n: `highest - 1 - n` has been seen.
    below: u64,
}

impl RemoteCSeq {
    pub fn starting_at(number: u32) -> Self {
        Self { highest: number, below: u64::MAX }
    }

    pub fn order(&self, number: u32) -> Order {
        if number > self.highest {
            return Order::Next;
        }
        match self.highest - number {
            0 => Order::Seen,
            gap @ 1..=64 if self.below & (1 << (gap - 1)) == 0 => Order::Late,
            _ => Order::Seen,
        }
    }

    pub fn see(&mut self, number: u32) {
        if number > self.highest {
            let gap = number - self.highest;
            self.below = if gap >= 64 { 0 } else { (self.below << gap) | (1 << (gap - 1)) };
            if gap == 64 {
                self.below = 1 << 63;
            }
            self.highest = number;
        } else if let gap @ 1..=64 = self.highest - number {
            self.below |= 1 << (gap - 1);
        }
    }
}

/// The last answers, newest last.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnsweredRing(VecDeque<Answered>);

impl AnsweredRing {
    /// The answer that `later` has been given before.
    pub fn find(&self, later: &Open) -> Option<&Answered> {
        self.0.iter().rev().find(|answered| answered.is_repeated_by(later))
    }

    /// The far side begins to count anew.
    pub fn become_past(&mut self) {
        self.0.iter_mut().for_each(|answered| answered.is_past = true);
    }

    pub fn give_back(&mut self) {
        self.0.shrink_to_fit();
    }

    pub fn remember(&mut self, answer: Answered) {
        if self.0.len() == ANSWERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cseq_numbers_may_come_in_any_near_order_but_never_twice() {
        // RFC 3261 §12.2.2, widened for dialogs spread over several connections.
        let mut seen = RemoteCSeq::starting_at(1);
        assert_eq!(seen.order(1), Order::Seen);
        assert_eq!(seen.order(3), Order::Next);
        seen.see(3);
        assert_eq!(seen.order(2), Order::Late);
        seen.see(2);
        assert_eq!(seen.order(2), Order::Seen);
        assert_eq!(seen.order(3), Order::Seen);
        assert_eq!(seen.order(0), Order::Seen);
        seen.see(67);
        assert_eq!(seen.order(3), Order::Seen, "64 below the highest is the last one remembered");
        assert_eq!(seen.order(4), Order::Late);
        assert_eq!(seen.order(66), Order::Late);
        seen.see(500);
        assert_eq!(seen.order(67), Order::Seen, "too far below to know");
        assert_eq!(seen.order(499), Order::Late);
    }
}
