//! Sessions that this node owns and does not serve yet: inherited from a node that died, or left standing while there was
//! no quorum. Those with calls come first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::node::Node;
use super::passed;
use super::session::SessionActor;
use super::takeovers::Takeover;
use super::unheard;
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::machine::session::Session;
use crate::sip::Message;
use crate::store::pair::Pair;
use crate::store::{CommitError, Incarnation, Notice, Watched};

/// Sessions begun together, and the pause until the next ones: some 8,000 a second, so that one whose user asks, and which
/// begins at once, finds the threads free.
const AT_ONCE: usize = 16;
const PAUSE_MS: u64 = 2;
/// A session that is not served by then cannot be: it has been told of.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for a quorum.
const REVIVE_PAUSE_MS: u64 = 50;

/// Begins every session of this node's records that nobody serves. Not here and now: whoever follows the cluster must hear
/// the next thing it decides, and a user who asks does not wait for those before him.
pub fn adopt_soon(node: &Arc<Node>) {
    adopt_from(node, None);
}

/// A node that was fenced, and when it was heard last.
struct Lost {
    name: Option<String>,
    heard: Instant,
}

fn adopt_from(node: &Arc<Node>, lost: Option<Lost>) {
    let node = node.clone();
    actix_rt::spawn(async move { adopt(&node, lost).await });
}

async fn adopt(node: &Arc<Node>, lost: Option<Lost>) {
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
    if let (Some(Lost { name, heard }), Some(pair)) = (lost, &node.pair) {
        let moved = orphans.len();
        until_served(node, orphans.into_iter().map(|(_, id)| id).collect()).await;
        node.last_takeover.was(Takeover {
            at: node.clock.now(),
            is_planned: false,
            from: name,
            to: pair.name(),
            moved,
            stayed: 0,
            gap: heard.elapsed(),
        });
    }
}

/// Waits until each of these sessions is served here, or is not ours to serve.
async fn until_served(node: &Node, mut ids: Vec<SessionId>) {
    let (own, began) = (node.records.incarnation(), Instant::now());
    let is_awaited = |id: &SessionId| {
        node.book.session(id.as_str()).is_none() && node.records.owner_of(&SessionActor::key(id)) == Some(own)
    };
    while began.elapsed() < SERVED_WITHIN {
        ids.retain(is_awaited);
        if ids.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
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
    // Whoever is fenced is no member any more when that is told.
    let mut names: BTreeMap<Incarnation, Arc<str>> = BTreeMap::new();
    names.extend(store.members().into_iter().map(|member| (member.incarnation, member.node)));
    loop {
        tokio::select! {
            noticed = notices.next() => match noticed {
                Some(Watched::Notice(notice)) if notice.ends(own, &name) => {
                    tell_over.send_replace(Some("the other node has taken its sessions over".to_owned()));
                    return;
                }
                Some(Watched::Notice(Notice::Fenced { incarnation, heir, moved })) if heir == own && moved > 0 => {
                    node.counters.count("takeover", "begun");
                    passed::look(&node);
                    let name = names.remove(&incarnation).map(|name| name.to_string());
                    let heard = pair.heard_last(incarnation).unwrap_or_else(Instant::now);
                    adopt_from(&node, Some(Lost { name, heard }));
                }
                Some(Watched::Notice(Notice::Replaced) | Watched::Missed(_)) => {
                    if !store.members().iter().any(|member| member.incarnation == own) {
                        tell_over.send_replace(Some("the other node has taken its sessions over".to_owned()));
                        return;
                    }
                    adopt_soon(&node);
                }
                Some(Watched::Notice(Notice::Joined { node, incarnation, .. })) => {
                    names.retain(|_, name| *name != node);
                    names.insert(incarnation, node);
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
