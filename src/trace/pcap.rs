//! A capture file of SIP messages, for tshark, Wireshark and sngrep: each in TCP segments between the real ends of its flow,
//! with headers made up around it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::line::{Line, Way, What};

/// Of one segment: an IP packet with its headers stays below 65,536 bytes.
const SEGMENT_BYTES_MAX: usize = 60_000;
/// The file: microseconds, version 2.4, LINKTYPE_RAW (packets begin with their IP header).
const MAGIC: u32 = 0xa1b2_c3d4;
const LINKTYPE_RAW: u32 = 101;
const PROTOCOL_TCP: u8 = 6;
const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Flows whose sequence numbers are remembered.
const FLOWS_MAX: usize = 65_536;

/// Writes as it goes: what was written is whole whenever it ends.
pub struct Capture<W> {
    out: W,
    /// By flow: the next sequence number of the far end and of ours.
    flows: HashMap<u64, (u32, u32)>,
}

impl<W: Write> Capture<W> {
    pub fn begin(mut out: W) -> io::Result<Self> {
        let mut head = Vec::new();
        head.extend(MAGIC.to_le_bytes());
        head.extend(2_u16.to_le_bytes());
        head.extend(4_u16.to_le_bytes());
        head.extend([0; 8]);
        head.extend(u32::MAX.to_le_bytes());
        head.extend(LINKTYPE_RAW.to_le_bytes());
        out.write_all(&head)?;
        out.flush()?;
        Ok(Self { out, flows: HashMap::new() })
    }

    /// A SIP message is written, anything else is not.
    pub fn take(&mut self, line: &Line) -> io::Result<()> {
        let What::Sip { way, flow, local, peer, text, .. } = &line.what else { return Ok(()) };
        let local = local.unwrap_or_else(|| unknown(*peer));
        if !self.flows.contains_key(flow) {
            if self.flows.len() >= FLOWS_MAX {
                self.flows.clear();
            }
            self.flows.insert(*flow, (1, 1));
            // The far end is shown as who connected; who did is not known of a flow that was there before.
            self.packet(line.at_us, *peer, local, (0, 0), SYN, &[])?;
            self.packet(line.at_us, local, *peer, (0, 1), SYN | ACK, &[])?;
            self.packet(line.at_us, *peer, local, (1, 1), ACK, &[])?;
        }
        for piece in text.as_bytes().chunks(SEGMENT_BYTES_MAX) {
            let (theirs, ours) = self.flows.get(flow).copied().unwrap_or((1, 1));
            let bytes = piece.len() as u32;
            let next = match way {
                Way::In => {
                    self.packet(line.at_us, *peer, local, (theirs, ours), PUSH | ACK, piece)?;
                    (theirs.wrapping_add(bytes), ours)
                }
                Way::Out => {
                    self.packet(line.at_us, local, *peer, (ours, theirs), PUSH | ACK, piece)?;
                    (theirs, ours.wrapping_add(bytes))
                }
            };
            self.flows.insert(*flow, next);
        }
        self.out.flush()
    }

    fn packet(
        &mut self,
        at_us: u64,
        from: SocketAddr,
        to: SocketAddr,
        (sequence, acknowledged): (u32, u32),
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut tcp = Vec::with_capacity(20 + payload.len());
        tcp.extend(from.port().to_be_bytes());
        tcp.extend(to.port().to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend(acknowledged.to_be_bytes());
        // Five words of header, a window of 64 KiB, the checksum behind, no urgent data.
        tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(payload);
        let ip = match (from.ip().to_canonical(), to.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, &mut tcp),
            (from, to) => ipv6(as_v6(from), as_v6(to), &mut tcp),
        };
        let bytes = (ip.len() + tcp.len()) as u32;
        let mut record = Vec::with_capacity(16 + bytes as usize);
        record.extend(u32::try_from(at_us / 1_000_000).unwrap_or(u32::MAX).to_le_bytes());
        record.extend(((at_us % 1_000_000) as u32).to_le_bytes());
        record.extend(bytes.to_le_bytes());
        record.extend(bytes.to_le_bytes());
        record.extend(ip);
        record.extend(tcp);
        self.out.write_all(&record)
    }
}

/// In place of our end of a flow that this node does not have: of the far end's family, and nobody's.
pub(super) fn unknown(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 5060).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 5060).into(),
    }
}

pub(super) fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The header (RFC 791), and the checksum of the segment in its place.
fn ipv4(from: Ipv4Addr, to: Ipv4Addr, tcp: &mut [u8]) -> Vec<u8> {
    let length = tcp.len() as u16;
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, PROTOCOL_TCP]);
    pseudo.extend(length.to_be_bytes());
    close(tcp, &pseudo);
    let mut ip = vec![0x45, 0];
    ip.extend((length + 20).to_be_bytes());
    // No identification, not to be fragmented, 64 hops, TCP, the checksum behind.
    ip.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
    ip.extend(from.octets());
    ip.extend(to.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// The same of RFC 8200.
fn ipv6(from: Ipv6Addr, to: Ipv6Addr, tcp: &mut [u8]) -> Vec<u8> {
    let length = tcp.len() as u16;
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend(u32::from(length).to_be_bytes());
    pseudo.extend([0, 0, 0, PROTOCOL_TCP]);
    close(tcp, &pseudo);
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([PROTOCOL_TCP, 64]);
    ip.extend(from.octets());
    ip.extend(to.octets());
    ip
}

fn close(tcp: &mut [u8], pseudo: &[u8]) {
    let sum = checksum(&[pseudo, tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071; every piece but the last is of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for piece in pieces {
        for two in piece.chunks(2) {
            sum += u64::from(u16::from_be_bytes([two[0], two.get(1).copied().unwrap_or_default()]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
