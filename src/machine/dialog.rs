//! A dialog as the callee keeps it (RFC 3261 §12), with Microsoft's departures: the route set may change inside it
//! (MS-SIPRE 3.7.5), and its requests are matched by Call-ID and tags alone.

use serde::{Deserialize, Serialize};

use super::effect::NextHop;
use super::rules::Rules;
use super::transaction::{Open, RemoteCSeq};
use crate::id::Moment;
use crate::sip::{Malformed, Message, NameAddr, Uri};

pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, INFO, UPDATE, OPTIONS";
pub const CSTA_TYPE: &str = "application/csta+xml";
pub const DISPOSITION: &str = "signal;handling=required";
/// Option tags we understand in Require.
pub const UNDERSTOOD: [&str; 1] = ["timer"];
/// A dialog refuses a route set longer than this.
pub const ROUTES_MAX: usize = 16;

/// What survives of a dialog; everything in it is replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// Our address as the INVITE's To wrote it, without tag.
    pub local: String,
    /// The far side's From, verbatim with tag and epid.
    pub remote: String,
    pub epid: Option<String>,
    /// The far side's Contact URI, verbatim: the Request-URI of ours.
    pub target: String,
    /// Record-Route values in the order received; ours is the callee's side.
    pub routes: Vec<String>,
    pub local_cseq: u32,
    pub remote_cseq: RemoteCSeq,
    /// Agreed session interval; `None` when the far side does not do session timers.
    pub session_expires_s: Option<u32>,
    /// Whether the far side said `Supported: timer`.
    pub timer_supported: bool,
    /// The session ends here unless refreshed; grace included.
    pub expires_at: Moment,
    pub user_agent: String,
    /// The branch of the last INVITE: tells a repetition from a new one with the same number, and a fork from both.
    pub invite_branch: Option<String>,
}

/// Why a dialog cannot begin from this INVITE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADialog {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the INVITE has no Contact; one is needed to send events to")]
    NoContact,
    #[error("the INVITE's From has no tag")]
    NoFromTag,
    #[error("more than {ROUTES_MAX} Record-Route values")]
    TooManyRoutes,
}

impl Dialog {
    /// Begins the dialog an INVITE asks for (RFC 3261 §12.1.1).
    pub fn begin(invite: &Message, local_tag: &str, rules: &Rules, now: Moment) -> Result<Self, NotADialog> {
        let from = invite.headers.from()?;
        let contact = invite.headers.contact()?.ok_or(NotADialog::NoContact)?;
        let remote_tag = from.tag().ok_or(NotADialog::NoFromTag)?.to_owned();
        let routes = routes_of(invite)?;
        let cseq = invite.headers.cseq()?;
        let mut dialog = Self {
            call_id: invite.headers.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag,
            local: invite.headers.get("To").unwrap_or_default().to_owned(),
            epid: from.param("epid").map(str::to_owned),
            remote: from.text,
            target: contact.uri.text,
            routes,
            local_cseq: 0,
            remote_cseq: RemoteCSeq::starting_at(cseq.number),
            session_expires_s: None,
            timer_supported: false,
            expires_at: now,
            user_agent: invite.headers.get("User-Agent").unwrap_or_default().to_owned(),
            invite_branch: invite.headers.top_via().ok().and_then(|via| via.branch),
        };
        dialog.agree_expiry(invite, rules, now);
        Ok(dialog)
    }

    /// Takes route set, target and expiry from a target refresh (UPDATE, re-INVITE). The route set is replaced when the
    /// request carries Record-Route: that is how Lync repairs it.
    pub fn refresh(&mut self, request: &Message, rules: &Rules, now: Moment) -> Result<(), NotADialog> {
        if let Some(contact) = request.headers.contact()? {
            self.target = contact.uri.text;
        }
        let routes = routes_of(request)?;
        if !routes.is_empty() {
            self.routes = routes;
        }
        self.agree_expiry(request, rules, now);
        Ok(())
    }

    /// Takes route set and target from the 2xx to an UPDATE of ours. We were the caller there, so the order is reversed
    /// (RFC 3261 §12.1.2).
    pub fn refreshed_by(&mut self, response: &Message) -> Result<(), NotADialog> {
        if let Some(contact) = response.headers.contact()? {
            self.target = contact.uri.text;
        }
        let mut routes = routes_of(response)?;
        if !routes.is_empty() {
            routes.reverse();
            self.routes = routes;
        }
        Ok(())
    }

    fn agree_expiry(&mut self, request: &Message, rules: &Rules, now: Moment) {
        let asked = request.headers.session_expires().ok().flatten().map(|(seconds, _)| seconds);
        self.timer_supported = asked.is_some() || request.headers.has_token("Supported", "timer");
        // A refresh that names no interval keeps the agreed one; RFC 4028 §9 lets the callee lower an endless one.
        let agreed = asked.or(self.session_expires_s).unwrap_or(rules.session_expires_s).min(rules.idle_expires_s);
        self.session_expires_s = self.timer_supported.then_some(agreed);
        let grace_s = rules.switches(&self.user_agent).grace_s.unwrap_or(rules.session_grace_s);
        let lives_s = match self.session_expires_s {
            Some(seconds) => u64::from(seconds) + u64::from(grace_s),
            None => u64::from(rules.idle_expires_s),
        };
        self.expires_at = now.after_ms(lives_s * 1000);
    }

    /// The 200 to INVITE or UPDATE (RFC 4028 §9): Record-Route of the request, Contact, Allow and the session timer.
    pub fn accept(&self, open: &Open, record_routes: &[String], rules: &Rules, body: Option<&str>) -> Message {
        let mut message = Message::response(200, "OK");
        for route in record_routes {
            message.headers.push("Record-Route", route);
        }
        let plain = open.response(200, "OK", Some(&self.local_tag));
        for (name, value) in plain.headers.iter() {
            message.headers.push(name, value);
        }
        message.headers.push("Server", &rules.product);
        message.headers.push("Contact", &rules.contact);
        message.headers.push("Allow", ALLOW);
        message.headers.push("Supported", "timer");
        if let Some(seconds) = self.session_expires_s {
            message.headers.push("Require", "timer");
            message.headers.push("Session-Expires", format!("{seconds};refresher=uac"));
        }
        with_csta(&mut message, body);
        message
    }

    /// The final answer to an INFO, BYE or OPTIONS.
    pub fn answer(&self, open: &Open, status: u16, reason: &str, rules: &Rules, body: Option<&str>) -> Message {
        let mut message = open.response(status, reason, Some(&self.local_tag));
        message.headers.push("Server", &rules.product);
        with_csta(&mut message, body);
        message
    }

    /// A request of ours with the next local CSeq (RFC 3261 §12.2.1.1). `routed` is off for the repair UPDATE, which goes
    /// out without Route so that the proxies record a fresh one.
    pub fn request(&mut self, method: &str, rules: &Rules, body: Option<&str>, routed: bool) -> (Message, NextHop) {
        self.local_cseq += 1;
        let mut message = Message::request(method, self.target.as_str());
        message.headers.push(
            "Via",
            format!(
                "SIP/2.0/{} {};branch=z9hG4bK{}-{}",
                rules.via_transport, rules.sent_by, self.local_tag, self.local_cseq
            ),
        );
        if routed {
            for route in &self.routes {
                message.headers.push("Route", route);
            }
        }
        message.headers.push("Max-Forwards", "70");
        message.headers.push("From", format!("{};tag={}", self.local, self.local_tag));
        message.headers.push("To", &self.remote);
        message.headers.push("Call-ID", &self.call_id);
        message.headers.push("CSeq", format!("{} {method}", self.local_cseq));
        message.headers.push("User-Agent", &rules.product);
        if method == "UPDATE" {
            message.headers.push("Contact", &rules.contact);
            message.headers.push("Allow", ALLOW);
            message.headers.push("Supported", "timer");
        }
        with_csta(&mut message, body);
        let hop = self.next_hop(routed, rules.via_transport == "TLS");
        (message, hop)
    }

    /// First Route, else the target (RFC 3261 §8.1.2).
    fn next_hop(&self, routed: bool, secure_by_default: bool) -> NextHop {
        let route = if routed { self.routes.first() } else { None };
        let uri = match route {
            Some(value) => NameAddr::parse(value).map(|address| address.uri),
            None => Uri::parse(&self.target),
        };
        let Ok(uri) = uri else {
            return NextHop { host: String::new(), port: 0, secure: secure_by_default };
        };
        let secure = match uri.param("transport") {
            Some(transport) => transport.eq_ignore_ascii_case("tls"),
            None => uri.scheme == "sips" || secure_by_default,
        };
        let host = uri.param("maddr").map_or_else(|| uri.host.clone(), str::to_owned);
        NextHop { host, port: uri.port.unwrap_or(if secure { 5061 } else { 5060 }), secure }
    }
}

fn routes_of(message: &Message) -> Result<Vec<String>, NotADialog> {
    let routes: Vec<String> = message.headers.values("Record-Route").map(str::to_owned).collect();
    if routes.len() > ROUTES_MAX { Err(NotADialog::TooManyRoutes) } else { Ok(routes) }
}

fn with_csta(message: &mut Message, body: Option<&str>) {
    if let Some(body) = body {
        message.headers.push("Content-Type", CSTA_TYPE);
        message.headers.push("Content-Disposition", DISPOSITION);
        message.body = bytes::Bytes::copy_from_slice(body.as_bytes());
    }
}
