use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;

async fn port(pbx: &PbxLab) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(pbx.control_address().unwrap()).await.unwrap())
}

async fn ask(port: &mut BufReader<TcpStream>, line: &str) -> Value {
    port.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(PATIENCE, port.read_line(&mut reply)).await.unwrap().unwrap();
    serde_json::from_str(&reply).unwrap()
}

#[tokio::test]
async fn phones_are_worked_by_lines_of_json() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut port = port(&pbx).await;
    let rung = ask(&mut port, r#"{"op":"ring","device":"5101","from":"+14255550202"}"#).await;
    assert_eq!(rung, serde_json::json!({"ok": true, "reply": "call", "call": "1001"}));
    for line in [
        r#"{"op":"answer","device":"5101"}"#,
        r#"{"op":"hold","device":"5101"}"#,
        r#"{"op":"retrieve","device":"5101","call":"1001"}"#,
        r#"{"op":"hangup","device":"+14255550202"}"#,
        r#"{"op":"forward","device":"5102","to":"5103"}"#,
        r#"{"op":"dnd","device":"5104","on":true}"#,
        r#"{"op":"mwi","device":"5104","on":true}"#,
        r#"{"op":"add_devices","first":"7001","count":2}"#,
        r#"{"op":"dial","device":"7001","to":"7002"}"#,
        r#"{"op":"answer","call":"1002"}"#,
        r#"{"op":"freeze","link":"pbx1","on":true}"#,
        r#"{"op":"heal"}"#,
    ] {
        let reply = ask(&mut port, line).await;
        assert_eq!(reply["ok"], true, "{line} {reply}");
    }
    let calls = ask(&mut port, r#"{"op":"calls"}"#).await;
    assert_eq!(calls["calls"][0]["parties"][1]["state"], "connected");
    let stats = ask(&mut port, r#"{"op":"stats"}"#).await;
    assert_eq!((&stats["calls"], &stats["devices"]), (&1.into(), &101.into()));
    let history = ask(&mut port, r#"{"op":"history","after":2,"max":1}"#).await;
    assert_eq!(history["entries"][0]["request"]["op"], "hold");
    assert_eq!(history["dropped"], 0);
    let links = ask(&mut port, r#"{"op":"links"}"#).await;
    assert_eq!(links["links"][0]["faults"]["system_status"], "normal");
}

#[tokio::test]
async fn nonsense_is_answered_and_changes_nothing() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut port = port(&pbx).await;
    for (line, what) in [
        ("garbage", "unreadable"),
        ("[]", "unreadable"),
        (r#"{"op":"explode"}"#, "unreadable"),
        (r#"{"op":"ring"}"#, "unreadable"),
        (r#"{"op":"dnd","device":"5101","on":"yes"}"#, "unreadable"),
        (r#"{"op":"drop","link":"nowhere"}"#, "no_such_link"),
        (r#"{"op":"answer","device":"5101"}"#, "no_such_call"),
        (r#"{"op":"answer"}"#, "no_such_party"),
        (r#"{"op":"hangup","device":"5101","call":"x"}"#, "no_such_call"),
        (r#"{"op":"add_devices","first":"a","count":1}"#, "cannot_add_devices"),
        (r#"{"op":"add_devices","first":"1","count":99999999999}"#, "cannot_add_devices"),
    ] {
        let reply = ask(&mut port, line).await;
        assert_eq!((&reply["ok"], &reply["error"]["what"]), (&false.into(), &what.into()), "{line}");
    }
    let refused = ask(&mut port, r#"{"op":"dial","device":"5101","to":"5101"}"#).await;
    assert_eq!(refused["reply"], "refused");
    assert_eq!(ask(&mut port, r#"{"op":"stats"}"#).await["calls"], 0);
}

#[tokio::test]
async fn a_huge_line_is_answered_once_and_skipped() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut port = port(&pbx).await;
    let huge = "x".repeat(LINE_BYTES_MAX * 2);
    port.write_all(huge.as_bytes()).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(PATIENCE, port.read_line(&mut reply)).await.expect("answered before its end").unwrap();
    assert!(reply.contains("too_long"), "{reply}");
    port.write_all(format!("{huge}{huge}\n").as_bytes()).await.unwrap();
    assert_eq!(ask(&mut port, r#"{"op":"stats"}"#).await["ok"], true, "the next line is read as ever");
}
