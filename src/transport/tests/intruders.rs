//! A crowd of intruders: nothing of theirs arrives, everyone is counted, and the door still works.

use futures_util::future::join_all;

use super::certificates::*;
use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    NoCertificate,
    OtherAuthority,
    Expired,
    WrongName,
    WrongPurpose,
    PlainSip,
    ProxyHeader,
    Garbage,
    HalfHello,
    Silent,
}

const KINDS: [(Kind, Refused); 10] = [
    (Kind::NoCertificate, Refused::CertificateMissing),
    (Kind::OtherAuthority, Refused::CertificateUnknownIssuer),
    (Kind::Expired, Refused::CertificateExpired),
    (Kind::WrongName, Refused::CertificateNameNotAllowed),
    (Kind::WrongPurpose, Refused::CertificateWrongPurpose),
    (Kind::PlainSip, Refused::HandshakeFailed),
    (Kind::ProxyHeader, Refused::ProxyHeaderUnexpected),
    (Kind::Garbage, Refused::HandshakeFailed),
    (Kind::HalfHello, Refused::ClosedEarly),
    (Kind::Silent, Refused::ClosedEarly),
];

async fn intrude(
    kind: Kind,
    version: TlsVersion,
    address: SocketAddr,
    authority: &Authority,
    other: &Authority,
) -> Vec<u8> {
    let fe = Wanted::named("fe01.contoso.com");
    let shown = match kind {
        Kind::NoCertificate => None,
        Kind::OtherAuthority => Some(other.issue(&fe)),
        Kind::Expired => Some(authority.issue(&Wanted { not_after_year: 2021, ..fe })),
        Kind::WrongName => Some(authority.issue(&Wanted::named("fe01.fabrikam.com"))),
        Kind::WrongPurpose => Some(authority.issue(&fe.purposes(&[rcgen::ExtendedKeyUsagePurpose::ServerAuth]))),
        Kind::PlainSip => return without_alert(raw(address, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n").await),
        Kind::ProxyHeader => return raw(address, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cabcdefghijkl").await,
        Kind::Garbage => return without_alert(raw(address, &[0xff; 4096]).await),
        Kind::HalfHello => {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
            socket.shutdown().await.unwrap();
            let mut received = Vec::new();
            let _ = socket.read_to_end(&mut received).await;
            return without_alert(received);
        }
        Kind::Silent => {
            drop(TcpStream::connect(address).await.unwrap());
            return Vec::new();
        }
    };
    let socket = TcpStream::connect(address).await.unwrap();
    match raw_client(authority, shown, version).connect("localhost".try_into().unwrap(), socket).await {
        Ok(mut stream) => said_back(&mut stream).await,
        Err(_) => Vec::new(),
    }
}

/// A TLS alert (record type 21) is not an answer of the application.
fn without_alert(received: Vec<u8>) -> Vec<u8> {
    if received.first() == Some(&21) && received.len() == 7 { Vec::new() } else { received }
}

#[tokio::test]
async fn two_hundred_intruders_leave_no_trace_but_their_count() {
    let (authority, other) = (Authority::new("contoso"), Authority::new("contoso"));
    let (_files, options) = gateway(&authority);
    for engine in engines(&options) {
        assert_no_trace(engine, &authority, &other).await;
    }
}

async fn assert_no_trace(engine: Arc<dyn TlsEngine>, authority: &Authority, other: &Authority) {
    let echo = echo(ListenOptions::default(), Some(engine)).await;
    let friend = front_end(authority);
    let mut attempts = Vec::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13].repeat(10) {
        attempts.extend(KINDS.iter().map(|(kind, _)| intrude(*kind, version, echo.address, authority, other)));
    }
    let friendly = async {
        for _ in 0..5 {
            assert_alive(echo.address, &friend, true).await.unwrap();
        }
    };
    let (answers, ()) = tokio::join!(join_all(attempts), friendly);
    assert!(answers.iter().all(Vec::is_empty));
    until(|| echo.counters.refused_total() >= 200).await;
    for reason in Refused::ALL {
        let expected = 20 * KINDS.iter().filter(|(_, of_kind)| of_kind == reason).count();
        assert_eq!(echo.counters.refused(*reason), expected as u64, "{reason}");
    }
    assert_eq!((echo.counters.accepted(), echo.bytes()), (5, 20));
    assert_alive(echo.address, &friend, true).await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_refused_before_a_byte_is_read() {
    for secure in [false, true] {
        let authority = Authority::new("contoso");
        let (_files, options) = gateway(&authority);
        let echo = echo(trusting_nobody(), secure.then(|| rustls(options))).await;
        let connector = front_end(&authority);
        for attempts in 1..=3 {
            if let Ok(mut stream) = connector.connect("localhost", echo.address.port(), secure).await {
                assert_eq!(said_back(&mut stream).await, b"");
            }
            echo.until_refused(Refused::PeerNotTrusted, attempts).await;
        }
        assert_eq!((echo.counters.accepted(), echo.bytes()), (0, 0));
    }
}

#[tokio::test]
async fn a_peer_has_as_many_connections_as_it_may_and_a_closed_one_makes_room() {
    let options = ListenOptions { connections_per_peer_max: 2, ..ListenOptions::default() };
    let mut listener = Listener::bind(options, None).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(listener.address()).await.unwrap());
    }
    let first = listener.accept().await.unwrap();
    let second = listener.accept().await.unwrap();
    until(|| listener.counters().refused(Refused::TooManyConnectionsOfPeer) >= 1).await;
    assert_eq!(listener.connections(), 2);
    drop(first);
    clients.push(TcpStream::connect(listener.address()).await.unwrap());
    let third = listener.accept().await.unwrap();
    assert_eq!(listener.connections(), 2);
    drop((second, third));
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn closing_frees_the_port_and_leaves_accepted_flows_alone() {
    let mut listener = Listener::bind(ListenOptions::default(), None).await.unwrap();
    let address = listener.address();
    let mut client = TcpStream::connect(address).await.unwrap();
    let Accepted { mut stream, .. } = listener.accept().await.unwrap();
    listener.close().await;
    assert!(TcpStream::connect(address).await.is_err());
    client.write_all(b"INFO").await.unwrap();
    assert_eq!(stream.read_with(<[u8]>::to_vec).await.unwrap(), b"INFO");
}

#[tokio::test]
async fn every_accepted_socket_is_kept_alive_and_does_not_wait_to_send() {
    let mut listener = Listener::bind(ListenOptions::default(), None).await.unwrap();
    let client = Connector::default().connect("127.0.0.1", listener.address().port(), false).await.unwrap();
    let accepted = listener.accept().await.unwrap().stream;
    for stream in [&client, &accepted] {
        let socket = socket2::SockRef::from(stream.socket().unwrap());
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }
}
