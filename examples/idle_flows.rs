//! Measures what an idle flow costs this process: resident and heap bytes at both ends, over TCP and over TLS.
//! `cargo run --example idle_flows -- 2000`

use std::sync::Arc;

use lyncpin::transport::{
    Accepted, ClientCertificates, ConnectOptions, Connector, ListenOptions, Listener, RustlsEngine, Stream, TlsEngine,
    TlsFiles, TlsOptions,
};
use tokio::io::AsyncWriteExt;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * 1024
}

/// Both ends live here: each flow speaks once, answers once, and then is read by a task that waits.
async fn measure(name: &str, flows: usize, tls: Option<Arc<dyn TlsEngine>>) -> anyhow::Result<()> {
    let options = ListenOptions { connections_per_peer_max: flows + 100, ..ListenOptions::default() };
    let secure = tls.is_some();
    let mut listener = Listener::bind(options, tls.clone()).await?;
    let connector = Connector::new(ConnectOptions { timeout_ms: 60_000, ..ConnectOptions::default() }, tls);
    let port = listener.address().port();
    let mut held: Vec<Stream> = Vec::with_capacity(flows);
    let mut readers = Vec::with_capacity(flows);
    let mut before = resident_bytes();
    for count in 0..flows + 100 {
        // The first hundred warm the allocator and the thread's buffers up.
        if count == 100 {
            before = resident_bytes();
        }
        let (client, accepted) = tokio::join!(connector.connect("localhost", port, secure), listener.accept());
        let (mut client, Some(Accepted { mut stream, .. })) = (client?, accepted) else { anyhow::bail!("no flow") };
        client.write_all(b"INFO").await?;
        client.flush().await?;
        stream.read_with(<[u8]>::len).await?;
        stream.write_all(b"200").await?;
        stream.flush().await?;
        client.read_with(<[u8]>::len).await?;
        held.push(client);
        readers.push(tokio::spawn(async move { stream.read_with(<[u8]>::len).await }));
    }
    tokio::task::yield_now().await;
    let bytes = resident_bytes().saturating_sub(before) / flows;
    println!("{name}: {bytes} resident bytes a flow, both ends and one reading task, {flows} flows");
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flows = std::env::args().nth(1).map_or(Ok(2000), |text| text.parse())?;
    let kind = std::env::args().nth(2).unwrap_or_else(|| "tcp".to_owned());
    let directory = tempfile::tempdir()?;
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let files = TlsFiles {
        certificate: directory.path().join("certificate.pem"),
        key: directory.path().join("key.pem"),
        authorities: directory.path().join("authorities.pem"),
    };
    std::fs::write(&files.certificate, own.cert.pem())?;
    std::fs::write(&files.authorities, own.cert.pem())?;
    std::fs::write(&files.key, own.signing_key.serialize_pem())?;
    let options = TlsOptions { clients: ClientCertificates::NotAsked, ..TlsOptions::new(files) };
    let engine: Option<Arc<dyn TlsEngine>> = match kind.as_str() {
        "tcp" => None,
        #[cfg(feature = "legacy-tls")]
        "openssl" => Some(Arc::new(lyncpin::transport::LegacyEngine::new(options)?)),
        _ => Some(Arc::new(RustlsEngine::new(options)?)),
    };
    measure(&kind, flows, engine).await
}
