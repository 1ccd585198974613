//! Mutual TLS: who gets in, and that nothing of the others does.

use rcgen::ExtendedKeyUsagePurpose as Purpose;
use rustls::pki_types::ServerName;

use super::certificates::*;
use super::*;

/// Connects, speaks, and returns what came back. TLS 1.3 tells a client "connected" before the server has judged its
/// certificate, so the answer is the only thing worth looking at.
async fn attempt(address: SocketAddr, connector: &tokio_rustls::TlsConnector) -> Vec<u8> {
    let socket = TcpStream::connect(address).await.unwrap();
    match connector.connect(ServerName::try_from("localhost").unwrap(), socket).await {
        Ok(mut stream) => said_back(&mut stream).await,
        Err(_) => Vec::new(),
    }
}

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

async fn assert_refused(shown: Option<(String, String)>, authority: &Authority, options: TlsOptions, reason: Refused) {
    for engine in engines(&options) {
        let echo = echo(ListenOptions::default(), Some(engine)).await;
        for (attempts, version) in VERSIONS.into_iter().enumerate() {
            let connector = raw_client(authority, shown.clone(), version);
            assert_eq!(attempt(echo.address, &connector).await, b"", "{version:?}");
            echo.until_refused(reason, attempts as u64 + 1).await;
        }
        assert_eq!((echo.bytes(), echo.counters.accepted()), (0, 0));
    }
}

#[tokio::test]
async fn a_front_end_gets_in_over_both_versions_and_its_names_are_known() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let mut echo = echo(ListenOptions::default(), Some(rustls(options))).await;
    for version in VERSIONS {
        let shown = authority.issue(&Wanted::named("FE01.contoso.com"));
        assert_eq!(attempt(echo.address, &raw_client(&authority, Some(shown), version)).await, b"INFO", "{version:?}");
        let peer = echo.peers.recv().await.unwrap();
        assert_eq!((peer.names, peer.secure), (vec!["fe01.contoso.com".to_owned()], true));
        assert_eq!(peer.address, peer.via);
    }
    assert_eq!((echo.counters.accepted(), echo.counters.refused_total()), (2, 0));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    assert_refused(None, &authority, options, Refused::CertificateMissing).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (authority, other) = (Authority::new("contoso"), Authority::new("contoso"));
    let (_files, options) = gateway(&authority);
    let shown = other.issue(&Wanted::named("fe01.contoso.com"));
    assert_refused(Some(shown), &authority, options, Refused::CertificateUnknownIssuer).await;
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let fe = Wanted::named("fe01.contoso.com");
    let expired = authority.issue(&Wanted { not_after_year: 2021, ..fe.clone() });
    assert_refused(Some(expired), &authority, options.clone(), Refused::CertificateExpired).await;
    let early = authority.issue(&Wanted { not_before_year: 2089, ..fe });
    assert_refused(Some(early), &authority, options, Refused::CertificateNotYetValid).await;
}

#[tokio::test]
async fn a_name_that_is_not_allowed_is_refused() {
    let authority = Authority::new("contoso");
    let (files, options) = gateway(&authority);
    for name in ["fe01.fabrikam.com", "a.fe01.contoso.com", "contoso.com"] {
        let shown = authority.issue(&Wanted::named(name));
        assert_refused(Some(shown), &authority, options.clone(), Refused::CertificateNameNotAllowed).await;
    }
    let shown = authority.issue(&Wanted::named("fe01.contoso.com"));
    assert_refused(Some(shown), &authority, files.options(&[]), Refused::CertificateNameNotAllowed).await;
}

#[tokio::test]
async fn a_certificate_for_servers_alone_gets_in_only_where_that_is_switched_on() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let fe = Wanted::named("fe01.contoso.com");
    for purposes in [vec![Purpose::ServerAuth], vec![Purpose::CodeSigning], vec![]] {
        let shown = authority.issue(&fe.clone().purposes(&purposes));
        assert_refused(Some(shown), &authority, options.clone(), Refused::CertificateWrongPurpose).await;
    }
    let relaxed = TlsOptions { client_purpose: ClientPurpose::ClientOrServerAuth, ..options };
    let signer = authority.issue(&fe.clone().purposes(&[Purpose::CodeSigning]));
    assert_refused(Some(signer), &authority, relaxed.clone(), Refused::CertificateWrongPurpose).await;
    for engine in engines(&relaxed) {
        let echo = echo(ListenOptions::default(), Some(engine)).await;
        for purposes in [vec![Purpose::ServerAuth], vec![Purpose::Any], vec![]] {
            let connector = client(&authority, &authority, &fe.clone().purposes(&purposes));
            assert_alive(echo.address, &connector, true).await.unwrap();
        }
    }
}

#[tokio::test]
async fn any_purpose_includes_clients() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    for engine in engines(&options) {
        let echo = echo(ListenOptions::default(), Some(engine)).await;
        let connector = client(&authority, &authority, &Wanted::named("fe01.contoso.com").purposes(&[Purpose::Any]));
        assert_alive(echo.address, &connector, true).await.unwrap();
    }
}

#[tokio::test]
async fn an_intermediate_authority_narrows_what_is_below_it() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    for (purposes, admitted) in [(vec![Purpose::CodeSigning], false), (vec![Purpose::ClientAuth], true), (vec![], true)]
    {
        let intermediate = authority.intermediate(&purposes);
        let (leaf, key) = intermediate.issue(&Wanted::named("fe01.contoso.com"));
        let shown = (format!("{leaf}{}", intermediate.pem()), key);
        if admitted {
            for engine in engines(&options) {
                let echo = echo(ListenOptions::default(), Some(engine)).await;
                let connector = raw_client(&authority, Some(shown.clone()), TlsVersion::Tls13);
                assert_eq!(attempt(echo.address, &connector).await, b"INFO");
            }
        } else {
            assert_refused(Some(shown), &authority, options.clone(), Refused::CertificateWrongPurpose).await;
        }
    }
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let (authority, other) = (Authority::new("contoso"), Authority::new("fabrikam"));
    let (_files, options) = gateway(&authority);
    let options = TlsOptions { clients: ClientCertificates::Optional, ..options };
    let mut open = echo(ListenOptions::default(), Some(rustls(options.clone()))).await;
    assert_eq!(attempt(open.address, &raw_client(&authority, None, TlsVersion::Tls13)).await, b"INFO");
    assert_eq!(open.peers.recv().await.unwrap().names, Vec::<String>::new());
    let wrong = other.issue(&Wanted::named("fe01.contoso.com"));
    assert_refused(Some(wrong), &authority, options.clone(), Refused::CertificateUnknownIssuer).await;
    let unknown = authority.issue(&Wanted::named("fe01.fabrikam.com"));
    assert_refused(Some(unknown), &authority, options, Refused::CertificateNameNotAllowed).await;
}

#[tokio::test]
async fn a_front_end_that_is_not_who_it_says_gets_no_byte_of_ours() {
    let (authority, other) = (Authority::new("contoso"), Authority::new("contoso"));
    let connector = front_end(&authority);
    for (issuer, name) in [(&other, "localhost"), (&authority, "fe02.contoso.com")] {
        let files = Files::new(issuer.issue(&Wanted::named(name)), authority.pem());
        let echo = echo(ListenOptions::default(), Some(rustls(files.options(&["*"])))).await;
        let error = connector.connect("localhost", echo.address.port(), true).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
        assert_eq!((echo.bytes(), echo.counters.accepted()), (0, 0));
    }
}

#[tokio::test]
async fn older_versions_are_not_for_this_engine() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let options = TlsOptions { version_min: TlsVersion::Tls10, ..options };
    assert!(matches!(RustlsEngine::new(options), Err(TlsError::VersionNeedsLegacy)));
}

#[tokio::test]
async fn a_version_below_the_minimum_is_refused() {
    let authority = Authority::new("contoso");
    let (_files, options) = gateway(&authority);
    let options = TlsOptions { version_min: TlsVersion::Tls13, ..options };
    let echo = echo(ListenOptions::default(), Some(rustls(options))).await;
    let shown = authority.issue(&Wanted::named("fe01.contoso.com"));
    assert_eq!(attempt(echo.address, &raw_client(&authority, Some(shown), TlsVersion::Tls12)).await, b"");
    echo.until_refused(Refused::HandshakeFailed, 1).await;
}
