//! Sessions that this node owns and does not serve yet: inherited from a node that died, or left standing while there was
//! no quorum. Those with calls come first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::node::Node;
use super::passed;
use super::session::SessionActor;
use super::unheard;
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::machine::session::Session;
use crate::sip::Message;
use crate::store::pair::Pair;
use crate::store::{CommitError, Notice, Watched};

/// Sessions begun together, and the pause until the next ones: some 8,000 a second, so that one whose user asks, and which
/// begins at once, finds the threads free.
const AT_ONCE: usize = 16;
const PAUSE_MS: u64 = 2;
/// Between two looks for a quorum.
const REVIVE_PAUSE_MS: u64 = 50;

/// Begins every session of this node's records that nobody serves. Not here and now: whoever follows the cluster must hear
/// the next thing it decides, and a user who asks does not wait for those before him.
pub fn adopt_soon(node: &Arc<Node>) {
    let node = node.clone();
    actix_rt::spawn(async move { adopt(&node).await });
}

/// As [`adopt_soon`], for the sessions of a node that died; how long it takes is remembered.
fn take_over_soon(node: &Arc<Node>) {
    let node = node.clone();
    node.counters.count("takeover", "begun");
    actix_rt::spawn(async move {
        let took = adopt(&node).await;
        // At least 1: 0 says that there was none.
        node.takeover_ms.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    });
}

/// Yields how long it took.
async fn adopt(node: &Arc<Node>) -> Duration {
    let began = Instant::now();
    let own = node.records.incarnation();
    let mut orphans: Vec<(bool, SessionId)> = Vec::new();
    for loaded in node.records.load_all::<Session>("session/") {
        match loaded {
            Ok(loaded)
                if loaded.owner == own
                    && node.book.session(loaded.value.id.as_str()).is_none()
                    && !node.leaving.has(&loaded.value.id) =>
            {
                orphans.push((loaded.value.calls.is_empty(), loaded.value.id));
            }
            Ok(_) => {}
            Err(problem) => warn!(key = %problem.key, reason = %problem, "a session cannot be read and is not served"),
        }
    }
    orphans.sort();
    for some in orphans.chunks(AT_ONCE) {
        some.iter().for_each(|(_, id)| begin(node, id));
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    let took = began.elapsed();
    if !orphans.is_empty() {
        info!(sessions = orphans.len(), took_ms = took.as_millis(), "sessions taken over");
        node.counters.add("session", "taken_over", orphans.len() as u64);
    }
    took
}

/// A session whose record could not be committed has stopped. When it is known what the record is, the session begins
/// again if it is still ours, and the request it was working on is heard again, wherever it belongs by then: if the record
/// knows it, it is a repetition.
pub fn revive(node: Arc<Node>, id: SessionId, at_work: Option<(FlowId, Box<Message>)>) {
    actix_rt::spawn(async move {
        while node.records.store().catch_up().await == Err(CommitError::NoQuorum) {
            // Answered 503 meanwhile by the door; the record waits.
            tokio::time::sleep(Duration::from_millis(REVIVE_PAUSE_MS)).await;
        }
        if let Some((flow, message)) = at_work {
            unheard::keep_for(&node, id, flow, message);
        } else if node.records.owner_of(&SessionActor::key(&id)) == Some(node.records.incarnation()) {
            begin(&node, &id);
        }
    });
}

/// Begins one session of ours, whoever asks for it first.
pub fn begin(node: &Arc<Node>, id: &SessionId) {
    if node.arrivals.is_expected(id) {
        return;
    }
    let Some(sessions) = node.sessions.get() else { return };
    // Err: it is being begun, or there is no room, and the next request of it tries again.
    if let Err(problem) = sessions.start(id.clone()) {
        tracing::debug!(session = %id, reason = %problem, key = SessionActor::key(id), "not begun");
    }
}

/// How often the lease is looked at.
const LOOK_MS: u64 = 20;

/// Follows what the cluster decides about this node's sessions, until it decides that this life is over.
pub async fn attend(node: Arc<Node>, pair: Pair, tell_over: watch::Sender<Option<String>>) {
    let own = node.records.incarnation();
    let store = node.records.store().clone();
    let name = pair.name();
    let mut notices = store.watch();
    let mut failed = pair.failed();
    let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
    let mut may_act = true;
    if !store.members().iter().any(|member| member.incarnation == own) {
        // Fenced between its first word and this one.
        tell_over.send_replace(Some("the other node has taken its sessions over".to_owned()));
        return;
    }
    loop {
        tokio::select! {
            noticed = notices.next() => match noticed {
                Some(Watched::Notice(notice)) if notice.ends(own, &name) => {
                    tell_over.send_replace(Some("the other node has taken its sessions over".to_owned()));
                    return;
                }
                Some(Watched::Notice(Notice::Fenced { heir, moved, .. })) if heir == own && moved > 0 => {
                    passed::look(&node);
                    take_over_soon(&node);
                }
                Some(Watched::Notice(Notice::Replaced) | Watched::Missed(_)) => {
                    if !store.members().iter().any(|member| member.incarnation == own) {
                        tell_over.send_replace(Some("the other node has taken its sessions over".to_owned()));
                        return;
                    }
                    adopt_soon(&node);
                }
                Some(_) => {}
                None => return,
            },
            Ok(why) = failed.wait_for(Option::is_some) => {
                tell_over.send_replace(why.clone());
                return;
            }
            _ = look.tick() => {
                passed::look(&node);
                let now = node.may_act();
                if now != may_act {
                    may_act = now;
                    node.counters.count("quorum", if now { "found" } else { "lost" });
                    if now {
                        info!("a quorum is heard again");
                        // Sessions whose change could not be committed have stopped; their records are whole.
                        adopt_soon(&node);
                    } else {
                        warn!("no quorum is heard: nothing is carried out, and SIP is answered 503");
                    }
                }
            }
        }
    }
}
