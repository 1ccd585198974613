//! Inside a dialog: CSeq, floods of one dialog, and requests that come too late.

use std::collections::BTreeMap;

use lyncpin::lab::pbx::Request;

use crate::raw::{CSTA, HandMade, Raw, options, service};
use crate::rig::{account, run};

fn features() -> String {
    service("GetCSTAFeatures", "")
}

#[test]
fn a_cseq_that_cannot_be_is_refused_and_the_dialog_goes_on() {
    // RFC 3261 §8.1.1.5, §12.2.2; RFC 4475 §3.1.2.4, §3.1.2.17
    run("", "", async |rig| {
        rig.under(async {
            let mut made = HandMade::sign_in(rig.address(), 2, "cseq").await;
            assert_eq!(made.ask(&features()).await.status(), Some(200));
            for (cseq, method, expected) in [
                ("2147483648", "INFO", Some(400)),
                ("4294967295", "INFO", Some(400)),
                ("3", "BYE", Some(400)),
                ("3", "info", Some(400)),
            ] {
                let text = made.request("INFO", cseq, method, CSTA, &features());
                assert_eq!(made.raw.ask(text).await, expected, "{cseq} {method}");
            }
            // No number at all: answered with the field as it came, and the flow stands.
            for cseq in ["4294967296", "-1", "x", ""] {
                let text = made.request("INFO", cseq, "INFO", CSTA, &features());
                assert_eq!(made.raw.ask(text).await, Some(400), "{cseq:?}");
            }
            made.raw.say(options("marker", "")).await;
            assert_eq!(made.raw.status().await, Some(200));
            // Lower than seen, and the same number for something else.
            for (cseq, body) in [(1, features()), (2, service("GetDoNotDisturb", "<device>5103</device>"))] {
                let text = made.request("INFO", cseq, "INFO", CSTA, &body);
                assert_eq!(made.raw.ask(text).await, Some(500), "{cseq}");
            }
            // The same again gets the same answer.
            let again = made.request("INFO", 2, "INFO", CSTA, &features());
            assert_eq!(made.raw.ask(again).await, Some(200));
            assert_eq!(made.ask(&features()).await.status(), Some(200));
            // A stranger who knows the tag, but not the dialog.
            let stranger = made.request("BYE", 99, "BYE", "", "").replace("tag=m1", "tag=guess");
            let mut raw = Raw::connect(rig.address()).await;
            assert_eq!(raw.ask(stranger).await, Some(481));
            let other = made.request("BYE", 99, "BYE", "", "").replace("Call-ID: cseq", "Call-ID: guess");
            assert_eq!(raw.ask(other).await, Some(481));
            let unknown = made.request("BYE", 99, "BYE", "", "").replace(&made.to_tag, "0123456789abcdef");
            assert_eq!(raw.ask(unknown).await, Some(481));
            made.bye().await;
        })
        .await;
    });
}

#[test]
fn a_dialog_that_is_flooded_refuses_some_and_answers_each() {
    const INFOS: u32 = 4_000;
    run("", "", async |rig| {
        rig.under(async {
            let mut made = HandMade::sign_in(rig.address(), 2, "flood").await;
            let flood: String = (0..INFOS).map(|_| made.info(&features())).collect();
            let mut answers = BTreeMap::new();
            for answer in made.raw.flood(flood, INFOS as usize).await {
                let cseq = answer.headers.cseq().unwrap().number;
                assert!(answers.insert(cseq, answer.status().unwrap()).is_none(), "{cseq} answered twice");
            }
            let refused = answers.values().filter(|status| **status == 503).count();
            assert!(answers.values().all(|status| matches!(status, 200 | 503)), "{answers:?}");
            assert!(refused > 0, "its mailbox is bounded");
            assert!(rig.counted("session", "mailbox_full") as usize >= refused);
            assert_eq!(made.ask(&features()).await.status(), Some(200));
            made.bye().await;
        })
        .await;
    });
}

#[test]
fn thousands_of_open_services_of_one_dialog_are_bounded() {
    // A link each: sessions go round, and Carol's is slow.
    let link = |at: u16| format!("[[cti]]\nname = \"lab{at}\"\naddress = \"csta://127.0.0.1:880{at}\"\n");
    let limits = format!("dialog_transactions_max = 8\n{}{}", link(1), link(2));
    run("", &limits, async |rig| {
        rig.under(async {
            let mut made = HandMade::sign_in(rig.address(), 2, "open").await;
            let link = rig.record(&made.to_tag).link;
            assert_eq!(rig.sessions_on(&link), 1, "nobody else is harmed");
            rig.pbx().control(Request::DropAnswers { link, every: 1 }).await;
            let ask = service("GetDoNotDisturb", &format!("<device>{}</device>", account(2).line));
            let flood: String = (0..2_000).map(|_| made.info(&ask)).collect();
            let answers = made.raw.flood(flood, 1_992).await;
            let refused = answers.iter().filter(|answer| answer.status() == Some(503)).count();
            assert!(refused >= 1_900, "{refused} refused");
            let record = rig.record(&made.to_tag);
            assert!(record.asked.len() + record.waiting.len() <= 8, "{} open", record.asked.len());
            rig.pbx().control(Request::Heal { link: None }).await;
            made.cseq += 1;
            let bye = made.request("BYE", made.cseq, "BYE", "", "");
            made.raw.say(bye).await;
            while made.raw.answer().await.unwrap().headers.cseq().unwrap().method != "BYE" {}
        })
        .await;
    });
}

#[test]
fn a_request_behind_the_bye_is_told_that_the_dialog_is_over() {
    run("", "", async |rig| {
        rig.under(async {
            for nth in 0..20 {
                let mut made = HandMade::sign_in(rig.address(), 2, &format!("late{nth}")).await;
                let bye = made.request("BYE", 2, "BYE", "", "");
                let late: String = (3..8).map(|cseq| made.request("INFO", cseq, "INFO", CSTA, &features())).collect();
                made.raw.say(bye + &late).await;
                let mut statuses = Vec::new();
                for _ in 0..6 {
                    statuses.push(made.raw.status().await.unwrap());
                }
                statuses.sort_unstable();
                assert_eq!(statuses, [200, 481, 481, 481, 481, 481]);
            }
        })
        .await;
    });
}
