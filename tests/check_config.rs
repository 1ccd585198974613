//! `lyncpin check-config` over the files in `tests/scripts/check-config`: each prints exactly its `.expected`, which
//! begins with the exit status. `LYNCPIN_BLESS=1` writes the files anew; read the difference before keeping it.

use std::path::Path;
use std::process::{Command, Output};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/check-config"))
}

fn check_config(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
    command.arg("check-config").args(arguments).current_dir(folder()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a report is UTF-8")
}

#[test]
fn each_file_prints_its_expected_report() {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).expect("folder") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let output = check_config(&[name]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let status = output.status.code().expect("a status");
        assert_eq!(
            status == 0,
            err.is_empty(),
            "{name}: faults go to standard error, a good report to standard output"
        );
        let report = format!("status {status}\n{out}{err}");
        let expected = path.with_extension("expected");
        if std::env::var_os("LYNCPIN_BLESS").is_some() {
            std::fs::write(&expected, &report).expect("written");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(report, expected, "{name}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked} files");
}

#[test]
fn json_says_the_same_to_programs() {
    let output = check_config(&["many-faults.toml", "--json"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = report["problems"].as_array().expect("a list");
    let faults = problems.iter().filter(|problem| problem["severity"] == "fault").count();
    assert_eq!(report["faults"], faults);
    let ninth = problems.iter().find(|problem| problem["rule"] == "too_many_links").expect("the ninth link");
    assert_eq!((ninth["key"].as_str(), ninth["value"].as_str()), (Some("cti[8].name"), Some("\"cm9\"")));
    assert!(!text(&output.stdout).contains("hunter2"));
    let good = check_config(&["good.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&good.stdout).expect("JSON");
    assert_eq!((good.status.code(), &report["links"], &report["users"]), (Some(0), &1.into(), &1.into()));
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let output = check_config(&["absent.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("-> check the path"), "{}", text(&output.stderr));
}

#[test]
fn the_reference_is_a_file_check_config_understands() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("lyncpin.toml");
    let reference = text(&check_config(&["--reference"]).stdout);
    std::fs::write(&path, format!("{reference}\n[lab]\nembedded_pbx = true\n").replace("\n[lab]\n# Run", "\n# Run"))
        .expect("written");
    let output = check_config(&[path.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
