//! A takeover at each boundary of each exchange: before the request arrives, before the PBX answers, before the client hears
//! the answer, and after that. Many users, each in another exchange, and one fault.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{RccUser, Unanswered, Violation};
use lyncpin::lab::pbx::{Did, Entry, Happening, Request};
use lyncpin::sip::Message;
use tokio::time::Instant;

use crate::lines::{Cue, Line, say};
use crate::pair::{self, PATIENCE, Pair, account, answers, device, until};
use crate::stages::{ACTS, Act, Fault, Moment, Stage, Told, asks, names, sign_in};

/// How long the PBX takes to answer where its answer is to be late.
const LATE: Duration = Duration::from_millis(1_800);

/// Who asked the PBX about a device, one after the other, without repetitions.
fn askers(history: &[Entry], device: &str) -> Vec<SocketAddr> {
    let asked = |entry: &Entry| match &entry.what {
        Happening::Service { service, peer, .. } if names(service, device) => Some(*peer),
        _ => None,
    };
    let mut peers: Vec<SocketAddr> = history.iter().filter_map(asked).collect();
    peers.dedup();
    peers
}

/// The recorded answer, whoever hears the request again.
async fn is_answered_again(stages: &[Stage], node: SocketAddr) {
    for stage in stages {
        let Some((request, answer)) = stage.exchange() else { continue };
        if answer.status() == Some(503) {
            continue;
        }
        let again = say(node, &request).await;
        let to_tag = |message: &Message| message.headers.to().unwrap().tag().map(str::to_owned);
        assert_eq!(
            (again.status(), &again.body, to_tag(&again)),
            (answer.status(), &answer.body, to_tag(&answer)),
            "{:?} of {}, asked again",
            stage.act,
            stage.user().name()
        );
    }
}

async fn round(
    pair: &Pair,
    lines: &mut Vec<Rc<Line>>,
    target: &Rc<Cell<u32>>,
    (fault, moment): (Fault, Moment),
    victim: u32,
) {
    let survivor = 3 - victim;
    target.set(victim);
    let first = lines.len();
    let mut stages = Vec::new();
    for (nth, act) in ACTS.into_iter().enumerate() {
        let n = first + nth;
        let line = Line::new(&format!("fe{n:02}.contoso.com"), account(n), target.clone());
        line.connect(pair.sip.clone());
        lines.push(line.clone());
        stages.push(Stage { act, n, line, calls: Vec::new(), was: (None, None), seen: 0 });
    }
    until("all are connected", || lines.iter().all(|line| line.front_end.flows().len() == 1)).await;
    join_all(stages.iter_mut().map(|stage| stage.prepare(pair))).await;
    let began = pair.history(0).await.last().map_or(0, |entry| entry.seq);
    let alarms = |pair: &Pair| {
        let hit = if fault == Fault::Kill { victim } else { 0 };
        [1, 2].iter().filter(|id| **id != hit).map(|id| pair.said(*id, "no quorum is heard")).sum::<usize>()
    };
    let alarmed = alarms(pair);
    if moment == Moment::Asked {
        // Longer than a node without the others may act.
        pair.delay(LATE.as_millis() as u64).await;
    }
    let ring = Request::Ring { device: device(first + ACTS.len() - 1), from: Some("+14165559999".into()) };
    let asked = Instant::now();
    let mut acting = Vec::new();
    for stage in &mut stages {
        stage.set(moment);
        stage.seen = stage.line.seen_count();
        acting.push(tokio::task::spawn_local(stage.act()));
    }
    if moment != Moment::Sent {
        assert!(pair.desk(ring.clone()).await.is_ok());
    }
    let mut late = Vec::new();
    for _ in 0..3_000 {
        let history = pair.history(began).await;
        late = stages.iter().filter(|stage| !stage.is_at(moment, &history)).map(|stage| stage.act).collect();
        if late.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(late, [], "are not at {moment:?}");
    if moment == Moment::Heard {
        until("all have heard", || acting.iter().all(tokio::task::JoinHandle::is_finished)).await;
        stages[ACTS.len() - 1].rings().await;
    }
    let welcomed = (moment == Moment::Answered).then(|| stages[0].line.to_user.held());
    // A busy machine can do by itself what the test does on purpose; then more than one answer is right.
    let mut is_calm = alarms(pair) == alarmed;
    let fenced = pair.said(survivor, "a node was fenced");
    let alarmed = pair.said(survivor, "no quorum is heard");
    match fault {
        Fault::Kill => {
            target.set(survivor);
            pair.kill(victim);
        }
        Fault::Freeze => {
            pair.freeze(victim);
            // What was on its way lies in the frozen node's sockets, and is read when it thaws.
            stages.iter().for_each(|stage| stage.line.to_node.open());
            until("it is fenced", || pair.said(survivor, "a node was fenced") > fenced).await;
        }
        Fault::CutOff => {
            pair.cut_off(victim);
            let notices = async {
                while answers(pair.sip[&victim]).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(tokio::time::timeout(PATIENCE, notices).await.is_ok(), "cut off, it goes on as if nothing were");
            stages.iter().for_each(|stage| stage.line.to_node.open());
            // It waits for a quorum for a moment, all of them together.
            join_all(stages.iter().map(async |stage| {
                if let Some((request, _)) = stage.line.asked_since(stage.seen, "INFO") {
                    let refused = say(pair.sip[&victim], &request).await;
                    assert_eq!(refused.status(), Some(503), "{:?} at a node that is cut off", stage.act);
                }
            }))
            .await;
            until("it is fenced", || pair.said(survivor, "a node was fenced") > fenced).await;
            if moment == Moment::Asked {
                // The PBX answers the node that cannot commit what it hears.
                tokio::time::sleep_until(asked + 2 * LATE).await;
                for (stage, acting) in stages.iter().zip(&acting) {
                    let is_early = stage.act.service().is_some() && acting.is_finished();
                    assert!(!is_early, "{:?} was answered by a node that is cut off", stage.act);
                }
            }
        }
    }
    target.set(survivor);
    if moment == Moment::Sent && fault == Fault::CutOff {
        until("all are refused", || acting.iter().all(tokio::task::JoinHandle::is_finished)).await;
    }
    lines.iter().for_each(|line| {
        line.cue(Cue::Nothing);
        line.leave();
    });
    pair.delay(0).await;
    if moment == Moment::Sent {
        assert!(pair.desk(ring).await.is_ok());
    }
    let told: Vec<Told> =
        join_all(acting).await.into_iter().map(|told| told.expect("no test of its own fails")).collect();
    is_calm &= pair.said(survivor, "no quorum is heard") == alarmed;
    is_answered_again(&stages, pair.sip[&survivor]).await;
    for (stage, told) in stages.iter().zip(&told) {
        let is_refused = fault == Fault::CutOff && moment == Moment::Sent && stage.act != Act::Incoming;
        let what = format!("{fault:?} at {moment:?}: {:?} of {}", stage.act, stage.user().name());
        match told {
            Told::Refused(why) if is_refused => assert!(why.contains("503"), "{what}: {why}"),
            // Whether calls were joined cannot be told from a snapshot of one line.
            Told::Unknown(_) if moment == Moment::Asked && stage.act == Act::Conference => {}
            Told::Refused(why) if !is_calm => assert!(why.contains("503"), "{what}: {why}"),
            told => assert_eq!((told, is_refused && is_calm), (&Told::Done, false), "{what}"),
        }
        if stage.was.0.is_some() {
            assert_eq!((stage.user().remote_tag(), stage.user().xref()), stage.was, "{what}");
        }
        if !stage.user().is_signed_in() {
            sign_in(stage.user()).await;
        }
    }
    if let Some(welcomed) = welcomed.filter(|_| is_calm) {
        let tag = stages[0].user().remote_tag().expect("it is signed in");
        assert!(welcomed.contains(&tag), "the repeated INVITE got another dialog");
    }
    all_is_well(pair, lines).await;
    stages[ACTS.len() - 1].rings().await;
    match fault {
        Fault::Kill => {}
        Fault::Freeze => pair.thaw(victim),
        Fault::CutOff => pair.heal(),
    }
    if fault != Fault::Kill {
        until("the fenced node ends its life", || pair.has_ended(victim)).await;
    }
    pair.restart(victim).await;
    is_answered_again(&stages, pair.sip[&victim]).await;
    all_is_well(pair, lines).await;
    let history = pair.history(began).await;
    for (stage, told) in stages.iter().zip(&told) {
        let what = format!("{fault:?} at {moment:?}: {:?} of {}", stage.act, stage.user().name());
        let owners = askers(&history, &device(stage.n));
        let different: BTreeSet<&SocketAddr> = owners.iter().collect();
        assert_eq!(different.len(), owners.len(), "{what}: two owners acted in turn: {owners:?}");
        let Some(service) = stage.act.service() else { continue };
        let did = asks(&history, service, &device(stage.n));
        match told {
            Told::Done => assert!(matches!(did[..], [Did::Ok | Did::Call(_)]), "{what}: done, and the PBX did {did:?}"),
            Told::Refused(why) => assert!(did.is_empty(), "{what}: {why}, and the PBX did {did:?}"),
            Told::Unknown(why) => assert!(did.len() <= 1, "{what}: {why}, and the PBX did {did:?}"),
        }
    }
    // The phone is not asked what the client's last answer was about: it rings until somebody does something.
    let ringing = &stages[ACTS.len() - 1];
    assert!(ringing.user().answer(&ringing.rings().await).await.expect("an answer").is_done());
}

/// Every dialog answers, nobody was denied, and every view is the PBX's.
async fn all_is_well(pair: &Pair, lines: &[Rc<Line>]) {
    for (line, mut refreshed) in lines.iter().zip(join_all(lines.iter().map(|line| line.user.refresh())).await) {
        while let Err(Unanswered::Sip { status: 503, .. }) = refreshed {
            tokio::time::sleep(Duration::from_millis(50)).await;
            refreshed = line.user.refresh().await;
        }
        refreshed.unwrap_or_else(|why| panic!("{}: {why}", line.user.name()));
        // The 200 to an INVITE is repeated until its ACK has been heard (RFC 3261 §13.3.1.4), on a busy machine too.
        let is_welcome_again = |one: &Violation| *one == Violation::UnaskedResponse { cseq: 1, status: 200 };
        let grave = line.user.violations().into_iter();
        let grave = grave.filter(|one| !one.is_explained_by_takeover() && !is_welcome_again(one));
        assert_eq!(grave.collect::<Vec<_>>(), [], "{}", line.user.name());
        let denied = line.statuses().into_iter().filter(|status| matches!(status, 404 | 408 | 481 | 500));
        assert_eq!(denied.collect::<Vec<_>>(), [0; 0], "{}", line.user.name());
    }
    let users: Vec<RccUser> = lines.iter().map(|line| line.user.clone()).collect();
    pair.views_are_true(&users).await;
}

fn at_every_boundary(fault: Fault) {
    pair::run(async move {
        let moments = [Moment::Sent, Moment::Asked, Moment::Answered, Moment::Heard];
        let pair = Pair::start_at("wan", moments.len() * ACTS.len(), fault == Fault::CutOff).await;
        let target = Rc::new(Cell::new(1));
        let mut lines = Vec::new();
        for (moment, victim) in moments.into_iter().zip([1, 2, 1, 2]) {
            round(&pair, &mut lines, &target, (fault, moment), victim).await;
        }
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}

#[test]
fn a_node_is_killed_at_every_boundary() {
    at_every_boundary(Fault::Kill);
}

#[test]
fn a_node_is_frozen_at_every_boundary() {
    at_every_boundary(Fault::Freeze);
}

#[test]
fn a_node_is_cut_off_at_every_boundary() {
    at_every_boundary(Fault::CutOff);
}
