//! What an operator watches: every alert says what to do about it, comes when it should, and asks for figures that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lyncpin::admin::metric_names;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy().join(file)).unwrap()
}

/// What follows a word at the beginning of lines.
fn after(text: &str, word: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(word)).map(|rest| rest.trim().to_owned()).collect()
}

fn metrics_named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("lyncpin_")).collect()
}

#[test]
fn every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() {
    let rules = read("prometheus/rules.yml");
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() > 15, "{alerts:?}");
    let runbook = read("RUNBOOK.md");
    assert_eq!(alerts, after(&runbook, "## "), "in the same order");
    let anchors: Vec<String> = alerts.iter().map(|alert| format!("RUNBOOK.md#{}", alert.to_lowercase())).collect();
    assert_eq!(after(&rules, "runbook: "), anchors, "each alert leads to its entry");
    for entry in runbook.split("\n## ").skip(1) {
        assert!(entry.lines().skip(1).any(|line| line.len() > 40), "an entry says what to do: {entry}");
    }
}

#[test]
fn rules_and_dashboard_ask_for_figures_that_there_are() {
    let known: BTreeSet<&str> = metric_names().collect();
    let rules = read("prometheus/rules.yml");
    let unknown: Vec<_> = metrics_named(&rules).difference(&known).copied().collect();
    assert_eq!(unknown, [""; 0], "in the rules");
    let dashboard = read("grafana/lyncpin.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let unknown: Vec<_> = metrics_named(&dashboard).difference(&known).copied().collect();
    assert_eq!(unknown, [""; 0], "on the dashboard");
}

#[test]
fn every_alert_is_played_through_by_promtool() {
    let tests = read("prometheus/tests.yml");
    for alert in after(&read("prometheus/rules.yml"), "- alert: ") {
        let fires = tests.split("alertname: ").any(|case| {
            let (name, expected) = case.split_once('\n').unwrap_or_default();
            name.trim() == alert && expected.trim_start().starts_with("exp_alerts:\n")
        });
        assert!(fires, "no test has {alert} firing");
    }
    let promtool =
        |arguments: &[&str]| Command::new("promtool").args(arguments).current_dir(deploy().join("prometheus")).output();
    let Ok(checked) = promtool(&["check", "rules", "rules.yml"]) else {
        let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
        assert!(!required, "promtool is required and not installed: apt-get install prometheus");
        eprintln!("\n*** NOT TESTED: promtool is not installed (apt-get install prometheus) ***\n");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let played = promtool(&["test", "rules", "tests.yml"]).unwrap();
    let said = String::from_utf8_lossy(&played.stdout) + String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{said}");
}
