//! The example files of `deploy/` are what their readers take them for: configurations that are good once the certificates are
//! there, and units that are as shut in as INSTALL.md says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lyncpin");

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder with the certificates, named as the examples name them, and the example users.
fn etc() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made =
        Command::new(PROGRAM).args(["certs", "--fqdn", "rccgw.contoso.com", "--dir"]).arg(folder.path()).output();
    assert!(made.as_ref().unwrap().status.success(), "{}", said(&made.unwrap()));
    for (from, to) in [("sip.pem", "rccgw.pem"), ("sip.key", "rccgw.key"), ("sip-ca.pem", "contoso-ca.pem")] {
        fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    }
    fs::write(folder.path().join("admin-token"), "a long random token").unwrap();
    fs::copy(deploy("users.csv"), folder.path().join("users.csv")).unwrap();
    folder
}

fn check(file: &Path) -> serde_json::Value {
    let checked = Command::new(PROGRAM).arg("check-config").arg("--json").arg(file).output().unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&checked.stdout).unwrap_or_else(|_| panic!("{}", said(&checked)));
    assert!(checked.status.success(), "{report:#}");
    report
}

#[test]
fn the_example_configurations_are_good() {
    let etc = etc();
    // The pair's balancer asks after the nodes' health itself, and the warning says that it is allowed to for that alone.
    for (file, links, warnings) in [("lyncpin.toml", 2, 0), ("pair.toml", 2, 1), ("witness.toml", 0, 0)] {
        let text = fs::read_to_string(deploy(file)).unwrap();
        let own = text.replace("/etc/lyncpin", &etc.path().display().to_string());
        fs::write(etc.path().join(file), own).unwrap();
        let report = check(&etc.path().join(file));
        let found = ["faults", "warnings", "links"].map(|key| report[key].as_i64());
        assert_eq!(found, [Some(0), Some(warnings), Some(links)], "{file}: {report:#}");
    }
}

/// The files of the config map: `  NAME: |` and what is indented below it.
fn config_map(manifest: &str) -> Vec<(String, String)> {
    let map = manifest.split("\n---\n").find(|one| one.contains("kind: ConfigMap")).unwrap();
    let mut files: Vec<(String, String)> = Vec::new();
    for line in map.lines() {
        if let Some(name) = line.strip_suffix(": |") {
            files.push((name.trim().to_owned(), String::new()));
        } else if let (Some(text), Some((_, file))) = (line.strip_prefix("    "), files.last_mut()) {
            *file += text;
            file.push('\n');
        }
    }
    files
}

#[test]
fn each_pod_makes_itself_a_configuration_that_is_good() {
    let (certs, run) = (etc(), tempfile::tempdir().unwrap());
    let at = |name: &str| run.path().join(name);
    fs::create_dir(at("config")).unwrap();
    let manifest = fs::read_to_string(deploy("kubernetes/lyncpin.yaml")).unwrap();
    for (name, text) in config_map(&manifest) {
        let text = text
            .replace("/certs/", &format!("{}/", certs.path().display()))
            .replace("/config/", &format!("{}/", at("config").display()))
            .replace("/run/lyncpin/", &format!("{}/", run.path().display()))
            .replace("exec lyncpin", "echo lyncpin");
        fs::write(at("config").join(name), text).unwrap();
    }
    for (pod, role, links, id, command) in [
        ("node-0", "node", 1, "id = 1\n", "lyncpin serve"),
        ("node-1", "node", 1, "id = 2\n", "lyncpin serve"),
        ("witness-0", "witness", 0, "id = 3\n", "lyncpin witness"),
    ] {
        assert!(manifest.contains(&format!("[sh, /config/start.sh, {role}]")));
        let started = Command::new("sh").arg(at("config/start.sh")).arg(role).env("HOSTNAME", pod).output().unwrap();
        assert!(started.status.success() && said(&started).starts_with(command), "{pod}: {}", said(&started));
        assert!(fs::read_to_string(at("lyncpin.toml")).unwrap().contains(id), "{pod}");
        assert_eq!(check(&at("lyncpin.toml"))["links"], links, "{pod}");
    }
}

#[test]
fn the_units_are_shut_in_and_start_what_there_is() {
    for (unit, command) in [("lyncpin", "serve"), ("lyncpin-witness", "witness")] {
        let path = deploy(&format!("systemd/{unit}.service"));
        let text = fs::read_to_string(&path).unwrap();
        for line in ["Type=notify", "Restart=always", "StartLimitIntervalSec=0", "WatchdogSec=10s", "User=lyncpin"] {
            assert!(text.lines().any(|one| one == line), "{unit}: {line}");
        }
        assert!(text.contains(&format!("ExecStart=/usr/bin/lyncpin {command} --config /etc/lyncpin/")), "{unit}");
        let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager"];
        let Ok(scored) = Command::new("systemd-analyze").args(arguments).arg(&path).output() else {
            let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
            assert!(!required, "systemd-analyze is required and not installed: apt-get install systemd");
            eprintln!("\n*** NOT TESTED: systemd-analyze is not installed (apt-get install systemd) ***\n");
            continue;
        };
        // Ten is all open; the threshold is in tenths.
        assert!(scored.status.success(), "{unit} is more exposed than 1.5: {}", said(&scored));
    }
}

#[test]
fn the_guide_explains_every_reason_for_a_refused_sign_in() {
    let guide = fs::read_to_string(deploy("LYNC.md")).unwrap();
    for refusal in lyncpin::machine::refusal::Refusal::ALL {
        assert!(guide.contains(&format!("| `{}` |", refusal.name())), "{refusal}");
    }
}

#[test]
fn the_guides_name_commands_and_files_that_there_are() {
    let help = said(&Command::new(PROGRAM).args(["ctl", "--help"]).output().unwrap());
    let mut commands = 0;
    for guide in ["INSTALL.md", "UPGRADE.md", "SECURITY.md", "RUNBOOK.md", "LYNC.md"] {
        let text = fs::read_to_string(deploy(guide)).unwrap();
        for named in text.split("lyncpin ctl ").skip(1) {
            let name: String = named.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            // "`lyncpin ctl` shows": no command of it.
            if !name.is_empty() {
                assert!(
                    help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
                    "{guide}: ctl {name}"
                );
                commands += 1;
            }
        }
        let folders = ["haproxy/", "kamailio/", "keepalived/", "systemd/", "prometheus/", "grafana/"];
        for named in text.split(['`', ' ']).filter(|word| folders.iter().any(|folder| word.starts_with(folder))) {
            assert!(deploy(named.trim_end_matches(['.', ',', ';'])).exists(), "{guide}: {named}");
        }
    }
    assert!(commands > 10, "{commands}");
}
