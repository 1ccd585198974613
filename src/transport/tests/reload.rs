//! Certificates that change under a running listener.

use super::certificates::*;
use super::*;

async fn greeted(address: SocketAddr, connector: &Connector) -> Option<Stream> {
    let mut stream = connector.connect("localhost", address.port(), true).await.ok()?;
    (said_back(&mut stream).await == b"INFO").then_some(stream)
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_while_old_ones_live() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (files, options) = gateway(&old);
    let engine = rustls(options);
    let echo = echo(ListenOptions::default(), Some(Arc::clone(&engine))).await;
    let (of_old, of_new) = (front_end(&old), front_end(&new));
    let mut living = greeted(echo.address, &of_old).await.unwrap();
    assert!(greeted(echo.address, &of_new).await.is_none());

    let (certificate, key) = new.issue(&Wanted { not_after_year: 2091, ..Wanted::named("localhost") });
    files.write("certificate.pem", &certificate);
    files.write("key.pem", &key);
    files.write("authorities.pem", new.pem());
    let before = engine.certificate();
    assert_eq!(engine.reload().unwrap(), Reloaded::Changed);
    assert_eq!(engine.reload().unwrap(), Reloaded::Unchanged);
    assert!(engine.certificate().not_after_unix_s > before.not_after_unix_s);

    assert!(greeted(echo.address, &of_new).await.is_some());
    assert!(greeted(echo.address, &of_old).await.is_none(), "a withdrawn authority lets nobody in any more");
    assert_eq!(said_back(&mut living).await, b"INFO");
}

#[tokio::test]
async fn bad_new_files_leave_the_old_ones_in_use_and_say_why() {
    let authority = Authority::new("contoso");
    let (files, options) = gateway(&authority);
    let engine = rustls(options);
    let echo = echo(ListenOptions::default(), Some(Arc::clone(&engine))).await;
    let connector = front_end(&authority);
    let good: Vec<(&str, String)> = ["certificate.pem", "key.pem", "authorities.pem"]
        .map(|name| (name, std::fs::read_to_string(files.path(name)).unwrap()))
        .to_vec();
    let localhost = Wanted::named("localhost");
    let other = authority.issue(&localhost).0;
    let expired = authority.issue(&Wanted { not_after_year: 2021, ..localhost });
    type IsExpected = fn(&TlsError) -> bool;
    let cases: [(&[(&str, &str)], IsExpected); 7] = [
        (&[("certificate.pem", "")], |error| matches!(error, TlsError::NoCertificate { .. })),
        (&[("certificate.pem", &other)], |error| matches!(error, TlsError::KeyMismatch)),
        (&[("key.pem", "not a key")], |error| matches!(error, TlsError::Pem { .. })),
        (&[("key.pem", &good[1].1[..60])], |error| matches!(error, TlsError::Pem { .. })),
        (&[("authorities.pem", "")], |error| matches!(error, TlsError::NoCertificate { .. })),
        (&[("authorities.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")], |error| {
            matches!(error, TlsError::BadCertificate { .. })
        }),
        (&[("certificate.pem", &expired.0), ("key.pem", &expired.1)], |error| {
            matches!(error, TlsError::Expired { .. })
        }),
    ];
    for (changes, is_expected) in cases {
        for (name, text) in changes {
            files.write(name, text);
        }
        let error = engine.reload().unwrap_err();
        assert!(is_expected(&error), "{changes:?}: {error:?}");
        assert!(greeted(echo.address, &connector).await.is_some(), "{changes:?}");
        for (name, text) in &good {
            files.write(name, text);
        }
        assert_eq!(engine.reload().unwrap(), Reloaded::Unchanged);
    }
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(matches!(engine.reload(), Err(TlsError::Read { .. })));
    assert!(greeted(echo.address, &connector).await.is_some());
}

#[tokio::test]
async fn watching_reports_each_change_and_each_error_once() {
    let authority = Authority::new("contoso");
    let (files, options) = gateway(&authority);
    let (reports_in, mut reports) = tokio::sync::mpsc::channel(16);
    let watching = tokio::spawn(watch(rustls(options), Duration::from_millis(5), move |report| {
        reports_in.try_send(report.is_ok()).unwrap();
    }));
    let (certificate, key) = authority.issue(&Wanted::named("localhost"));
    // The key first: until the certificate follows they do not fit together.
    files.write("key.pem", &key);
    assert_eq!(reports.recv().await, Some(false));
    files.write("certificate.pem", &certificate);
    assert_eq!(reports.recv().await, Some(true));
    assert!(reports.try_recv().is_err());
    watching.abort();
}

#[test]
fn files_that_are_bad_from_the_start_do_not_start() {
    let authority = Authority::new("contoso");
    let (files, options) = gateway(&authority);
    files.write("key.pem", "");
    assert!(matches!(RustlsEngine::new(options.clone()), Err(TlsError::Pem { .. })));
    std::fs::remove_file(files.path("authorities.pem")).unwrap();
    assert!(matches!(RustlsEngine::new(options), Err(TlsError::Read { .. })));
}
