use clap::Parser;

use super::*;
use crate::client::fake::FakeGateway;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: UsersOptions,
}

fn options(line: &str) -> UsersOptions {
    Line::parse_from(["users", "--quiet"].into_iter().chain(line.split_whitespace())).options
}

async fn run_against(gateway: &FakeGateway, line: &str) -> Report {
    let address = gateway.listen().await;
    run(UsersOptions { gateways: vec![address], ..options(line) }).await.expect("runs")
}

#[tokio::test]
async fn users_sign_in_call_each_other_and_sign_out() {
    let gateway = FakeGateway::with_switch();
    let line = "--users 30 --sign-ins-per-s 2000 --calls-per-s 60 --duration-s 2 --talk-ms 10 --outside-percent 20 \
                --hold-percent 50 --transfer-percent 50";
    let report = run_against(&gateway, line).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.signed_in, report.sign_in.count), (30, 30));
    assert!(report.calls > 0 && report.calls_ok == report.calls, "{report}");
    assert!(report.ring.count > 0 && report.ring_outside.count > 0 && report.answer.count > 0, "{report}");
    let heard = gateway.heard();
    let count = |what: &str| heard.iter().filter(|h| *h == what).count();
    assert_eq!(count("INFO MakeCall") as u64, report.calls);
    assert!(count("INFO SingleStepTransferCall") > 0 && count("INFO HoldCall") > 0);
    assert_eq!(count("BYE"), 30);
}

#[tokio::test]
async fn each_user_may_have_a_connection_of_its_own() {
    let gateway = FakeGateway::with_switch();
    let line = "--users 12 --own-connections --sign-ins-per-s 500 --calls-per-s 20 --duration-s 1 --talk-ms 1";
    let report = run_against(&gateway, line).await;
    assert!(report.is_clean(), "{report}");
    let connections = gateway.received().into_iter().map(|(connection, _)| connection);
    assert_eq!(connections.collect::<std::collections::BTreeSet<_>>().len(), 12);
}

#[tokio::test]
async fn every_call_outside_dials_a_number_of_its_own() {
    let gateway = FakeGateway::with_switch();
    let line = "--users 4 --sign-ins-per-s 500 --calls-per-s 40 --duration-s 1 --talk-ms 1 --outside-percent 100";
    let report = run_against(&gateway, line).await;
    assert!(report.is_clean() && report.calls > 1, "{report}");
    let mut dialled: Vec<String> = gateway
        .received()
        .iter()
        .filter_map(|(_, m)| match crate::csta::decode(&m.body).ok()?.payload {
            crate::csta::Payload::Service(crate::csta::Service::MakeCall { called, .. }) => Some(called),
            _ => None,
        })
        .collect();
    let calls = dialled.len();
    dialled.sort_unstable();
    dialled.dedup();
    assert_eq!((dialled.len(), calls as u64), (calls, report.calls));
}

#[tokio::test]
async fn what_goes_wrong_is_counted_and_named() {
    let gateway = FakeGateway::with_switch();
    // Every event under a wrong cross-reference id: real clients see nothing at all.
    gateway.tamper(|m| {
        if m.method() == Some("INFO") {
            m.body = String::from_utf8_lossy(&m.body).replace("7f3a", "0000").into();
        }
    });
    let line = "--users 2 --sign-ins-per-s 500 --calls-per-s 5 --duration-s 1 --patience-ms 100 --transfer-percent 0";
    let report = run_against(&gateway, line).await;
    assert_eq!((report.exit_code(), report.calls_ok), (1, 0));
    assert!(report.failures.contains_key("no DeliveredEvent at the callee"), "{report}");
    assert!(report.violations.contains_key("WrongXref"), "{report}");
    assert!(report.to_string().contains("WrongXref"));
}

#[tokio::test]
async fn the_demonstration_is_one_whole_call() {
    let gateway = FakeGateway::with_switch();
    let report = run_against(&gateway, "--demo --talk-ms 1").await;
    assert!(report.is_clean() && report.calls_ok == 1, "{report}");
    let heard = gateway.heard();
    let services: Vec<&str> = heard.iter().filter_map(|h| h.strip_prefix("INFO ")).collect();
    let talked = &services[services.iter().position(|s| *s == "MakeCall").expect("a call")..];
    let wanted =
        ["MakeCall", "AnswerCall", "HoldCall", "RetrieveCall", "ClearConnection", "MonitorStop", "MonitorStop"];
    assert_eq!(talked, wanted);
}

#[tokio::test]
async fn a_history_file_has_a_line_for_every_operation() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("history.jsonl");
    let gateway = FakeGateway::with_switch();
    let line = "--users 4 --sign-ins-per-s 500 --calls-per-s 20 --duration-s 1 --talk-ms 1";
    let address = gateway.listen().await;
    let options = UsersOptions { gateways: vec![address], history: Some(file.clone()), ..options(line) };
    let report = run(options).await.expect("runs");
    assert!(report.is_clean(), "{report}");
    let text = std::fs::read_to_string(file).expect("the history");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let calls = lines.iter().filter(|l| l["what"]["Operation"]["op"] == "MakeCall").count();
    assert_eq!(calls as u64, report.calls);
    assert!(lines.iter().any(|l| l["what"]["Event"]["event"] == "DeliveredEvent"));
}

#[tokio::test]
async fn users_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.csv");
    std::fs::write(&file, "sip,line,product\nsip:a@x,tel:+1,lcs2005\nsip:b@x, tel:+2 ,\n").expect("written");
    let found = population::population(&UsersOptions { users_csv: Some(file.clone()), ..options("") });
    let found = found.expect("two users");
    assert_eq!((found[0].user.as_str(), found[1].line.as_str()), ("sip:a@x", "tel:+2"));
    assert_eq!(found[0].product, crate::client::Product::Lcs2005);
    std::fs::write(&file, "user\nsip:a@x\n").expect("written");
    let wrong = population::population(&UsersOptions { users_csv: Some(file), ..options("") });
    assert!(wrong.expect_err("no line").to_string().contains("users.csv: "));
}

#[test]
fn percentages_and_connections_are_bounded() {
    let parse = |line: &str| Line::try_parse_from(["users"].into_iter().chain(line.split_whitespace()));
    assert!(parse("--answer-percent 101").is_err());
    assert!(parse("--connections 5").is_err());
    assert!(parse("--product sfb2015 --connections 4").is_ok());
}
