//! Ways to front ends for requests of ours, when the connection a dialog was last heard on is gone, as after a takeover. One
//! connection is opened for all who want it, then the other nodes are asked for theirs, and those who cannot be served hear
//! of it when one is open. A connection that a front end opened is another dialog's own: several front ends may bear one
//! name, and the wrong one would answer 481.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Message, Recipient};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

use super::door;
use super::node::Node;
use super::relay;
use crate::id::SessionId;
use crate::machine::effect::NextHop;
use crate::machine::input::FlowId;

/// Requests that wait for one connection to be opened.
const WAITING_MAX: usize = 4_096;
/// A front end that could not be reached is not tried again for this long, however many sessions want it.
const AWAY_MS: u64 = 1_000;

/// What a session hears of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Told {
    /// It could not be sent; [`Told::Reachable`] follows when a connection is open.
    Undelivered { cseq: u32 },
    /// A request to this hop would arrive now.
    Reachable,
}

/// A request of a session.
pub struct Wanted {
    pub session: SessionId,
    pub cseq: u32,
    pub message: Bytes,
    pub inbox: Recipient<Told>,
}

#[derive(Default)]
pub struct Hops(Mutex<HashMap<NextHop, Way>>);

/// A hop to which no flow leads.
#[derive(Default)]
struct Way {
    /// A connection is being opened, and these wait for it.
    opening: Option<Vec<Wanted>>,
    /// Until when it is not tried again.
    away: Option<Instant>,
    /// Sessions that could not be served.
    unserved: HashMap<SessionId, Recipient<Told>>,
}

impl Hops {
    fn lock(&self) -> MutexGuard<'_, HashMap<NextHop, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Yields the request when nothing is to be opened for it now; `Ok(true)`: a connection is to be opened.
    fn wait(&self, hop: &NextHop, wanted: Wanted) -> Result<bool, Wanted> {
        let mut ways = self.lock();
        let way = ways.entry(hop.clone()).or_default();
        match &mut way.opening {
            Some(waiting) if waiting.len() < WAITING_MAX => waiting.push(wanted),
            Some(_) => return Err(wanted),
            None if way.away.is_some_and(|until| Instant::now() < until) => return Err(wanted),
            None => {
                way.opening = Some(vec![wanted]);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Those who waited for a connection.
    fn opened(&self, hop: &NextHop, is_open: bool) -> Vec<Wanted> {
        let mut ways = self.lock();
        let Some(way) = ways.get_mut(hop) else { return Vec::new() };
        way.away = (!is_open).then(|| Instant::now() + Duration::from_millis(AWAY_MS));
        way.opening.take().unwrap_or_default()
    }

    fn unserved(&self, hop: &NextHop, session: SessionId, inbox: Recipient<Told>) {
        self.lock().entry(hop.clone()).or_default().unserved.insert(session, inbox);
    }

    /// The hop can be reached: whoever could not be served hears it.
    fn served(&self, hop: &NextHop) -> Vec<Recipient<Told>> {
        let mut ways = self.lock();
        let Some(way) = ways.get_mut(hop) else { return Vec::new() };
        let unserved = std::mem::take(&mut way.unserved).into_values().collect();
        if way.opening.is_none() {
            ways.remove(hop);
        }
        unserved
    }
}

/// This flow was opened to the hop.
fn leads(node: &Node, hop: NextHop, flow: FlowId) {
    if !node.flows.leads_to(flow, hop.clone()) {
        return;
    }
    for inbox in node.hops.served(&hop) {
        // Past the bound, once a failure of its own. A session that is gone needs no word.
        inbox.do_send(Told::Reachable);
    }
}

/// Sends a request the best way there is.
pub fn send(node: &Arc<Node>, hop: NextHop, wanted: Wanted) {
    if let Some(flow) = node.flows.to_hop(&hop)
        && node.flows.send(flow, wanted.message.clone())
    {
        return;
    }
    match node.hops.wait(&hop, wanted) {
        Ok(true) => {
            let node = node.clone();
            actix_rt::spawn(async move { open(node, hop).await });
        }
        Ok(false) => {}
        Err(wanted) => {
            tokio::spawn(send_elsewhere(node.clone(), hop, vec![wanted]));
        }
    }
}

/// Opens a connection for all who wait, and carries it from then on.
async fn open(node: Arc<Node>, hop: NextHop) {
    let opened = match hop.host.is_empty() {
        true => Err(std::io::Error::other("the dialog names no host")),
        false => (node.connect)(hop.clone()).await,
    };
    match opened {
        Ok(stream) => {
            let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), hop.port);
            let peer = stream.remote_address().unwrap_or(nowhere);
            let handle = node.flows.open(stream.local_address(), peer, hop.secure);
            for wanted in node.hops.opened(&hop, true) {
                handle.outgoing.push(wanted.message);
            }
            leads(&node, hop, handle.id);
            door::carry(node, stream, handle).await;
        }
        Err(error) => {
            node.counters.count("connect", "failed");
            let waiting = node.hops.opened(&hop, false);
            warn!(peer = %hop.host, port = hop.port, reason = %error, events = waiting.len(), "cannot reach the front end; its events are tried again");
            send_elsewhere(node, hop, waiting).await;
        }
    }
}

/// The front end may be connected to another node.
async fn send_elsewhere(node: Arc<Node>, hop: NextHop, waiting: Vec<Wanted>) {
    let mut is_known = true;
    for wanted in waiting {
        is_known = is_known && relay::send_to_hop(&node, &hop, &wanted.message).await;
        if !is_known {
            node.hops.unserved(&hop, wanted.session, wanted.inbox.clone());
            // Past the bound, once a request.
            wanted.inbox.do_send(Told::Undelivered { cseq: wanted.cseq });
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Addr, Context, Handler};

    use super::*;

    struct Ear;

    impl Actor for Ear {
        type Context = Context<Self>;
    }

    impl Handler<Told> for Ear {
        type Result = ();

        fn handle(&mut self, _: Told, _: &mut Self::Context) {}
    }

    fn wanted(ear: &Addr<Ear>, n: u32) -> Wanted {
        let session = SessionId::new(format!("{n:016x}"));
        Wanted { session, cseq: n, message: Bytes::from_static(b"INFO"), inbox: ear.clone().recipient() }
    }

    #[actix_rt::test]
    async fn one_connection_is_opened_for_all_and_none_for_a_while_after_it_failed() {
        tokio::time::pause();
        let hops = Hops::default();
        let ear = Ear.start();
        let hop = NextHop { host: "fe01.contoso.com".to_owned(), port: 5061, secure: true };
        assert!(hops.wait(&hop, wanted(&ear, 1)).is_ok_and(|is_first| is_first));
        assert!(hops.wait(&hop, wanted(&ear, 2)).is_ok_and(|is_first| !is_first));
        let failed = hops.opened(&hop, false);
        assert_eq!(failed.iter().map(|wanted| wanted.cseq).collect::<Vec<_>>(), [1, 2]);
        assert!(hops.wait(&hop, wanted(&ear, 3)).is_err_and(|wanted| wanted.cseq == 3), "it was tried a moment ago");
        tokio::time::advance(Duration::from_millis(AWAY_MS)).await;
        assert!(hops.wait(&hop, wanted(&ear, 4)).is_ok_and(|is_first| is_first));
    }

    #[actix_rt::test]
    async fn those_who_were_not_served_hear_once_that_the_hop_is_back() {
        let hops = Hops::default();
        let ear = Ear.start();
        let hop = NextHop { host: "fe01.contoso.com".to_owned(), port: 5061, secure: true };
        for n in [1, 2, 2] {
            let Wanted { session, inbox, .. } = wanted(&ear, n);
            hops.unserved(&hop, session, inbox);
        }
        assert_eq!(hops.served(&hop).len(), 2);
        assert!(hops.served(&hop).is_empty());
        assert!(hops.lock().is_empty(), "a hop that can be reached needs no memory");
    }
}
