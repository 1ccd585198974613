//! What a user and a front end are made with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::history::History;
use super::{FlowId, Product};
use crate::sip::Message;
use crate::sip::stream::Limits;

/// One RCC user's account and habits.
#[derive(Clone, Debug)]
pub struct UserOptions {
    /// `sip:alice@contoso.com`.
    pub user: String,
    /// The line URI, byte for byte as in the account, e.g. `tel:+14255550101;ext=5101`.
    pub line: String,
    /// The Line Server URI: Request-URI and To of the INVITE.
    pub server: String,
    /// Endpoint id, up to 16 hex digits: tells a user's computers apart.
    pub epid: String,
    pub product: Product,
    /// Record-Route values as a front end adds them; `None` takes the front end's own.
    pub record_route: Option<Arc<[String]>>,
    /// Host and port of the client's own Via.
    pub client_host: String,
    /// Microsoft clients leave the branch out of their Via.
    pub has_via_branch: bool,
    /// `None`: no Session-Expires header, only `Supported: timer`.
    pub session_expires_s: Option<u32>,
    pub answers_events: EventAnswer,
    /// Timer F (RFC 3261 §17.1.2.2): then the result is unknown.
    pub answer_timeout: Duration,
}

impl UserOptions {
    pub fn new(user: impl Into<String>, line: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            line: line.into(),
            server: server.into(),
            epid: "bd23d94254".to_owned(),
            product: Product::default(),
            record_route: None,
            client_host: "10.0.0.50:51063".to_owned(),
            has_via_branch: false,
            session_expires_s: Some(1800),
            answers_events: EventAnswer::Ok,
            answer_timeout: Duration::from_secs(32),
        }
    }
}

/// What a user does with an event INFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventAnswer {
    /// 200 without a body, as Microsoft clients do.
    #[default]
    Ok,
    /// No SIP answer at all, as pidgin-sipe does; the event is applied.
    Silent,
    /// Refused on the client's behalf, as a front end does whose route is gone; the event is not applied.
    Refused { status: u16, recovery_action: Option<String> },
}

/// One front end (or one computer connected directly).
#[derive(Clone)]
pub struct FrontEndOptions {
    /// `TLS` or `TCP`, for Via.
    pub transport: &'static str,
    /// Host and port of the front end's Via, put on top of the client's; `None`: users are connected directly.
    pub via: Option<String>,
    /// Record-Route values for users who bring none.
    pub record_route: Arc<[String]>,
    /// NEGOTIATE comes first on every flow; nothing else is sent until it is answered.
    pub negotiates: bool,
    pub spread: Spread,
    /// A request whose flow is lost is sent again, unchanged, on another one; otherwise its result is unknown at once.
    pub repeats_on_flow_loss: bool,
    /// Messages waiting for a flow; a full queue makes the requester wait.
    pub queue_max: usize,
    pub limits: Limits,
    pub history: Option<Arc<dyn History>>,
    pub tap: Option<Arc<dyn Tap>>,
}

impl FrontEndOptions {
    /// Users connected directly over TCP.
    pub fn direct() -> Self {
        Self {
            transport: "TCP",
            via: None,
            record_route: Arc::new([]),
            negotiates: false,
            spread: Spread::ByUser,
            repeats_on_flow_loss: false,
            queue_max: 64,
            limits: Limits::default(),
            history: None,
            tap: None,
        }
    }

    /// As `front_end`, over TCP, for one that listens at this address: gateways can reach it.
    pub fn listening(address: SocketAddr) -> Self {
        let route = format!("<sip:{address};transport=tcp;lr;ms-route-sig=aaEXAMPLEroutesig0123456789AA>");
        Self { transport: "TCP", record_route: Arc::new([route]), ..Self::front_end("") }
    }

    /// As one Lync front end does: its Via on top, one Record-Route, many users on its flows.
    pub fn front_end(host: &str) -> Self {
        let route = format!(
            "<sip:{host}:5061;transport=tls;opaque=state:T:F:Ci.R2a1f00;lr;ms-route-sig=aaEXAMPLEroutesig0123456789AA>\
             ;tag=4E1B22C07D9A4F55B0C6E8A9D1F3A7B2"
        );
        Self {
            transport: "TLS",
            via: Some("10.0.0.10:58201".to_owned()),
            record_route: Arc::new([route]),
            queue_max: 1024,
            ..Self::direct()
        }
    }
}

impl fmt::Debug for FrontEndOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontEndOptions")
            .field("transport", &self.transport)
            .field("via", &self.via)
            .field("spread", &self.spread)
            .finish_non_exhaustive()
    }
}

/// Which flow a message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// A user stays on its flow while that is up.
    #[default]
    ByUser,
    /// One dialog's messages over all flows in turn, as a Lync front end may: TCP order is not dialog order.
    ByMessage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the user to the gateway.
    Out,
    In,
}

/// Sees every message: transcripts and witnesses. Called from the flows' tasks: must not block.
pub trait Tap: Send + Sync {
    fn saw(&self, direction: Direction, flow: FlowId, message: &Message);
}
