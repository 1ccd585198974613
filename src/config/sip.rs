//! `[sip]`: where Lync reaches us and what a dialog may cost.

use std::net::IpAddr;
use std::path::PathBuf;

use super::address::{Host, ListenAddress, Network, PeerName};
use super::reader::settings;
use super::value::choice;

choice! {
    /// A transport as a SIP URI names it.
    pub enum Transport {
        Tcp = "tcp",
        Tls = "tls",
    }
}

choice! {
    /// The oldest TLS version spoken. Below 1.2 only with `legacy = true`.
    pub enum TlsVersion {
        Tls10 = "1.0",
        Tls11 = "1.1",
        Tls12 = "1.2",
        Tls13 = "1.3",
    }
}

settings! {
    /// The SIP side: Lync's front ends reach the gateway here.
    pub struct Sip {
        /// The name both nodes of a pair share: host of our Contact and Via, and a name in our certificate.
        fqdn: Host = "localhost".parse().expect("a host name");
        /// Where to listen; the first one is also what Contact and Via name unless contact_port and contact_transport do.
        listen: Vec<ListenAddress> = vec!["tcp://127.0.0.1:5060".parse().expect("an address")];
        /// Front ends (and lab clients) that may connect: addresses and networks. Nobody else may.
        trusted_peers: Vec<Network> = ["127.0.0.1", "::1"].map(|text| text.parse().expect("an address")).to_vec();
        /// Names of front ends: a client certificate on an mtls:// listener must hold one. "*" takes every name the CA vouches for.
        peer_names: Vec<PeerName> = Vec::new();
        /// Load balancers' own addresses. They must send a PROXY protocol v2 header, and nobody else may.
        balancers: Vec<IpAddr> = Vec::new();
        /// User part of our Contact.
        contact_user: String = "rccgw".to_owned();
        /// Port of our Contact and Via, when a balancer listens on another one than we do; default: the first listener's.
        contact_port: Option<u16> = None;
        /// Transport of our Contact and Via; default: the first listener's.
        contact_transport: Option<Transport> = None;
        /// Session-Expires we ask for when the client names none (RFC 4028).
        session_expires_s: u32 = 1800, 90 to 86400;
        /// How long after its expiry a session is kept.
        session_grace_s: u32 = 60, 0 to 3600;
        /// Shortest Session-Expires taken; a shorter one is answered 422.
        min_se_s: u32 = 90, 90 to 86400;
        /// Idle time after which a dialog is asked whether it lives; 0: never. 1200 and more would outlast what lies between.
        keepalive_s: u32 = 60, 0 to 1199;
        /// How long an unanswered event INFO holds back the next event of its dialog.
        event_wait_ms: u64 = 3000, 100 to 32000;
        /// Sessions held at once; the next sign-in is answered 503.
        sessions_max: usize = 25_000, 1 to 200000;
        /// phone-context of numbers that cannot be made global, as clients are shown them.
        phone_context: String = "dialstring".to_owned();
        /// Take a request whose CSeq is lower than the last one (some clients start again at 1 with a re-INVITE).
        cseq_tolerant: bool = true;
        /// Limits on what comes from outside.
        limits: Limits = Limits::default();
        /// Certificates.
        tls: Tls = Tls::default();
    }
}

settings! {
    /// Limits on what comes from outside; what exceeds one is refused or its flow closed.
    pub struct Limits {
        /// Start line and headers of one message.
        head_bytes_max: usize = 32_768, 1024 to 1048576;
        /// Header fields of one message.
        headers_max: usize = 256, 16 to 4096;
        /// Body of one message.
        body_bytes_max: usize = 65_536, 1024 to 1048576;
        /// Connections at once.
        flows_max: usize = 40_000, 1 to 200000;
        /// Connections at once from one address, as a balancer announces it. A front end opens four.
        flows_per_peer_max: usize = 256, 1 to 200000;
        /// TLS handshakes and PROXY headers waited for at once.
        handshakes_max: usize = 256, 1 to 10000;
        /// Time for the PROXY header and the TLS handshake.
        handshake_timeout_s: u32 = 10, 1 to 120;
        /// Time from the first byte of a message to its last.
        head_timeout_s: u32 = 10, 1 to 120;
        /// Requests of one dialog being worked on at once; the next is answered 503.
        dialog_transactions_max: usize = 32, 1 to 1024;
    }
}

settings! {
    /// Certificates for tls:// and mtls:// listeners and for connections to front ends.
    pub struct Tls {
        /// Our certificate and its chain, PEM.
        cert: Option<PathBuf> = None;
        /// Its private key, PEM.
        key: Option<PathBuf> = None;
        /// The authorities that vouch for front ends, PEM; nobody else's are believed, the system's neither.
        ca: Option<PathBuf> = None;
        /// Refuse client certificates without the usage "client authentication". Front ends often carry only "server".
        require_client_eku: bool = true;
        /// How often the files are looked at for a change; 0: never.
        reload_s: u32 = 5, 0 to 86400;
        /// The oldest version spoken.
        min_version: TlsVersion = TlsVersion::Tls12;
        /// Use OpenSSL, for front ends on Windows Server 2012 R2 and older; needs a build with the feature legacy-tls.
        legacy: bool = false;
        /// OpenSSL's cipher list, with legacy = true only.
        legacy_ciphers: Option<String> = None;
    }
}

impl Sip {
    pub fn transport(&self) -> Transport {
        let of_listener = |first: &ListenAddress| match first.security.is_secure() {
            true => Transport::Tls,
            false => Transport::Tcp,
        };
        self.contact_transport.unwrap_or_else(|| self.listen.first().map_or(Transport::Tcp, of_listener))
    }

    /// Host and port of our Via and Contact. `bound_port` is the first listener's, which the file may leave open (0).
    pub fn sent_by(&self, bound_port: u16) -> String {
        let host = self.fqdn.as_str();
        let port = self.contact_port.unwrap_or(bound_port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// `sip:rccgw@rccgw.contoso.com:5061;transport=tls`.
    pub fn contact_uri(&self, bound_port: u16) -> String {
        format!("sip:{}@{};transport={}", self.contact_user, self.sent_by(bound_port), self.transport().word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_follows_the_first_listener_unless_told_otherwise() {
        let mut sip = Sip {
            fqdn: "rccgw.contoso.com".parse().expect("host"),
            listen: ["mtls://0.0.0.0:5061", "tcp://127.0.0.1:5060"].map(|text| text.parse().expect("address")).to_vec(),
            ..Sip::default()
        };
        assert_eq!(sip.contact_uri(5061), "sip:rccgw@rccgw.contoso.com:5061;transport=tls");
        sip.contact_port = Some(5065);
        sip.contact_transport = Some(Transport::Tcp);
        assert_eq!(sip.contact_uri(5061), "sip:rccgw@rccgw.contoso.com:5065;transport=tcp");
        sip.fqdn = "::1".parse().expect("host");
        assert_eq!(sip.sent_by(5060), "[::1]:5065");
    }
}
