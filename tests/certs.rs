//! `lyncpin certs`: what it makes is what voters and front ends ask for, and nothing that is there is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use lyncpin_cluster::peer::{Security, node_name};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

fn certs(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lyncpin")).arg("certs").arg("--dir").arg(dir).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// DNS names, and whether it is for clients and for servers.
fn facts(pem: &Path) -> (Vec<String>, bool, bool) {
    let (_, pem) = x509_parser::pem::parse_x509_pem(&fs::read(pem).unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
    let names =
        names.map(|name| if let GeneralName::DNSName(name) = name { (*name).to_owned() } else { panic!("{name}") });
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    (names.collect(), usage.client_auth, usage.server_auth)
}

#[test]
fn each_voter_gets_the_name_that_voters_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let made = certs(dir.path(), &["--voters", "1,2,9,2"]);
    assert!(made.status.success(), "{}", told(&made));
    for id in [1, 2, 9] {
        let file = |end: &str| dir.path().join(format!("node-{id}.{end}"));
        assert_eq!(facts(&file("pem")), (vec![node_name(id)], true, true));
        Security::from_files(&file("pem"), &file("key"), &dir.path().join("voters-ca.pem")).unwrap();
    }
    assert!(!dir.path().join("sip.pem").exists(), "the SIP side was not asked for");
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(certs(dir.path(), &["--fqdn", "rccgw.contoso.com"]).status.success());
    let mut keys = 0;
    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        if entry.path().extension().unwrap() == "key" {
            keys += 1;
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }
    assert_eq!(keys, 6, "two authorities, three voters, one name");
}

#[test]
fn nothing_that_is_there_is_overwritten_and_nothing_is_made_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("node-3.key"), "dear to somebody").unwrap();
    let made = certs(dir.path(), &[]);
    assert_eq!(made.status.code(), Some(1));
    assert!(told(&made).contains("node-3.key is there already"), "{}", told(&made));
    assert_eq!(fs::read_to_string(dir.path().join("node-3.key")).unwrap(), "dear to somebody");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_voter_that_comes_later_gets_its_certificate_of_the_same_authority() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!certs(dir.path(), &["--use-ca", "--voters", "4"]).status.success(), "there is no authority yet");
    assert!(certs(dir.path(), &[]).status.success());
    let before = fs::read(dir.path().join("voters-ca.pem")).unwrap();
    let made = certs(dir.path(), &["--use-ca", "--voters", "4"]);
    assert!(made.status.success(), "{}", told(&made));
    assert_eq!(fs::read(dir.path().join("voters-ca.pem")).unwrap(), before);
    assert_eq!(facts(&dir.path().join("node-4.pem")), (vec![node_name(4)], true, true));
    let verified = Command::new("openssl")
        .args(["verify", "-CAfile", "voters-ca.pem", "node-1.pem", "node-4.pem"])
        .current_dir(dir.path())
        .output();
    // Where there is no openssl, the voters of `layouts` say the same with another authority's word.
    if let Ok(verified) = verified {
        assert!(verified.status.success(), "{}", told(&verified));
    }
}

#[test]
fn the_sip_side_gets_the_pairs_name_and_a_client_that_is_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let made = certs(
        dir.path(),
        &["--fqdn", "rccgw.contoso.com", "--client", "haproxy.contoso.com", "--json", "--days", "30"],
    );
    assert!(made.status.success(), "{}", told(&made));
    assert_eq!(facts(&dir.path().join("sip.pem")), (vec!["rccgw.contoso.com".to_owned()], true, true));
    let client = facts(&dir.path().join("client-haproxy.contoso.com.pem"));
    assert_eq!(client, (vec!["haproxy.contoso.com".to_owned()], true, false));
    let report: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let files = report["files"].as_array().unwrap();
    assert_eq!((files.len(), &report["days"]), (14, &serde_json::json!(30)));
    assert!(files.iter().all(|file| Path::new(file["file"].as_str().unwrap()).exists()));
    assert_eq!(files.iter().filter(|file| file["is_secret"] == true).count(), 7);
    assert!(!told(&made).contains("PRIVATE KEY"), "no secret is printed");
}
