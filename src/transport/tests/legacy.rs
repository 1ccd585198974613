//! OpenSSL as the other side, held to what a front end on Windows Server 2012 R2 with an RSA certificate offers.

use std::process::Stdio;

use rcgen::KeyPair;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::certificates::*;
use super::*;

const SUITES_2012_R2: &str = "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:\
    ECDHE-RSA-AES128-SHA:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:AES256-GCM-SHA384:\
    AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA";

fn is_installed() -> bool {
    let found = std::process::Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: there is no openssl binary on this machine");
    }
    found
}

fn rsa(authority: &Authority, name: &str) -> (String, String) {
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let pem = openssl::pkey::PKey::from_rsa(key).unwrap().private_key_to_pem_pkcs8().unwrap();
    let key = KeyPair::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
    authority.issue_for(&Wanted::named(name), &key)
}

fn tool(files: &Files, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments).arg("-cert").arg(files.path("certificate.pem")).arg("-key").arg(files.path("key.pem"));
    command.arg("-CAfile").arg(files.path("authorities.pem")).arg("-verify_return_error");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// An old front end that demands a certificate and sends every line back reversed.
async fn old_server(authority: &Authority, limits: &[&str]) -> (Child, u16, Files) {
    let files = Files::new(rsa(authority, "localhost"), authority.pem());
    let mut command = tool(&files, &["s_server", "-accept", "127.0.0.1:0", "-rev", "-Verify", "2"]);
    let mut child = command.args(limits).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().expect("s_server says where it listens");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.rsplit(':').next().unwrap().parse().unwrap();
        }
    };
    // Its chatter is read to the end, so that it never waits for us.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, port, files)
}

fn connector(engine: Arc<dyn TlsEngine>) -> Connector {
    Connector::new(ConnectOptions { timeout_ms: 60_000, ..ConnectOptions::default() }, Some(engine))
}

async fn reversed(connector: &Connector, port: u16) -> io::Result<Vec<u8>> {
    let mut stream = connector.connect("localhost", port, true).await?;
    stream.write_all(b"INFO\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(answer.to_vec())
}

#[tokio::test]
async fn an_old_front_end_is_reached_by_openssl_and_not_by_rustls() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new("contoso");
    let (_child, port, _files) = old_server(&authority, &["-tls1_2", "-cipher", SUITES_2012_R2]).await;
    let ours = Files::new(rsa(&authority, "rccgw.contoso.com"), authority.pem());
    let legacy = connector(Arc::new(LegacyEngine::new(ours.options(&[])).unwrap()));
    assert_eq!(reversed(&legacy, port).await.unwrap(), b"OFNI\n");
    let error = reversed(&connector(rustls(ours.options(&[]))), port).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("handshake"), "{error}");
    assert_eq!(reversed(&legacy, port).await.unwrap(), b"OFNI\n");
}

#[tokio::test]
async fn each_suite_of_2012_r2_will_do_alone() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new("contoso");
    let ours = Files::new(rsa(&authority, "rccgw.contoso.com"), authority.pem());
    let legacy = connector(Arc::new(LegacyEngine::new(ours.options(&[])).unwrap()));
    for suite in SUITES_2012_R2.split(':') {
        let (_child, port, _files) = old_server(&authority, &["-tls1_2", "-cipher", suite]).await;
        assert_eq!(reversed(&legacy, port).await.unwrap(), b"OFNI\n", "{suite}");
    }
}

#[tokio::test]
async fn tls_1_0_is_spoken_only_where_it_is_switched_on() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new("contoso");
    let (_child, port, _files) = old_server(&authority, &["-tls1", "-cipher", "AES256-SHA:@SECLEVEL=0"]).await;
    let ours = Files::new(rsa(&authority, "rccgw.contoso.com"), authority.pem());
    let default = connector(Arc::new(LegacyEngine::new(ours.options(&[])).unwrap()));
    assert!(reversed(&default, port).await.is_err());
    let options = TlsOptions { version_min: TlsVersion::Tls10, ..ours.options(&[]) };
    let opted_in = connector(Arc::new(LegacyEngine::new(options).unwrap()));
    assert_eq!(reversed(&opted_in, port).await.unwrap(), b"OFNI\n");
}

#[tokio::test]
async fn the_cipher_list_is_obeyed() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new("contoso");
    let (_child, port, _files) = old_server(&authority, &["-tls1_2", "-cipher", "AES128-SHA"]).await;
    let ours = Files::new(rsa(&authority, "rccgw.contoso.com"), authority.pem());
    for (ciphers, reached) in [("AES128-SHA", true), ("AES256-GCM-SHA384", false)] {
        let options = TlsOptions { legacy_ciphers: Some(ciphers.to_owned()), ..ours.options(&[]) };
        let answer = reversed(&connector(Arc::new(LegacyEngine::new(options).unwrap())), port).await;
        assert_eq!(answer.is_ok(), reached, "{ciphers}");
    }
    let options = TlsOptions { legacy_ciphers: Some("NO-SUCH-SUITE".to_owned()), ..ours.options(&[]) };
    assert!(matches!(LegacyEngine::new(options), Err(TlsError::OpenSsl(_))));
}

#[tokio::test]
async fn an_old_front_end_that_is_not_who_it_says_gets_no_byte_of_ours() {
    if !is_installed() {
        return;
    }
    let (authority, other) = (Authority::new("contoso"), Authority::new("contoso"));
    let (_child, port, _files) = old_server(&other, &["-tls1_2", "-cipher", SUITES_2012_R2]).await;
    let ours = Files::new(rsa(&authority, "rccgw.contoso.com"), authority.pem());
    let legacy = connector(Arc::new(LegacyEngine::new(ours.options(&[])).unwrap()));
    assert_eq!(reversed(&legacy, port).await.unwrap_err().kind(), io::ErrorKind::InvalidData);

    let (_child, port, _files) = old_server(&authority, &["-tls1_2", "-cipher", SUITES_2012_R2]).await;
    let error = legacy.connect("127.0.0.1", port, true).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "the certificate names localhost, not the address");
}

/// What an old front end as the client hears after it has said INFO.
async fn heard_by_client(files: &Files, address: SocketAddr) -> Vec<u8> {
    let connect = address.to_string();
    let limits = ["s_client", "-quiet", "-tls1_2", "-cipher", SUITES_2012_R2, "-connect", &connect];
    let mut child = tool(files, &limits).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(b"INFO").await;
    let mut answer = [0; 4];
    let heard = child.stdout.take().unwrap().read_exact(&mut answer).await;
    drop(input);
    heard.map_or(Vec::new(), |_| answer.to_vec())
}

#[tokio::test]
async fn an_old_front_end_comes_in_by_openssl_and_not_by_rustls() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new("contoso");
    let ours = Files::new(rsa(&authority, "localhost"), authority.pem());
    let options = ours.options(&["*.contoso.com"]);
    let theirs = Files::new(rsa(&authority, "fe01.contoso.com"), authority.pem());

    let legacy = Arc::new(LegacyEngine::new(options.clone()).unwrap());
    let mut reachable = echo(ListenOptions::default(), Some(legacy)).await;
    assert_eq!(heard_by_client(&theirs, reachable.address).await, b"INFO");
    assert_eq!(reachable.peers.recv().await.unwrap().names, ["fe01.contoso.com"]);

    let unreachable = echo(ListenOptions::default(), Some(rustls(options))).await;
    assert_eq!(heard_by_client(&theirs, unreachable.address).await, b"");
    unreachable.until_refused(Refused::HandshakeFailed, 1).await;

    let stranger = Files::new(rsa(&authority, "fe01.fabrikam.com"), authority.pem());
    assert_eq!(heard_by_client(&stranger, reachable.address).await, b"");
    reachable.until_refused(Refused::CertificateNameNotAllowed, 1).await;
}

#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_a_bad_one_is_not_taken() {
    let authority = Authority::new("contoso");
    let (files, options) = gateway(&authority);
    let engine: Arc<dyn TlsEngine> = Arc::new(LegacyEngine::new(options).unwrap());
    let echo = echo(ListenOptions::default(), Some(Arc::clone(&engine))).await;
    let friend = front_end(&authority);
    assert_alive(echo.address, &friend, true).await.unwrap();
    let (certificate, key) = authority.issue(&Wanted { not_after_year: 2091, ..Wanted::named("localhost") });
    let before = engine.certificate();
    files.write("certificate.pem", &certificate);
    assert!(matches!(engine.reload(), Err(TlsError::KeyMismatch)));
    assert_eq!(engine.certificate(), before);
    files.write("key.pem", "not a key");
    assert!(matches!(engine.reload(), Err(TlsError::NoKey { .. })));
    files.write("key.pem", &key);
    assert_eq!(engine.reload().unwrap(), Reloaded::Changed);
    assert!(engine.certificate().not_after_unix_s > before.not_after_unix_s);
    assert_alive(echo.address, &friend, true).await.unwrap();
}
