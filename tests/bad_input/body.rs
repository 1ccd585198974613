//! CSTA bodies that are cut, nested, referring, or endless.

use lyncpin::lab::pbx::{HistoryPage, Reply, Request};

use crate::raw::{HandMade, service};
use crate::rig::{account, run};

fn make_call(to: &str) -> String {
    let line = account(2).line;
    service(
        "MakeCall",
        &format!("<callingDevice>{line}</callingDevice><calledDirectoryNumber>tel:{to}</calledDirectoryNumber>"),
    )
}

#[test]
fn a_body_cut_at_any_byte_is_refused_and_dials_nothing() {
    run("", "", async |rig| {
        rig.under(async {
            let mut made = HandMade::sign_in(rig.address(), 2, "cut").await;
            let body = make_call("+14255550199");
            for length in 1..body.len() {
                let status = made.ask(&body[..length]).await.status();
                assert_eq!(status, Some(400), "cut at {length}: {}", &body[..length]);
            }
            let Reply::History(HistoryPage { entries, .. }) =
                rig.pbx().control(Request::History { after: 0, max: 10_000 }).await
            else {
                panic!("a history");
            };
            let dialled = entries.iter().filter(|entry| format!("{entry:?}").contains("5550199")).count();
            assert_eq!(dialled, 0);
            made.bye().await;
        })
        .await;
    });
}

#[test]
fn xml_that_explodes_refers_or_nests_is_refused() {
    run("", "", async |rig| {
        rig.under(async {
            let mut made = HandMade::sign_in(rig.address(), 2, "xml").await;
            let call = make_call("+14255550199");
            let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;\">]>";
            let external = "<!DOCTYPE m [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
            let wrong = [
                format!("{laughs}{}", call.replace("tel:", "&c;")),
                format!("{external}{}", call.replace("tel:", "&x;")),
                call.replace("tel:", "&x;"),
                format!("<!DOCTYPE m SYSTEM \"http://127.0.0.1:9/x.dtd\">{call}"),
                "<a>".repeat(20_000),
                format!("{}{}", "<a>".repeat(8_000), "</a>".repeat(8_000)),
                format!("<MakeCall {}/>", (0..5_000).map(|at| format!("a{at}=\"\" ")).collect::<String>()),
                format!("<MakeCall>{}</MakeCall>", "<x/>".repeat(15_000)),
                "\u{feff}\u{feff}<".to_owned(),
                "<MakeCall></MakeCal>".to_owned(),
                "<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>".to_owned(),
                format!("<![CDATA[{}", "]]".repeat(10_000)),
                format!("<!--{}", "-".repeat(60_000)),
                "&".repeat(60_000),
            ];
            for body in wrong {
                let answer = made.ask(&body).await;
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                let is_refused = answer.status() == Some(400) || text.contains("CSTAErrorCode");
                assert!(is_refused, "{:?} {text} to {:.80}", answer.status(), body);
                assert!(!text.contains("root:"), "{text}");
            }
            made.bye().await;
        })
        .await;
    });
}
