//! The calling side: a name, a port, and a deadline over everything.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::stream::tune;
use super::{Stream, TlsEngine};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Looking up the name, every address tried, and the TLS handshake together. Default: 5 s.
    pub timeout_ms: u64,
    /// Silence after which the kernel asks whether the peer lives. Default: 60 s.
    pub keepalive_s: u64,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { timeout_ms: 5000, keepalive_s: 60 }
    }
}

/// Opens flows. Holds nothing of its own; clone it at will.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    options: ConnectOptions,
    tls: Option<Arc<dyn TlsEngine>>,
}

impl Connector {
    pub fn new(options: ConnectOptions, tls: Option<Arc<dyn TlsEngine>>) -> Self {
        Self { options, tls }
    }

    /// Tries each address of the name in the resolver's order, the TLS handshake included, and returns the first flow
    /// that stands. `host` is a DNS name or an IP address (IPv6 with or without brackets); with `secure` the server's
    /// certificate must name it. An error is definite: no byte of the application was sent. `TimedOut` is our own
    /// deadline; otherwise the last address's error.
    pub async fn connect(&self, host: &str, port: u16, secure: bool) -> io::Result<Stream> {
        let deadline = Instant::now() + Duration::from_millis(self.options.timeout_ms);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let engine = match (secure, &self.tls) {
            (false, _) => None,
            (true, Some(engine)) => Some(engine.as_ref()),
            (true, None) => return Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS is configured")),
        };
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => timeout_at(deadline, lookup_host((host, port))).await.map_err(|_| timed_out())??.collect(),
        };
        self.first_of(host, &addresses, engine, deadline).await
    }

    async fn first_of(
        &self,
        host: &str,
        addresses: &[SocketAddr],
        engine: Option<&dyn TlsEngine>,
        deadline: Instant,
    ) -> io::Result<Stream> {
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            // An equal share of what is left, so that one address that swallows everything leaves time for the rest.
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            left -= 1;
            outcome = timeout(share, self.one(host, *address, engine)).await.unwrap_or_else(|_| Err(timed_out()));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn one(&self, host: &str, address: SocketAddr, engine: Option<&dyn TlsEngine>) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        tune(&socket, self.options.keepalive_s)?;
        match engine {
            Some(engine) => Ok(engine.connect(host, socket).await?.stream),
            None => Ok(Stream::tcp(socket)),
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "not connected before the deadline")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn closed_port() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_dead_address_does_not_keep_from_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let connector = Connector::default();
        let deadline = Instant::now() + Duration::from_secs(5);
        let stream = connector.first_of("fe", &[closed_port().await, alive], None, deadline).await.unwrap();
        assert_eq!(stream.remote_address(), Some(alive));
    }

    #[tokio::test]
    async fn an_address_in_brackets_or_a_name_will_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "[127.0.0.1]", "localhost"] {
            assert!(Connector::default().connect(host, port, false).await.is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn secure_without_tls_configured_is_refused_before_any_byte() {
        let error = Connector::default().connect("127.0.0.1", 1, true).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn when_every_address_fails_the_last_error_is_told() {
        let port = closed_port().await.port();
        let error = Connector::default().connect("127.0.0.1", port, false).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
