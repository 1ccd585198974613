//! How a link gets its byte stream: from outside, so that TLS and in-memory streams need nothing here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Address;

/// A connection in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

pub type BoxedStream = Box<dyn ByteStream>;

/// A connection being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send>>;

/// Makes the connection to an address, once a call. The link bounds the time; a dropped future must leave nothing
/// behind.
pub trait Connector: Send + Sync {
    fn connect(&self, address: &Address) -> Connecting;
}

impl<F: Fn(&Address) -> Connecting + Send + Sync> Connector for F {
    fn connect(&self, address: &Address) -> Connecting {
        self(address)
    }
}

/// Plain TCP without delay of small writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl TcpConnector {
    pub fn shared() -> Arc<dyn Connector> {
        Arc::new(Self)
    }
}

impl Connector for TcpConnector {
    fn connect(&self, address: &Address) -> Connecting {
        let (host, port) = (address.host.clone(), address.port);
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
