//! Header fields: Via, Max-Forwards, sizes, and what the RFC's torture messages hold.

use std::fs;
use std::path::Path;

use crate::raw::{CSTA, Raw, invite, one_shot, options, status_request, statuses, whole};
use crate::rig::{account, run};

#[test]
fn any_via_is_answered_and_our_own_is_a_loop() {
    run("", "", async |rig| {
        rig.under(async {
            let mut raw = Raw::connect(rig.address()).await;
            let vias: String =
                (0..69).map(|at| format!("Via: SIP/2.0/TCP 10.1.0.{at}:5060;branch=z9hG4bK{at}\r\n")).collect();
            raw.say(options("seventy", &vias)).await;
            let answer = raw.answer().await.unwrap();
            assert_eq!((answer.status(), answer.headers.fields("Via").count()), (Some(200), 70));
            // Microsoft clients leave the branch out.
            let branchless = options("branchless", "").replace(";branch=z9hG4bKbranchless", "");
            assert_eq!(raw.ask(branchless).await, Some(200));
            let ours = format!("Via: SIP/2.0/TCP localhost:{};branch=z9hG4bKours\r\n", rig.address().port());
            assert_eq!(raw.ask(options("loop", &ours)).await, Some(482), "RFC 3261 §8.2.2.2");
            // We are where it ends: a hop that is not taken cannot be one too many (RFC 3261 §16.3 is for proxies).
            let last = options("last", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
            assert_eq!(raw.ask(last).await, Some(200));
            for bad in ["Max-Forwards: -1", "Max-Forwards: x", "Max-Forwards: 4294967296"] {
                let text = options("bad", "").replace("Max-Forwards: 70", bad);
                assert_eq!(raw.ask(text).await, Some(400), "{bad}");
            }
            raw.say(options("none", "").replace("Via: ", "X-Via: ")).await;
            assert!(raw.is_open().await, "without a Via there is nobody to answer");
        })
        .await;
    });
}

#[test]
fn a_field_of_any_length_gets_an_answer_or_ends_its_flow() {
    const FIELDS: &[&str] = &[
        "REQUEST-USER",
        "VIA-HOST",
        "VIA-BRANCH",
        "FROM-NAME",
        "FROM-USER",
        "FROM-TAG",
        "TO-NAME",
        "TO-USER",
        "CALL-ID",
        "CSEQ",
        "CONTACT-USER",
        "CONTACT-PARAM",
        "RECORD-ROUTE",
        "ROUTE",
        "USER-AGENT",
        "EXPIRES",
        "SUPPORTED",
        "REQUIRE",
        "ASSERTED",
        "SUBJECT",
        "EPID",
        "CONTENT-TYPE",
        "LINE",
    ];
    run("", "", async |rig| {
        rig.under(async {
            let carol = account(2);
            for field in FIELDS {
                for length in [0, 1, 255, 256, 4 * 1024, 64 * 1024] {
                    let long = |name: &str, usual: &str| match name == *field {
                        true => "7".repeat(length),
                        false => usual.to_owned(),
                    };
                    let call_id = format!("{field}-{length}");
                    let to = |tag: &str| {
                        format!(
                            "Via: SIP/2.0/TCP {};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\nFrom: \"{}\" <sip:{}@contoso.com>;tag={};\
                             epid={}\r\nTo: \"{}\" <sip:{}@localhost>{tag}\r\nCall-ID: {}\r\n",
                            long("VIA-HOST", "10.0.0.66:5060"),
                            long("VIA-BRANCH", &call_id),
                            long("FROM-NAME", "Carol"),
                            long("FROM-USER", "carol"),
                            long("FROM-TAG", "m1"),
                            long("EPID", "0123456789"),
                            long("TO-NAME", "Gateway"),
                            long("TO-USER", "rccgw"),
                            long("CALL-ID", &call_id),
                        )
                    };
                    let head = format!(
                        "INVITE sip:{}@localhost SIP/2.0\r\n{}CSeq: {} INVITE\r\nContact: <sip:{}@10.0.0.66>;x={}\r\n\
                         Record-Route: <sip:{}@fe01.contoso.com;lr>\r\nRoute: <sip:{}@localhost;lr>\r\nUser-Agent: {}\r\n\
                         Session-Expires: {}\r\nSupported: timer,{}\r\n{}{}Subject: {}\r\nContent-Type: {}\r\n",
                        long("REQUEST-USER", "rccgw"),
                        to(""),
                        long("CSEQ", "1"),
                        long("CONTACT-USER", "carol"),
                        long("CONTACT-PARAM", "1"),
                        long("RECORD-ROUTE", "opaque"),
                        long("ROUTE", "opaque"),
                        long("USER-AGENT", "UCCAPI/4.0"),
                        long("EXPIRES", "1800"),
                        long("SUPPORTED", "x"),
                        if *field == "REQUIRE" { format!("Require: {}\r\n", long("REQUIRE", "")) } else { String::new() },
                        if *field == "ASSERTED" { format!("P-Asserted-Identity: <sip:{}@contoso.com>\r\n", long("ASSERTED", "")) } else { String::new() },
                        long("SUBJECT", "s"),
                        long("CONTENT-TYPE", "application/csta+xml"),
                    );
                    let mut raw = Raw::connect(rig.address()).await;
                    raw.say(whole(head, &status_request(&long("LINE", &carol.line)))).await;
                    let answer = raw.answer().await;
                    let status = answer.as_ref().and_then(|answer| answer.status());
                    assert!(status.is_none_or(|status| status == 200 || (400..600).contains(&status)), "{call_id}: {status:?}");
                    if length == 64 * 1024 {
                        assert!(!matches!(status, Some(200)), "{call_id} is over the limit of a head or of a line");
                    }
                    if let Some(answer) = answer.filter(|_| status == Some(200)) {
                        let tag = answer.headers.to().unwrap().tag().unwrap().to_owned();
                        let bye = format!("BYE sip:rccgw@localhost SIP/2.0\r\n{}CSeq: 4711 BYE\r\n", to(&format!(";tag={tag}")));
                        let mut raw = Raw::connect(rig.address()).await;
                        assert_eq!(raw.ask(whole(bye, "")).await, Some(200), "{call_id}");
                    }
                }
            }
        })
        .await;
        assert!(rig.counted("session_end", "signed_out") > 50, "many of them are good sign-ins");
    });
}

#[test]
fn what_is_spelled_wrong_is_refused_and_never_read_otherwise() {
    run("", "", async |rig| {
        rig.under(async {
            let good = invite(&account(2).user, &account(2).line, "c1", "");
            let with = |from: &str, to: &str| {
                assert!(good.contains(from));
                good.replacen(from, to, 1)
            };
            let wrong = [
                with("From: <", "From: \"Carol <"),
                with("To: <", "To: \"<"),
                with("Contact: <", "Contact: \"x <"),
                with("User-Agent: ", ": "),
                with("User-Agent: ", "User Agent: "),
                with("Max-Forwards: 70", "Max-Forwards\u{1}: 70"),
                with("Call-ID: ", "Call-ID\0: "),
                with("Call-ID: c1", "Call-ID: c\u{0}1"),
                with("From: ", "From\u{a0}: "),
                with(";tag=m1", ""),
                with("CSeq: 1 INVITE\r\n", ""),
                with("Call-ID: c1\r\n", ""),
                with("SIP/2.0\r\n", "SIP/3.0\r\n"),
                with("From: ", "From: <sip:x@y>;tag=2\r\nFrom: "),
                with("Call-ID: ", "Call-ID: other\r\nCall-ID: "),
                with("CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nCSeq: 2 INVITE"),
                with("INVITE sip:", "INVITE  sip:"),
                with("INVITE sip:rccgw@localhost", "INVITE <sip:rccgw@localhost>"),
                good.replace("\r\n", "\n"),
                good.replace("\r\n", "\r"),
                with("\r\nMax-Forwards", "\nMax-Forwards"),
                with("\r\nMax-Forwards", "\r\n \r\nMax-Forwards"),
            ];
            for text in wrong {
                let answers = one_shot(rig.address(), &text, true).await;
                assert!(matches!(statuses(&answers)[..], [] | [400 | 505]), "{:?} to {text}", statuses(&answers));
            }
            assert_eq!(rig.sessions_count(), 2, "nobody was signed in");
        })
        .await;
    });
}

#[test]
fn every_torture_message_sent_whole_is_answered_or_dropped() {
    // RFC 4475 and RFC 5118
    run("", "", async |rig| {
        rig.under(async {
            for folder in ["tests/rfc4475", "tests/rfc5118"] {
                let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
                let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
                files.sort();
                assert!(files.len() >= 10);
                for file in files {
                    let name = file.file_name().unwrap().to_string_lossy().into_owned();
                    let bytes = fs::read(&file).unwrap();
                    let answers = one_shot(rig.address(), &bytes, true).await;
                    for status in statuses(&answers) {
                        let is_options = bytes.starts_with(b"OPTIONS");
                        assert!(status >= 400 || is_options && status == 200, "{name}: {status}");
                    }
                    // Twice on one connection, with a good request behind.
                    let twice = [&bytes[..], &bytes, options("behind", "").as_bytes()].concat();
                    one_shot(rig.address(), twice, true).await;
                }
            }
            let bad_type = whole(options("type", "").trim_end().replace("OPTIONS", "INVITE") + "\r\n" + CSTA, "<x/>");
            assert_eq!(statuses(&one_shot(rig.address(), bad_type, true).await), [400]);
        })
        .await;
    });
}
