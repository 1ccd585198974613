//! A gateway as its file says, a simulated PBX, users, and an authority for certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::{CallView, FrontEnd, FrontEndOptions, Phase, RccUser, UserOptions};
use lyncpin::config::{Lines, check};
use lyncpin::directory::DirectoryWatch;
use lyncpin::gateway::{Gateway, Options, block_on};
use lyncpin::lab::pbx::{DeviceRange, Entry, PbxLab, PbxOptions, Reply, Request};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const PATIENCE: Duration = Duration::from_secs(30);
const USERS: usize = 8;

pub struct Rig {
    pub gateway: Gateway,
    pub pbx: PbxLab,
    pub files: Files,
}

/// What one test wants of the configuration.
pub struct Wanted<'a> {
    pub listen: &'a str,
    /// Lines of [sip].
    pub sip: &'a str,
    /// Lines of each [[cti]]; ADDRESS and FOLDER are put in.
    pub cti: &'a str,
    pub links: usize,
    pub options: Options,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        let options = Options { arbiters: 2, ..Options::default() };
        Self { listen: "[\"tcp://127.0.0.1:0\"]", sip: "", cti: "address = \"csta://ADDRESS\"", links: 1, options }
    }
}

/// Runs a test against a gateway of its own, and stops it in good order.
pub fn run(wanted: Wanted<'_>, pbx: impl FnOnce(&mut PbxOptions), files: Files, test: impl AsyncFnOnce(&Rig)) {
    run_to_the_end(wanted, pbx, files, async |rig| {
        test(&rig).await;
        tokio::time::timeout(PATIENCE, rig.gateway.stop()).await.expect("the gateway stops");
        rig.pbx.stop().await;
    });
}

/// As `run`; the test ends what it was given.
pub fn run_to_the_end(
    wanted: Wanted<'_>,
    pbx: impl FnOnce(&mut PbxOptions),
    files: Files,
    test: impl AsyncFnOnce(Rig),
) {
    block_on(async {
        let mut options = PbxOptions::with_links(wanted.links);
        options.devices = vec![DeviceRange { first: "5101".into(), count: USERS }];
        pbx(&mut options);
        let pbx = PbxLab::start(options).await.unwrap();
        let mut text = format!("[sip]\nlisten = {}\n{}\n", wanted.listen, wanted.sip);
        for (n, address) in pbx.addresses().iter().enumerate() {
            text += &format!("[[cti]]\nname = \"cm{n}\"\n{}\n", wanted.cti.replace("ADDRESS", &address.to_string()));
        }
        for n in 0..USERS {
            let UserOptions { user, line, .. } = account(n);
            text += &format!("[[user]]\nsip = \"{user}\"\nline = \"{line}\"\ndevice = \"{}\"\n", 5101 + n);
        }
        let config = check(&text.replace("FOLDER", files.folder.path().to_str().unwrap())).unwrap();
        let (directory, _) = DirectoryWatch::open(&config, &Lines::default()).unwrap();
        let gateway = Gateway::start(config, Arc::new(directory), wanted.options).await.unwrap();
        let rig = Rig { gateway, pbx, files };
        until("the links are up", || rig.gateway.node().links.iter().all(|link| link.is_up())).await;
        test(rig).await;
    });
}

pub fn account(n: usize) -> UserOptions {
    const NAMES: [&str; USERS] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    let mut options = UserOptions::new(
        format!("sip:{}@contoso.com", NAMES[n]),
        format!("tel:+1425555{:04};ext={}", 101 + n, 5101 + n),
        "sip:rccgw@localhost",
    );
    options.epid = format!("{n:010x}");
    options
}

impl Rig {
    pub fn address(&self, listener: usize) -> SocketAddr {
        self.gateway.addresses()[listener]
    }

    /// A front end with one TCP connection.
    pub async fn front_end(&self, options: FrontEndOptions) -> FrontEnd {
        let front_end = FrontEnd::new(options);
        front_end.connect(self.address(0)).await.unwrap();
        front_end
    }

    pub async fn desk(&self, request: Request) -> Reply {
        let reply = self.pbx.control(request.clone()).await;
        assert!(reply.is_ok(), "{request:?}: {reply:?}");
        reply
    }

    /// The PBX's name for the address of a link.
    pub fn pbx_link(&self, nth: usize) -> String {
        format!("pbx{}", nth + 1)
    }

    pub async fn history(&self) -> Vec<Entry> {
        match self.desk(Request::History { after: 0, max: 10_000 }).await {
            Reply::History(page) => page.entries,
            other => panic!("{other:?}"),
        }
    }

    /// How many services of this name the PBX was asked for.
    pub async fn asked(&self, name: &str) -> usize {
        use lyncpin::lab::pbx::Happening;
        let is_it = |entry: &&Entry| match &entry.what {
            Happening::Service { service, .. } => service.name() == name,
            _ => false,
        };
        self.history().await.iter().filter(is_it).count()
    }
}

/// One places the call, the other answers, the first hangs up.
pub async fn one_call(caller: &RccUser, callee: &RccUser) {
    let (call, theirs) = talk(caller, callee).await;
    assert!(caller.hang_up(&call).await.unwrap().is_done());
    for (user, id) in [(caller, &call), (callee, &theirs)] {
        user.until(PATIENCE, |view| view.phase(id).is_none().then_some(())).await.expect("the call ends");
    }
}

/// Both are in a call; its name on either side.
pub async fn talk(caller: &RccUser, callee: &RccUser) -> (String, String) {
    let placed = caller.make_call(&callee.line()).await.unwrap();
    assert!(placed.is_done(), "{:?}", placed.refusal());
    let call = placed.call().unwrap().call.clone();
    let ringing =
        |view: &CallView| view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone());
    let theirs = callee.until(PATIENCE, ringing).await.expect("it rings");
    assert!(callee.answer(&theirs).await.unwrap().is_done());
    for (user, id) in [(caller, &call), (callee, &theirs)] {
        user.until(PATIENCE, |view| (view.phase(id)? == Phase::Talking).then_some(())).await.expect("they talk");
    }
    (call, theirs)
}

pub fn is_clean(users: &[&RccUser]) {
    for user in users {
        assert_eq!(user.violations(), [], "{}", user.name());
    }
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// An authority, and the gateway's certificate of it, in a folder.
pub struct Files {
    pub folder: TempDir,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "contoso");
        let pem = params.self_signed(&key).unwrap().pem();
        let files = Self { folder: tempfile::tempdir().unwrap(), pem, issuer: Issuer::new(params, key) };
        fs::write(files.path("ca.pem"), &files.pem).unwrap();
        files.renew();
        files
    }

    /// A new certificate for the gateway.
    pub fn renew(&self) {
        let (certificate, key) = self.issue("localhost", &[ExtendedKeyUsagePurpose::ServerAuth]);
        fs::write(self.path("cert.pem"), certificate).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn issue(&self, name: &str, purposes: &[ExtendedKeyUsagePurpose]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = purposes.to_vec();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// TLS to the gateway, with a certificate or without one.
    pub async fn connect(
        &self,
        address: SocketAddr,
        shown: Option<(String, String)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        let socket = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
    }
}

pub const TLS: &str = "[sip.tls]\ncert = \"FOLDER/cert.pem\"\nkey = \"FOLDER/key.pem\"\nca = \"FOLDER/ca.pem\"\n";
