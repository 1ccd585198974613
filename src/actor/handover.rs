//! Sessions that go to the other node on purpose, one by one: each stops between two of its inputs, the other node takes
//! its record and begins it, and what comes for it meanwhile waits. Nobody outside sees more than a pause.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{Message, MessageResponse};
use futures_util::StreamExt;
use tracing::{info, warn};

use super::adoption;
use super::node::Node;
use super::relay::{self, Taking};
use super::session::SessionActor;
use crate::id::SessionId;

/// Sessions on their way at once: as many as the other node resumes without its users noticing.
const ON_THE_WAY_MAX: usize = 32;
/// A session that waits for its PBX is asked again, and goes as it is in the end: the record says what was asked.
const ASKS: u32 = 100;
const ASK_PAUSE: Duration = Duration::from_millis(20);
/// Until this node's own copy of the records says who owns a session now.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Operator → session: stop here, another node goes on.
#[derive(Message)]
#[rtype(result = "Given")]
pub struct Give {
    /// Even while the PBX owes an answer.
    pub at_once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub enum Given {
    /// It has stopped. `version`: of the record it leaves behind.
    At { version: u64 },
    /// The PBX owes it an answer.
    Busy,
    /// It is over.
    Gone,
}

/// Sessions that stopped here and did not begin elsewhere yet: nobody begins them here.
#[derive(Default)]
pub struct Leaving(Mutex<HashSet<SessionId>>);

impl Leaving {
    pub fn has(&self, id: &SessionId) -> bool {
        self.lock().contains(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    pub moved: usize,
    pub stayed: usize,
    /// The longest time a session was served by nobody.
    pub pause_max: Duration,
}

/// Gives every session of this node to another one. Ends when each has gone or has been refused.
pub async fn hand_over(node: &Arc<Node>, heir: &str) -> HandedOver {
    let began = Instant::now();
    let giving = node.book.ids().into_iter().map(|id| {
        let (node, heir) = (node.clone(), heir.to_owned());
        async move { give(&node, &id, &heir).await }
    });
    let mut giving = futures_util::stream::iter(giving).buffer_unordered(ON_THE_WAY_MAX);
    let mut all = HandedOver::default();
    while let Some(given) = giving.next().await {
        match given {
            Some(Ok(pause)) => {
                all.moved += 1;
                all.pause_max = all.pause_max.max(pause);
            }
            Some(Err(why)) => {
                all.stayed += 1;
                warn!(reason = %why, "a session was not taken by the other node and stays");
            }
            // It ended meanwhile.
            None => {}
        }
    }
    if all != HandedOver::default() {
        let (moved, stayed, ms) = (all.moved, all.stayed, all.pause_max.as_millis());
        info!(heir, moved, stayed, pause_max_ms = ms, took_ms = began.elapsed().as_millis(), "sessions handed over");
    }
    all
}

/// Yields how long nobody served it; `None`: it is over.
async fn give(node: &Arc<Node>, id: &SessionId, heir: &str) -> Option<Result<Duration, String>> {
    let mut asks = 0;
    let (version, stopped) = loop {
        let seat = node.book.session(id.as_str())?;
        asks += 1;
        // Before it stops: what comes for it from then on must find it leaving.
        node.leaving.lock().insert(id.clone());
        match seat.addr.send(Give { at_once: asks > ASKS }).await {
            Ok(Given::At { version }) => break (version, Instant::now()),
            Ok(Given::Busy) => {
                node.leaving.lock().remove(id);
                tokio::time::sleep(ASK_PAUSE).await;
            }
            Ok(Given::Gone) | Err(_) => {
                node.leaving.lock().remove(id);
                return None;
            }
        }
    };
    let taken = relay::give_to(node, heir, id, version).await;
    let pause = stopped.elapsed();
    let is_gone = taken == Ok(Taking::Taken) && is_known_elsewhere(node, id).await;
    if !is_gone {
        // The word may have been heard and its answer lost.
        let _ = node.records.store().catch_up().await;
    }
    node.leaving.lock().remove(id);
    if is_gone || node.records.owner_of(&SessionActor::key(id)) != Some(node.records.incarnation()) {
        node.counters.count("handover", "given");
        return Some(Ok(pause));
    }
    node.counters.count("handover", "kept");
    adoption::begin(node, id);
    Some(Err(match taken {
        Ok(taking) => format!("it answered {taking:?}"),
        Err(why) => why,
    }))
}

async fn is_known_elsewhere(node: &Node, id: &SessionId) -> bool {
    let (key, own, began) = (SessionActor::key(id), node.records.incarnation(), Instant::now());
    while node.records.owner_of(&key) == Some(own) {
        if began.elapsed() > KNOWN_WITHIN {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

/// The other node gives a session to this one.
pub async fn take(node: &Arc<Node>, id: &SessionId, version: u64) -> Taking {
    if node.is_draining() || !node.may_act() || node.is_full() {
        return Taking::NotNow;
    }
    match node.records.take(&SessionActor::key(id), version).await {
        Ok(_) => {
            node.counters.count("handover", "taken");
            adoption::begin(node, id);
            Taking::Taken
        }
        Err(refused) => {
            info!(session = %id, reason = %refused, "a session that was given is not ours to take");
            Taking::NotMine
        }
    }
}
