//! A client's end of its INVITE dialog, as data: what its requests look like, and whether the far side keeps the rules.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{UserOptions, Violation};
use crate::sip::{Headers, Message};

/// RFC 3261 §12.2.1.1: at most 2^31 - 1; a dialog of ours stays far below.
pub(super) const CONTENT_TYPE: &str = "application/csta+xml";
const ALLOW: &str = "INVITE, BYE, ACK, CANCEL, INFO, UPDATE, OPTIONS";

#[derive(Debug)]
pub(super) struct Dialog {
    pub call_id: Arc<str>,
    pub local_tag: String,
    pub remote_tag: Option<String>,
    pub remote_target: Option<String>,
    pub contact: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    remote_digest: u64,
    pub record_route: Arc<[String]>,
    /// Sent in an UPDATE that has no final answer yet.
    pub next_record_route: Option<Arc<[String]>>,
    pub session_expires_s: Option<u32>,
}

/// How messages get their Via lines.
pub(super) struct Path<'a> {
    pub transport: &'a str,
    pub front_end: Option<&'a str>,
    /// New for every transaction; the ACK of a refusal repeats its INVITE's.
    pub branch: &'a str,
}

/// Where an incoming request stands in the gateway's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Next,
    /// The same again: answer, do not apply.
    Again,
    /// Too old, or an old number with new content: 500.
    Refused,
}

impl Dialog {
    pub fn new(options: &UserOptions, record_route: Arc<[String]>) -> Self {
        Self {
            call_id: random_hex(16).into(),
            local_tag: random_hex(5),
            remote_tag: None,
            remote_target: None,
            contact: options.product.contact(&options.user, &options.epid, &options.client_host),
            local_cseq: 0,
            remote_cseq: None,
            remote_digest: 0,
            record_route,
            next_record_route: None,
            session_expires_s: options.session_expires_s,
        }
    }

    pub fn has_sent(&self) -> bool {
        self.local_cseq > 0
    }

    /// A request with the next CSeq.
    pub fn request(&mut self, options: &UserOptions, path: &Path<'_>, method: &str, body: Vec<u8>) -> (u32, Message) {
        self.local_cseq += 1;
        let mut message = self.start(options, path, method, self.local_cseq);
        if matches!(method, "INVITE" | "UPDATE") {
            message.headers.push("Contact", self.contact.clone());
            let is_route_update = method == "UPDATE" && self.next_record_route.is_some();
            message
                .headers
                .push("Supported", if is_route_update { "timer, ms-dialog-route-set-update" } else { "timer" });
            if let Some(seconds) = self.session_expires_s {
                let refresher = if self.remote_tag.is_some() { ";refresher=uac" } else { "" };
                message.headers.push("Session-Expires", format!("{seconds}{refresher}"));
                message.headers.push("Min-SE", "90");
            }
            if self.remote_tag.is_none() {
                message.headers.push("Allow", ALLOW);
            }
        }
        if !body.is_empty() {
            message.headers.push("Content-Type", CONTENT_TYPE);
            message.headers.push("Content-Disposition", "signal;handling=required");
            message.body = body.into();
        }
        (self.local_cseq, message)
    }

    /// The ACK of a final answer to an INVITE: a transaction of its own for 2xx, the INVITE's hop for the rest.
    pub fn ack(&self, options: &UserOptions, path: &Path<'_>, cseq: u32) -> Message {
        self.start(options, path, "ACK", cseq)
    }

    fn start(&self, options: &UserOptions, path: &Path<'_>, method: &str, cseq: u32) -> Message {
        let target = self.remote_target.as_deref().unwrap_or(&options.server);
        let mut message = Message::request(method, target);
        let headers = &mut message.headers;
        let adds_route = self.next_record_route.is_some() && method == "UPDATE";
        if self.remote_tag.is_none() && method == "INVITE" || adds_route {
            let values = self.next_record_route.as_ref().unwrap_or(&self.record_route);
            values.iter().for_each(|route| headers.push("Record-Route", route.clone()));
        }
        if let Some(front_end) = path.front_end {
            let Path { transport, branch, .. } = path;
            headers.push("Via", format!("SIP/2.0/{transport} {front_end};branch={branch};branched=FALSE"));
        }
        let client = &options.client_host;
        let port = client.rsplit(':').next().unwrap_or_default();
        let branch = if options.has_via_branch { format!(";branch={}c", path.branch) } else { String::new() };
        headers.push(
            "Via",
            format!("SIP/2.0/{} {client}{branch};ms-received-port={port};ms-received-cid=2A1F00", path.transport),
        );
        headers.push("Max-Forwards", if path.front_end.is_some() { "69" } else { "70" });
        headers.push("From", format!("<{}>;tag={};epid={}", options.user, self.local_tag, options.epid));
        headers.push(
            "To",
            match &self.remote_tag {
                Some(tag) => format!("<{}>;tag={tag}", options.server),
                None => format!("<{}>", options.server),
            },
        );
        headers.push("Call-ID", &*self.call_id);
        headers.push("CSeq", format!("{cseq} {method}"));
        headers.push("User-Agent", options.product.user_agent());
        message
    }

    /// Tags of a response to one of ours, learning the far tag from the first 2xx.
    pub fn check_response(&mut self, message: &Message, violations: &mut Vec<Violation>) {
        let is_success = message.status().is_some_and(|s| (200..300).contains(&s));
        if let Some(tag) = message.headers.from().ok().as_ref().and_then(|f| f.tag())
            && tag != self.local_tag
        {
            violations.push(Violation::LocalTagChanged { expected: self.local_tag.clone(), got: tag.to_owned() });
        }
        let to = message.headers.to().ok();
        let tag = to.as_ref().and_then(|t| t.tag()).unwrap_or_default();
        match &self.remote_tag {
            Some(known) if known != tag && (is_success || !tag.is_empty()) => {
                violations.push(Violation::RemoteTagChanged { expected: known.clone(), got: tag.to_owned() });
            }
            None if is_success => self.remote_tag = Some(tag.to_owned()),
            _ => {}
        }
    }

    /// Tags of an incoming request: false when it is not of this dialog (481).
    pub fn owns(&self, headers: &Headers, violations: &mut Vec<Violation>) -> bool {
        let (Ok(from), Ok(to)) = (headers.from(), headers.to()) else { return false };
        let (remote, local) = (from.tag().unwrap_or_default(), to.tag().unwrap_or_default());
        if local != self.local_tag {
            violations.push(Violation::LocalTagChanged { expected: self.local_tag.clone(), got: local.to_owned() });
            return false;
        }
        // Before our INVITE's answer is in, its tag is unknown: with several flows an event can overtake it.
        match &self.remote_tag {
            Some(known) if known != remote => {
                violations.push(Violation::RemoteTagChanged { expected: known.clone(), got: remote.to_owned() });
                false
            }
            _ => true,
        }
    }

    /// CSeq of an incoming request against those before it (RFC 3261 §12.2.2).
    pub fn order(&mut self, cseq: u32, message: &Message, violations: &mut Vec<Violation>) -> Order {
        let digest = digest(message);
        match self.remote_cseq {
            Some(last) if cseq < last => {
                violations.push(Violation::CSeqBackwards { last, got: cseq });
                return Order::Refused;
            }
            Some(last) if cseq == last && digest == self.remote_digest => {
                violations.push(Violation::CSeqRepeated { cseq });
                return Order::Again;
            }
            Some(last) if cseq == last => {
                violations.push(Violation::CSeqReused { cseq });
                return Order::Refused;
            }
            Some(last) if cseq > last + 1 => {
                violations.push(Violation::CSeqGap { expected: last + 1, got: cseq });
            }
            _ => {}
        }
        self.remote_cseq = Some(cseq);
        self.remote_digest = digest;
        Order::Next
    }

    /// Request-URI and Route of a request from the gateway: our Contact, by way of the front end.
    pub fn check_way(&self, uri: &str, cseq: u32, headers: &Headers, violations: &mut Vec<Violation>) {
        let contact =
            self.contact.split_once('>').map_or(self.contact.as_str(), |(uri, _)| uri).trim_start_matches('<');
        if uri != contact {
            violations.push(Violation::WrongRequestUri { got: uri.to_owned() });
        }
        let routes: Vec<&str> = headers.values("Route").collect();
        let is = |wanted: &Arc<[String]>| routes.iter().copied().eq(wanted.iter().map(String::as_str));
        if !is(&self.record_route) && !self.next_record_route.as_ref().is_some_and(is) {
            violations.push(Violation::WrongRoute { cseq, got: routes.iter().map(|r| (*r).to_owned()).collect() });
        }
    }
}

/// An answer to a request from the gateway (RFC 3261 §8.2.6).
pub(super) fn answer(request: &Message, status: u16, reason: &str, user_agent: &str) -> Message {
    let mut message = Message::reply_to(request, status, reason);
    request.headers.fields("Record-Route").for_each(|value| message.headers.push("Record-Route", value));
    message.headers.push("User-Agent", user_agent);
    message
}

/// Tells two messages of one CSeq apart.
pub(super) fn digest(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.method().hash(&mut hasher);
    message.body.hash(&mut hasher);
    hasher.finish()
}

/// `bytes` random bytes in lower-case hex.
pub(super) fn random_hex(bytes: usize) -> String {
    let mut noise = [0_u8; 16];
    getrandom::fill(&mut noise).expect("the operating system gives random bytes");
    noise.iter().take(bytes).map(|b| format!("{b:02x}")).collect()
}
