//! Small histories for the tests of the checks, one clause at a time; each takes 2 ms.

use super::Checked;
use crate::fault::Kind;
use crate::history::{
    Asked, By, Difference, Done, Entry, FaultTurn, History, Message, OPERATOR, Operation, Phase, Run, StoreOp,
    StoreResult, What,
};

#[derive(Clone, Default)]
pub struct Golden {
    now_us: u64,
    faults: u32,
    run: Run,
    entries: Vec<Entry>,
}

/// A check must find nothing, and must have looked at something.
pub fn holds(check: fn(&History) -> Checked, golden: &Golden) {
    let (observed, breaches) = check(&golden.history());
    assert!(observed > 0, "nothing was looked at");
    assert_eq!(breaches, []);
}

/// A check must find a breach that says so.
pub fn broken(check: fn(&History) -> Checked, golden: &Golden, says: &str) {
    let (_, breaches) = check(&golden.history());
    assert!(breaches.iter().any(|breach| breach.what.contains(says)), "{says:?} is not among {breaches:?}");
}

impl Golden {
    pub fn history(&self) -> History {
        History::new(self.run.clone(), self.entries.clone())
    }

    pub fn add(mut self, what: What) -> Self {
        self.now_us += 2_000;
        self.entries.push(Entry { at_us: self.now_us, what });
        self
    }

    pub fn wait_ms(mut self, ms: u64) -> Self {
        self.now_us += ms * 1000;
        self
    }

    pub fn with_operator(mut self) -> Self {
        self.run.options.insert(OPERATOR.to_owned(), "metrics and API".to_owned());
        self
    }

    pub fn prober(mut self, user: &str) -> Self {
        self.run.probers.push(user.to_owned());
        self
    }

    pub fn phase(self, phase: Phase) -> Self {
        self.add(What::Phase { phase })
    }

    pub fn health(self, node: u32, serves: bool) -> Self {
        self.add(What::Health { node, serves })
    }

    pub fn fault(mut self, name: Kind, nodes: &[u32]) -> Self {
        self.faults += 1;
        let (fault, nodes) = (self.faults, nodes.to_vec());
        self.add(What::Fault { fault, name, nodes: nodes.clone(), turn: FaultTurn::Began }).add(What::Fault {
            fault,
            name,
            nodes,
            turn: FaultTurn::Bit("seen".to_owned()),
        })
    }

    pub fn kill(self, node: u32) -> Self {
        self.fault(Kind::Kill, &[node])
    }

    pub fn healed(self, fault: u32) -> Self {
        self.add(What::Fault { fault, name: Kind::Kill, nodes: Vec::new(), turn: FaultTurn::Healed })
    }

    pub fn notice(self, fault: u32, node: u32, shown: bool) -> Self {
        self.notice_by(By::Service, fault, node, shown)
    }

    pub fn notice_by(self, by: By, fault: u32, node: u32, shown: bool) -> Self {
        self.add(What::Notice { fault, node, shown, how: "seen".to_owned(), by })
    }

    pub fn signed_in(self, user: &str, call_id: &str, tag: &str) -> Self {
        self.add(What::SignedIn { user: user.to_owned(), call_id: call_id.to_owned(), tag: tag.to_owned() })
    }

    pub fn signed_out(self, user: &str) -> Self {
        self.add(What::SignedOut { user: user.to_owned() })
    }

    fn operation(self, user: &str, number: Option<&str>, took_ms: u64, result: Done) -> Self {
        let op = if number.is_some() { "MakeCall" } else { "GetDoNotDisturb" };
        let start_us = self.now_us + 1;
        self.wait_ms(took_ms).add(What::Operation(Operation {
            user: user.to_owned(),
            op: op.to_owned(),
            number: number.map(str::to_owned),
            call: None,
            cseq: 1,
            start_us,
            result,
        }))
    }

    pub fn asked_ok(self, user: &str) -> Self {
        self.operation(user, None, 0, Done::Ok)
    }

    pub fn asked_slowly(self, user: &str, ms: u64) -> Self {
        self.operation(user, None, ms, Done::Ok)
    }

    pub fn refused(self, user: &str, status: u16) -> Self {
        self.operation(user, None, 0, Done::Failed(status, format!("SIP {status}")))
    }

    pub fn dialled(self, user: &str, number: &str, result: Done) -> Self {
        self.operation(user, Some(number), 0, result)
    }

    pub fn broke(self, user: &str, rule: &str) -> Self {
        self.add(What::Broke { user: user.to_owned(), rule: rule.to_owned(), detail: rule.to_owned() })
    }

    pub fn pbx_dials(self, node: u32, user: &str, number: &str) -> Self {
        self.add(What::Asked(Asked {
            node,
            life: 1,
            user: Some(user.to_owned()),
            service: "MakeCall".to_owned(),
            number: Some(number.to_owned()),
            was_done: true,
        }))
    }

    pub fn pbx_asked(self, (node, life): (u32, u32), user: &str) -> Self {
        let (user, service) = (Some(user.to_owned()), "SnapshotDevice".to_owned());
        self.add(What::Asked(Asked { node, life, user, service, number: None, was_done: true }))
    }

    pub fn told(self, user: &str, event: &str, call: &str) -> Self {
        self.add(What::Told { user: user.to_owned(), event: event.to_owned(), call: call.to_owned() })
    }

    pub fn heard(self, user: &str, event: &str, call: &str) -> Self {
        self.add(What::Event { user: user.to_owned(), cseq: 1, event: event.to_owned(), call: call.to_owned() })
    }

    pub fn compared(self, differ: &[&str]) -> Self {
        let one = |user: &&str| Difference { user: (*user).to_owned(), client: vec!["c1".to_owned()], pbx: Vec::new() };
        self.add(What::Compared { users: 10, differ: differ.iter().map(one).collect() })
    }

    pub fn intruder(self, bytes_back: u64, got_in: bool) -> Self {
        self.add(What::Intruder { manner: "no certificate".to_owned(), bytes_back, got_in })
    }

    pub fn sample(self, node: u32, rss_bytes: u64, files: u64) -> Self {
        self.add(What::Sample { node, rss_bytes, files, threads: 10, log_bytes: 1_000 })
    }

    pub fn stalled_ms(self, ms: u64) -> Self {
        self.add(What::Stall { us: ms * 1000 })
    }

    pub fn store(mut self, (start_us, end_us): (u64, u64), op: StoreOp, result: StoreResult) -> Self {
        let what = What::Store { client: 1, key: "k".to_owned(), start_us, op, result };
        self.entries.push(Entry { at_us: end_us, what });
        self
    }

    fn message(
        self,
        call_id: &str,
        is_from_client: bool,
        cseq: u32,
        status: Option<u16>,
        rest: (u64, &str, &str, u64),
    ) -> Self {
        let (flow, from_tag, to_tag, digest) = rest;
        self.add(What::Message(Message {
            call_id: call_id.to_owned(),
            is_from_client,
            flow,
            method: "INFO".to_owned(),
            cseq,
            status,
            from_tag: from_tag.to_owned(),
            to_tag: to_tag.to_owned(),
            digest,
        }))
    }

    /// The client's request and the gateway's 200, which carries its tag.
    pub fn invite(self, call_id: &str, client: &str, gateway: &str) -> Self {
        self.message(call_id, true, 1, None, (1, client, "", 0)).message(
            call_id,
            false,
            1,
            Some(200),
            (1, client, gateway, 0),
        )
    }

    /// A request of the gateway.
    pub fn info_in(self, call_id: &str, cseq: u32, (from, to): (&str, &str), digest: u64) -> Self {
        self.message(call_id, false, cseq, None, (1, from, to, digest))
    }

    pub fn info_out(self, call_id: &str, cseq: u32, flow: u64) -> Self {
        self.message(call_id, true, cseq, None, (flow, "c", "g", 1))
    }

    pub fn answer(self, call_id: &str, cseq: u32, (status, digest): (u16, u64)) -> Self {
        self.message(call_id, false, cseq, Some(status), (1, "c", "g", digest))
    }
}
