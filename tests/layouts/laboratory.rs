//! Certificates as `lyncpin certs` makes them, the nodes that use them, and front ends that show theirs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::{FLOWS_MAX, FrontEnd, FrontEndOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pair::NodeOptions;

const FQDN: &str = "rccgw.contoso.com";
const FRONT_END: &str = "pool01.contoso.com";
const BALANCER: &str = "haproxy.contoso.com";

pub struct Laboratory {
    folder: TempDir,
}

impl Laboratory {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(env!("CARGO_BIN_EXE_lyncpin"))
            .args(["certs", "--fqdn", FQDN, "--client", FRONT_END, "--client", BALANCER, "--dir"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let lab = Self { folder };
        // HAProxy wants both in one file.
        let read = |end: &str| std::fs::read_to_string(lab.path(&format!("client-{BALANCER}.{end}"))).unwrap();
        std::fs::write(lab.path("check.pem"), read("pem") + &read("key")).unwrap();
        lab
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn nodes(&self) -> NodeOptions<'_> {
        let sip = format!(
            "contact_port = 5065\nbalancers = [\"127.0.0.1\"]\ntrusted_peers = [\"127.0.0.1\"]\nkeepalive_s = 0\n\
             peer_names = [\"{FRONT_END}\", \"{BALANCER}\"]"
        );
        let tls = |section: &str, name: &str, ca: &str| {
            let [cert, key, ca] =
                [format!("{name}.pem"), format!("{name}.key"), ca.into()].map(|file| self.path(&file));
            format!("[{section}]\ncert = {cert:?}\nkey = {key:?}\nca = {ca:?}\n")
        };
        NodeOptions {
            scheme: "mtls",
            sip,
            sections: tls("sip.tls", "sip", "sip-ca.pem"),
            voter: Some(Box::new(move |id| tls("cluster.tls", &format!("node-{id}"), "voters-ca.pem"))),
        }
    }

    fn connector(&self, name: Option<&str>) -> TlsConnector {
        let read = |file: &str| CertificateDer::pem_file_iter(Path::new(&self.path(file))).unwrap().map(Result::unwrap);
        let mut roots = RootCertStore::empty();
        read("sip-ca.pem").for_each(|root| roots.add(root).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match name {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("client-{name}.key"))).unwrap();
                config.with_client_auth_cert(read(&format!("client-{name}.pem")).collect(), key).unwrap()
            }
        };
        Arc::new(config).into()
    }

    async fn connect(&self, address: SocketAddr, name: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
        connect(&self.connector(name), address).await
    }

    /// Keeps its connections, and cannot be connected to.
    pub async fn front_end(&self, address: SocketAddr) -> FrontEnd {
        let options = FrontEndOptions { repeats_on_flow_loss: true, ..FrontEndOptions::front_end("fe.contoso.com") };
        let front_end = FrontEnd::new(options);
        for _ in 0..FLOWS_MAX {
            let (front_end, connector) = (front_end.clone(), self.connector(Some(FRONT_END)));
            tokio::task::spawn_local(async move {
                loop {
                    if let Ok(stream) = connect(&connector, address).await
                        && let Ok(flow) = front_end.attach(stream)
                    {
                        while front_end.flows().contains(&flow) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        front_end
    }

    /// The first bytes of the answer to an OPTIONS; none for a client that is not let in. Over TLS 1.3 a client believes
    /// itself connected before it is refused.
    pub async fn say_hello(&self, address: SocketAddr, name: Option<&str>) -> String {
        let asked = async {
            let mut stream = self.connect(address, name).await.ok()?;
            stream.write_all(crate::haproxy::OPTIONS).await.ok()?;
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await.ok()?;
            Some(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.expect("an answer or an end").unwrap_or_default()
    }
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect(ServerName::try_from(FQDN).unwrap(), stream).await
}
