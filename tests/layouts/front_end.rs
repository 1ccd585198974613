//! A front end that connects and can be connected to, as a Lync front end: events find it when no connection is left.

use std::sync::Arc;

use lyncpin::client::{FLOWS_MAX, FrontEnd, FrontEndOptions};
use tokio::net::TcpListener;

/// Keeps half of its connections towards these addresses; the other half is for those who come.
pub async fn front_end(addresses: Vec<String>) -> FrontEnd {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let route = format!("<sip:{address};transport=tcp;opaque=state:T:F:Ci.R2a1f00;lr>;tag=4E1B22C07D9A4F55");
    let options = FrontEndOptions {
        transport: "TCP",
        record_route: Arc::new([route]),
        repeats_on_flow_loss: true,
        ..FrontEndOptions::front_end("fe.contoso.com")
    };
    let front_end = FrontEnd::new(options);
    front_end.keep_connected(addresses, FLOWS_MAX / 2);
    let host = front_end.clone();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Err: too many; the other side hears that its connection has ended.
            let _ = (stream.set_nodelay(true), host.attach(stream));
        }
    });
    front_end
}
