//! Copies for a Homer collector: HEP version 3, one UDP datagram a SIP message.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use super::Ends;
use super::line::Way;
use super::mask::masked_message;
use crate::sip::Message;

/// Copies that wait to be sent; what comes meanwhile is counted and dropped.
const COPIES_MAX: usize = 1_024;
/// Of one UDP datagram over IPv4 or IPv6.
const DATAGRAM_BYTES_MAX: usize = 65_000;
/// A name that has no address is looked up again after this.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);

/// Chunk types of the vendor 0 (HEP3, draft of 2014, table 1).
mod chunk {
    pub const FAMILY: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const IPV4_SOURCE: u16 = 3;
    pub const IPV4_DESTINATION: u16 = 4;
    pub const IPV6_SOURCE: u16 = 5;
    pub const IPV6_DESTINATION: u16 = 6;
    pub const SOURCE_PORT: u16 = 7;
    pub const DESTINATION_PORT: u16 = 8;
    pub const SECONDS: u16 = 9;
    pub const MICROSECONDS: u16 = 10;
    pub const KIND: u16 = 11;
    pub const AGENT: u16 = 12;
    pub const PAYLOAD: u16 = 15;
    pub const CORRELATION: u16 = 17;
}

const FAMILY_INET: u8 = 2;
const FAMILY_INET6: u8 = 10;
const PROTOCOL_TCP: u8 = 6;
const KIND_SIP: u8 = 1;

/// Sends copies from a thread of its own; whoever shows it a message never waits.
#[derive(Debug)]
pub struct Collector {
    agent: u32,
    shows_numbers: bool,
    copies: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl Collector {
    /// `target`: host and port; `agent`: how the collector tells this node from others. The thread ends with the collector.
    pub fn start(target: (String, u16), agent: u32, shows_numbers: bool) -> io::Result<Self> {
        let (copies, taken) = sync_channel(COPIES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        std::thread::Builder::new().name("hep".into()).spawn(move || send(&target, &taken, &counted))?;
        Ok(Self { agent, shows_numbers, copies, lost })
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn copy(&self, at_us: u64, way: Way, ends: &Ends, message: &Message, bytes: &Bytes) {
        let masked = (!self.shows_numbers).then(|| masked_message(&String::from_utf8_lossy(bytes)));
        let text = masked.as_ref().map_or(&bytes[..], |text| text.as_bytes());
        let call_id = message.headers.call_id().unwrap_or_default();
        let copy = packet(at_us, way, ends, self.agent, call_id, text);
        if copy.is_none_or(|copy| self.copies.try_send(copy).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn send(target: &(String, u16), copies: &Receiver<Vec<u8>>, lost: &AtomicU64) {
    let mut socket = None;
    let mut next_look: Option<Instant> = None;
    let mut is_told = false;
    for copy in copies {
        if socket.is_none() && next_look.is_none_or(|at| at <= Instant::now()) {
            next_look = Some(Instant::now() + LOOK_UP_AGAIN);
            match connect(target) {
                Ok(found) => {
                    info!(peer = %target.0, "SIP is copied to the HEP collector");
                    socket = Some(found);
                }
                Err(why) if !is_told => {
                    is_told = true;
                    warn!(peer = %target.0, reason = %why, "the HEP collector cannot be reached; see [trace] hep");
                }
                Err(_) => {}
            }
        }
        // Err: nobody listens there now, which a later datagram finds out anew.
        let is_sent = socket.as_ref().is_some_and(|socket| socket.send(&copy).is_ok());
        if !is_sent {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn connect((host, port): &(String, u16)) -> io::Result<UdpSocket> {
    let address = (host.as_str(), *port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

/// One HEP3 packet. `None`: the message is too long for a datagram.
pub fn packet(at_us: u64, way: Way, ends: &Ends, agent: u32, call_id: &str, text: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"HEP3\0\0".to_vec();
    let local = ends.local.unwrap_or_else(|| super::pcap::unknown(ends.peer));
    let (from, to) = match way {
        Way::In => (ends.peer, local),
        Way::Out => (local, ends.peer),
    };
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            put(&mut out, chunk::FAMILY, &[FAMILY_INET]);
            put(&mut out, chunk::IPV4_SOURCE, &from.octets());
            put(&mut out, chunk::IPV4_DESTINATION, &to.octets());
        }
        (from, to) => {
            put(&mut out, chunk::FAMILY, &[FAMILY_INET6]);
            put(&mut out, chunk::IPV6_SOURCE, &super::pcap::as_v6(from).octets());
            put(&mut out, chunk::IPV6_DESTINATION, &super::pcap::as_v6(to).octets());
        }
    }
    put(&mut out, chunk::PROTOCOL, &[PROTOCOL_TCP]);
    put(&mut out, chunk::SOURCE_PORT, &from.port().to_be_bytes());
    put(&mut out, chunk::DESTINATION_PORT, &to.port().to_be_bytes());
    put(&mut out, chunk::SECONDS, &u32::try_from(at_us / 1_000_000).unwrap_or(u32::MAX).to_be_bytes());
    put(&mut out, chunk::MICROSECONDS, &((at_us % 1_000_000) as u32).to_be_bytes());
    put(&mut out, chunk::KIND, &[KIND_SIP]);
    put(&mut out, chunk::AGENT, &agent.to_be_bytes());
    if text.len() + call_id.len() + out.len() > DATAGRAM_BYTES_MAX {
        return None;
    }
    put(&mut out, chunk::CORRELATION, call_id.as_bytes());
    put(&mut out, chunk::PAYLOAD, text);
    let length = u16::try_from(out.len()).ok()?;
    out[4..6].copy_from_slice(&length.to_be_bytes());
    Some(out)
}

/// Vendor, type and length, each of two bytes, the length with these six, then the value.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend([0, 0]);
    out.extend(kind.to_be_bytes());
    // A datagram bounds it.
    out.extend(u16::try_from(value.len() + 6).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_takes_nothing_delays_nobody_and_what_it_misses_is_counted() {
        let (copies, _not_taken) = sync_channel(COPIES_MAX);
        let collector = Collector { agent: 1, shows_numbers: true, copies, lost: Arc::default() };
        let text = "OPTIONS sip:rccgw@contoso.com SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n";
        let bytes = Bytes::from_static(text.as_bytes());
        let message = Message::parse(&bytes).expect("a message");
        let peer = "192.0.2.10:5060".parse().expect("an address");
        let ends = Ends { flow: 1, local: None, peer, is_secure: false };
        for _ in 0..COPIES_MAX + 7 {
            collector.copy(1, Way::In, &ends, &message, &bytes);
        }
        assert_eq!(collector.lost(), 7);
        let long = Bytes::from(vec![b'x'; DATAGRAM_BYTES_MAX]);
        assert_eq!(packet(1, Way::In, &ends, 1, "1", &long), None, "it does not fit into a datagram");
    }
}
