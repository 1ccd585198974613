//! The PROXY protocol, version 2, as a receiver (HAProxy `proxy-protocol.txt` §2.2): who is behind the balancer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Refused;

pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
pub(super) const VERSION_1: [u8; 6] = *b"PROXY ";
/// The header with everything that hangs on it; the smallest segment TCP promises to carry whole.
const HEADER_BYTES_MAX: usize = 536;
const FIXED_BYTES: usize = 16;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// The connection is the balancer's own (LOCAL), or it does not know whose (UNSPEC): the socket's address counts,
    /// against the same allow-list as everybody's.
    Itself,
    Source(SocketAddr),
}

/// Reads exactly the header and not one byte more, so that what follows is the peer's own first byte. The deadline is
/// the caller's.
pub(super) async fn read_header<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Announced, Refused> {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut filled = 0;
    while filled < FIXED_BYTES {
        match reader.read(&mut bytes[filled..FIXED_BYTES]).await {
            Ok(0) if filled == 0 => return Err(Refused::ClosedEarly),
            Ok(0) => return Err(Refused::ProxyHeaderMalformed),
            Ok(read) => filled += read,
            Err(_) => return Err(Refused::ClosedEarly),
        }
        let seen = filled.min(SIGNATURE.len());
        if bytes[..seen] != SIGNATURE[..seen] {
            let text = seen.min(VERSION_1.len());
            let is_text = bytes[..text] == VERSION_1[..text];
            return Err(if is_text { Refused::ProxyHeaderVersion1 } else { Refused::ProxyHeaderMissing });
        }
    }
    let [version_command, family, length @ ..] = [bytes[12], bytes[13], bytes[14], bytes[15]];
    let rest_bytes = usize::from(u16::from_be_bytes(length));
    let rest = bytes.get_mut(FIXED_BYTES..FIXED_BYTES + rest_bytes).ok_or(Refused::ProxyHeaderMalformed)?;
    reader.read_exact(rest).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Refused::ProxyHeaderMalformed,
        _ => Refused::ClosedEarly,
    })?;
    parse(version_command, family, rest).ok_or(Refused::ProxyHeaderMalformed)
}

/// `rest` starts with the addresses; the TLVs after them are not looked at.
fn parse(version_command: u8, family: u8, rest: &[u8]) -> Option<Announced> {
    match version_command {
        0x20 => return Some(Announced::Itself),
        0x21 => {}
        _ => return None,
    }
    match family {
        0x00 => Some(Announced::Itself),
        0x11 => {
            let [a, b, c, d, _, _, _, _, p, q, _, _, ..] = *rest else { return None };
            Some(source(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), [p, q]))
        }
        0x21 => {
            let (addresses, ports) = rest.split_first_chunk::<32>()?;
            let source_octets = *addresses.first_chunk::<16>()?;
            let [p, q, _, _, ..] = *ports else { return None };
            Some(source(IpAddr::V6(Ipv6Addr::from(source_octets)), [p, q]))
        }
        _ => None,
    }
}

fn source(address: IpAddr, port: [u8; 2]) -> Announced {
    Announced::Source(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(port)))
}

/// Watches the first bytes of a peer that must not send a header. TLS has its own look; this is for plain TCP, where
/// waiting for a first byte would keep a silent flow from being accepted.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    seen: [u8; VERSION_1.len()],
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstVerdict {
    /// Too few bytes to tell: a double CRLF is a keep-alive (RFC 5626 §3.5.1) and also how a header begins.
    Undecided,
    Harmless,
    ProxyHeader,
}

impl FirstBytes {
    pub(super) fn look(&mut self, fresh: &[u8]) -> FirstVerdict {
        let taken = fresh.len().min(self.seen.len() - self.count);
        self.seen[self.count..self.count + taken].copy_from_slice(&fresh[..taken]);
        self.count += taken;
        let seen = &self.seen[..self.count];
        // The fifth byte of the signature is a zero, which no SIP message and no keep-alive has there.
        let telling = &SIGNATURE[..5];
        if seen.starts_with(telling) || seen == VERSION_1 {
            FirstVerdict::ProxyHeader
        } else if telling.starts_with(seen) || VERSION_1.starts_with(seen) {
            FirstVerdict::Undecided
        } else {
            FirstVerdict::Harmless
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0xc4, 0x13, 0xc5];

    async fn read(bytes: &[u8]) -> (Result<Announced, Refused>, usize) {
        let mut rest = bytes;
        let outcome = read_header(&mut rest).await;
        (outcome, rest.len())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_last_byte_and_not_beyond() {
        let mut bytes = header(0x21, 0x11, &V4);
        bytes.extend(b"INVITE");
        assert_eq!(read(&bytes).await, (Ok(Announced::Source("192.0.2.7:5060".parse().unwrap())), 6));
    }

    #[tokio::test]
    async fn additions_behind_the_addresses_are_skipped() {
        let mut rest = V4.to_vec();
        rest.extend([0x03, 0, 4, 1, 2, 3, 4]);
        assert_eq!(
            read(&header(0x21, 0x11, &rest)).await,
            (Ok(Announced::Source("192.0.2.7:5060".parse().unwrap())), 0)
        );
    }

    #[tokio::test]
    async fn an_ipv6_source_is_read_and_a_mapped_one_counts_as_ipv4() {
        let mut rest = [0; 36];
        rest[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        rest[32..34].copy_from_slice(&5061u16.to_be_bytes());
        assert_eq!(
            read(&header(0x21, 0x21, &rest)).await.0,
            Ok(Announced::Source("[2001:db8::7]:5061".parse().unwrap()))
        );
        rest[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(read(&header(0x21, 0x21, &rest)).await.0, Ok(Announced::Source("192.0.2.7:5061".parse().unwrap())));
    }

    #[tokio::test]
    async fn a_local_or_unspecified_connection_is_the_balancers_own() {
        for (version_command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00)] {
            assert_eq!(read(&header(version_command, family, &V4)).await, (Ok(Announced::Itself), 0));
        }
    }

    #[tokio::test]
    async fn a_header_cut_at_any_byte_is_refused() {
        let whole = header(0x21, 0x11, &V4);
        assert_eq!(read(&[]).await.0, Err(Refused::ClosedEarly));
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut]).await.0, Err(Refused::ProxyHeaderMalformed), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_header_of_another_kind_is_refused() {
        let cases = [
            (0x11, 0x11, V4.to_vec()),
            (0x22, 0x11, V4.to_vec()),
            (0x31, 0x11, V4.to_vec()),
            (0x21, 0x12, V4.to_vec()),
            (0x21, 0x31, vec![0; 216]),
            (0x21, 0x11, V4[..11].to_vec()),
            (0x21, 0x21, vec![0; 35]),
            (0x21, 0x11, vec![0; HEADER_BYTES_MAX - FIXED_BYTES + 1]),
            (0x21, 0x11, vec![0; 65535]),
        ];
        for (version_command, family, rest) in cases {
            let outcome = read(&header(version_command, family, &rest)).await.0;
            assert_eq!(outcome, Err(Refused::ProxyHeaderMalformed), "{version_command:x} {family:x} {}", rest.len());
        }
        assert!(read(&header(0x21, 0x11, &[0; HEADER_BYTES_MAX - FIXED_BYTES])).await.0.is_ok());
    }

    #[tokio::test]
    async fn speech_without_a_header_is_refused_at_the_first_wrong_byte() {
        assert_eq!(read(b"\x16\x03\x01").await.0, Err(Refused::ProxyHeaderMissing));
        assert_eq!(read(b"I").await.0, Err(Refused::ProxyHeaderMissing));
        assert_eq!(read(b"\r\n\r\n\r\n\r\n").await.0, Err(Refused::ProxyHeaderMissing));
        assert_eq!(read(b"PROXY TCP4 192.0.2.7 10.0.0.1 5060 5060\r\n").await.0, Err(Refused::ProxyHeaderVersion1));
    }

    #[test]
    fn first_bytes_tell_a_header_from_a_keep_alive_however_they_are_cut() {
        use FirstVerdict::{Harmless, ProxyHeader, Undecided};
        let last = |chunks: &[&[u8]]| {
            let mut first = FirstBytes::default();
            chunks.iter().map(|chunk| first.look(chunk)).find(|verdict| *verdict != Undecided).unwrap_or(Undecided)
        };
        for size in 1..=SIGNATURE.len() {
            assert_eq!(last(&SIGNATURE.chunks(size).collect::<Vec<_>>()), ProxyHeader, "chunks of {size}");
            assert_eq!(last(&b"PROXY TCP4 1".chunks(size).collect::<Vec<_>>()), ProxyHeader);
            assert_eq!(last(&b"\r\n\r\n\r\n\r\n".chunks(size).collect::<Vec<_>>()), Harmless);
            assert_eq!(last(&b"PRACK sip:a".chunks(size).collect::<Vec<_>>()), Harmless);
        }
        assert_eq!(last(&[b"\r\n\r\n"]), Undecided);
    }
}
