//! PROXY protocol: only from balancers, and always from them.

use super::certificates::*;
use super::*;

fn header(source: &str) -> Vec<u8> {
    let SocketAddr::V4(source) = source.parse().unwrap() else { panic!("an IPv4 source") };
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(source.ip().octets());
    bytes.extend([127, 0, 0, 1]);
    bytes.extend(source.port().to_be_bytes());
    bytes.extend([0x13, 0xc4]);
    bytes
}

fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()
}

/// Loopback is the balancer; front ends live in 192.0.2.0/24.
fn behind_a_balancer() -> ListenOptions {
    ListenOptions {
        peers_allowed: vec!["192.0.2.0/24".parse().unwrap()],
        balancers: vec!["127.0.0.1".parse().unwrap()],
        ..ListenOptions::default()
    }
}

#[tokio::test]
async fn the_announced_address_is_the_peer_and_the_socket_is_the_way() {
    let mut echo = echo(behind_a_balancer(), None).await;
    let mut socket = TcpStream::connect(echo.address).await.unwrap();
    socket.write_all(&header("192.0.2.7:40000")).await.unwrap();
    assert_eq!(said_back(&mut socket).await, b"INFO");
    let peer = echo.peers.recv().await.unwrap();
    assert_eq!(
        peer,
        Peer {
            address: "192.0.2.7:40000".parse().unwrap(),
            via: socket.local_addr().unwrap(),
            names: Vec::new(),
            secure: false
        }
    );
    assert_eq!(echo.bytes(), 4, "the header itself is not shown to the application");
}

#[tokio::test]
async fn tls_goes_on_behind_the_header() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let mut echo = echo(behind_a_balancer(), Some(rustls(options))).await;
    let mut socket = TcpStream::connect(echo.address).await.unwrap();
    socket.write_all(&header("192.0.2.7:40000")).await.unwrap();
    let shown = authority.issue(&Wanted::named("fe01.contoso.com"));
    let connector = raw_client(&authority, Some(shown), TlsVersion::Tls13);
    let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    assert_eq!(said_back(&mut stream).await, b"INFO");
    let peer = echo.peers.recv().await.unwrap();
    assert_eq!((peer.address.to_string(), peer.names), ("192.0.2.7:40000".into(), vec!["fe01.contoso.com".into()]));
}

#[tokio::test]
async fn an_announced_stranger_is_refused_before_any_tls() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let echo = echo(behind_a_balancer(), Some(rustls(options))).await;
    assert_eq!(raw(echo.address, &header("198.51.100.1:40000")).await, b"");
    echo.until_refused(Refused::PeerNotTrusted, 1).await;
}

#[tokio::test]
async fn a_balancer_without_a_good_header_is_refused() {
    let cases: [(&[u8], Refused); 4] = [
        (b"INVITE sip:rccgw@contoso.com SIP/2.0\r\n", Refused::ProxyHeaderMissing),
        (b"\x16\x03\x01\x02\x00\x01", Refused::ProxyHeaderMissing),
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", Refused::ProxyHeaderVersion1),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\x04abcdINFO", Refused::ProxyHeaderMalformed),
    ];
    for (bytes, reason) in cases {
        let echo = echo(behind_a_balancer(), None).await;
        assert_eq!(raw(echo.address, bytes).await, b"");
        echo.until_refused(reason, 1).await;
        assert_eq!(echo.bytes(), 0);
    }
}

#[tokio::test]
async fn a_header_cut_off_is_refused_at_once() {
    let echo = echo(behind_a_balancer(), None).await;
    let whole = header("192.0.2.7:40000");
    for (attempts, cut) in (1..whole.len()).enumerate() {
        let mut socket = TcpStream::connect(echo.address).await.unwrap();
        socket.write_all(&whole[..cut]).await.unwrap();
        socket.shutdown().await.unwrap();
        echo.until_refused(Refused::ProxyHeaderMalformed, attempts as u64 + 1).await;
    }
}

#[tokio::test]
async fn a_header_that_never_ends_runs_into_the_deadline() {
    let options = ListenOptions { handshake_timeout_ms: 50, ..behind_a_balancer() };
    let echo = echo(options, None).await;
    let mut socket = TcpStream::connect(echo.address).await.unwrap();
    socket.write_all(&header("192.0.2.7:40000")[..20]).await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    echo.until_refused(Refused::HandshakeTimedOut, 1).await;
}

#[tokio::test]
async fn a_balancers_own_connection_needs_its_own_place_on_the_list() {
    let stranger = echo(behind_a_balancer(), None).await;
    assert_eq!(raw(stranger.address, &local()).await, b"");
    stranger.until_refused(Refused::PeerNotTrusted, 1).await;

    let mut options = behind_a_balancer();
    options.peers_allowed.push("127.0.0.1".parse().unwrap());
    let mut known = echo(options, None).await;
    let mut socket = TcpStream::connect(known.address).await.unwrap();
    socket.write_all(&local()).await.unwrap();
    assert_eq!(said_back(&mut socket).await, b"INFO");
    let peer = known.peers.recv().await.unwrap();
    assert_eq!(peer.address, peer.via);
}

#[tokio::test]
async fn a_health_check_that_only_connects_is_no_alarm() {
    let echo = echo(behind_a_balancer(), None).await;
    drop(TcpStream::connect(echo.address).await.unwrap());
    echo.until_refused(Refused::ClosedEarly, 1).await;
}

#[tokio::test]
async fn nobody_else_may_announce_an_address() {
    let authority = Authority::new("contoso");
    for bytes in [header("192.0.2.7:40000"), local(), b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n".to_vec()] {
        let plain = echo(ListenOptions::default(), None).await;
        assert_eq!(raw(plain.address, &[&bytes[..], b"INFO"].concat()).await, b"");
        plain.until_refused(Refused::ProxyHeaderUnexpected, 1).await;
        assert_eq!(plain.bytes(), 0);

        let (_files, options) = gateway(&authority);
        let secure = echo(ListenOptions::default(), Some(rustls(options))).await;
        assert_eq!(raw(secure.address, &bytes).await, b"");
        secure.until_refused(Refused::ProxyHeaderUnexpected, 1).await;
    }
}

#[tokio::test]
async fn a_second_header_behind_the_first_is_refused() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let echo = echo(behind_a_balancer(), Some(rustls(options))).await;
    assert_eq!(raw(echo.address, &[header("192.0.2.7:1"), header("192.0.2.8:2")].concat()).await, b"");
    echo.until_refused(Refused::ProxyHeaderUnexpected, 1).await;
}

#[tokio::test]
async fn a_keep_alive_is_not_taken_for_a_header() {
    let echo = echo(ListenOptions::default(), None).await;
    let mut socket = TcpStream::connect(echo.address).await.unwrap();
    let mut answer = [0; 4];
    for _ in 0..3 {
        socket.write_all(b"\r\n\r\n").await.unwrap();
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\r\n\r\n");
    }
    assert_eq!(echo.counters.refused_total(), 0);
}

#[tokio::test]
async fn connections_are_counted_by_the_announced_address() {
    let options = ListenOptions { connections_per_peer_max: 2, ..behind_a_balancer() };
    let echo = echo(options, None).await;
    let mut held = Vec::new();
    for source in ["192.0.2.7:1", "192.0.2.7:2", "192.0.2.8:1"] {
        let mut socket = TcpStream::connect(echo.address).await.unwrap();
        socket.write_all(&header(source)).await.unwrap();
        assert_eq!(said_back(&mut socket).await, b"INFO");
        held.push(socket);
    }
    assert_eq!(raw(echo.address, &header("192.0.2.7:3")).await, b"");
    echo.until_refused(Refused::TooManyConnectionsOfPeer, 1).await;
}
