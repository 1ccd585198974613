//! Handshakes that never end: bounded in number, and in the time they keep others waiting.

use super::certificates::*;
use super::*;

async fn slow(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"\x16\x03\x01").await.unwrap();
    socket
}

fn few_places() -> ListenOptions {
    ListenOptions { handshakes_pending_max: 4, ..ListenOptions::default() }
}

#[tokio::test]
async fn a_slow_handshake_runs_into_the_deadline() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let listening = ListenOptions { handshake_timeout_ms: 30, ..ListenOptions::default() };
    let echo = echo(listening, Some(rustls(options))).await;
    let _speaking = slow(echo.address).await;
    let _silent = TcpStream::connect(echo.address).await.unwrap();
    echo.until_refused(Refused::HandshakeTimedOut, 2).await;
}

#[tokio::test]
async fn a_flood_of_slow_handshakes_never_takes_more_than_its_places() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    // Nobody is displaced and nobody times out while this test looks.
    let listening = ListenOptions { handshake_grace_ms: 3_600_000, handshake_timeout_ms: 3_600_000, ..few_places() };
    let listener = Listener::bind(listening, Some(rustls(options))).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..50 {
        flood.push(slow(listener.address()).await);
    }
    until(|| listener.connections() >= 4).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(listener.connections(), 4);
    }
    // Those that give up make room for the next in the queue.
    drop(flood);
    until(|| listener.counters().refused(Refused::ClosedEarly) >= 50).await;
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn a_front_end_gets_in_through_a_flood_of_slow_handshakes() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let listening = ListenOptions { handshake_grace_ms: 20, handshake_timeout_ms: 3_600_000, ..few_places() };
    let echo = echo(listening, Some(rustls(options))).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(slow(echo.address).await);
    }
    assert_alive(echo.address, &front_end(&authority), true).await.unwrap();
    assert!(echo.counters.refused(Refused::HandshakeDisplaced) >= 1);
    assert_eq!(echo.counters.refused_total(), echo.counters.refused(Refused::HandshakeDisplaced));
}

#[tokio::test]
async fn an_application_that_takes_nothing_stops_the_accepting_and_loses_nobody() {
    let options = ListenOptions { accepted_queue_max: 2, ..ListenOptions::default() };
    let mut listener = Listener::bind(options, None).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(listener.address()).await.unwrap());
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(listener.connections() <= 3, "two in the queue and one in hand");
    }
    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.push(listener.accept().await.unwrap());
    }
    assert_eq!(listener.connections(), 20);
}
