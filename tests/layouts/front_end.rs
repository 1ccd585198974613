//! A front end that connects and can be connected to, as a Lync front end: events find it when no connection is left.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::{FLOWS_MAX, FrontEnd, FrontEndOptions};
use tokio::net::{TcpListener, TcpSocket};

/// Keeps half of its connections, which come from `own`, towards the address; the other half is for those who come.
pub async fn front_end(own: IpAddr, address: SocketAddr) -> FrontEnd {
    let listener = TcpListener::bind((own, 0)).await.unwrap();
    let listens = listener.local_addr().unwrap();
    let route = format!("<sip:{listens};transport=tcp;opaque=state:T:F:Ci.R2a1f00;lr>;tag=4E1B22C07D9A4F55");
    let options = FrontEndOptions {
        transport: "TCP",
        // Its own address: a proxy would add where the request really came from.
        via: Some(listens.to_string()),
        record_route: Arc::new([route]),
        repeats_on_flow_loss: true,
        ..FrontEndOptions::front_end("fe.contoso.com")
    };
    let front_end = FrontEnd::new(options);
    for _ in 0..FLOWS_MAX / 2 {
        tokio::task::spawn_local(stay_connected(front_end.clone(), own, address));
    }
    let host = front_end.clone();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Err: too many; the other side hears that its connection has ended.
            let _ = (stream.set_nodelay(true), host.attach(stream));
        }
    });
    front_end
}

async fn stay_connected(front_end: FrontEnd, own: IpAddr, address: SocketAddr) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        if let Ok(stream) = socket.connect(address).await {
            let _ = stream.set_nodelay(true);
            if let Ok(flow) = front_end.attach(stream) {
                while front_end.flows().contains(&flow) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
