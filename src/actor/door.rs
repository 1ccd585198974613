//! The door: each message of a flow to its session, or an answer on the spot, or a sign-in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::AsyncContext;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, error, info, warn};

use super::book::{Entered, NotTaken, Seat, endpoint_key};
use super::child::Birth;
use super::doubt;
use super::flow;
use super::flows::FlowHandle;
use super::mail::Unbind;
use super::node::{Arrival, Node};
use super::relay;
use super::session::{Alive, End, SessionActor};
use super::unheard;
use crate::id::SessionId;
use crate::machine::effect::Effect;
use crate::machine::input::{FlowId, Retire};
use crate::machine::outside::{Outside, outside};
use crate::machine::refusal::Refusal;
use crate::machine::session::{Context, Session};
use crate::machine::sign_in::{SignIn, refuse, sign_in, unavailable};
use crate::machine::transaction::Open;
use crate::sip::{Message, reason_of};
use crate::store::{CommitRefused, Refusal as StoreRefusal};
use crate::transport::Stream;

/// Carries an accepted connection on this thread until it ends.
pub async fn welcome(node: Arc<Node>, stream: Stream, peer: SocketAddr, secure: bool) {
    let handle = node.flows.open(stream.local_address(), peer, secure);
    carry(node, stream, handle).await;
}

pub(super) async fn carry<S>(node: Arc<Node>, stream: S, handle: FlowHandle)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    debug!(peer = %handle.peer, flow = handle.id.0, "flow opened");
    let end = flow::run(stream, &handle, node.flow_options, &node.tap, |message| take(&node, &handle, message)).await;
    node.flows.closed(handle.id);
    node.counters.count("flow_end", end.name());
    debug!(peer = %handle.peer, flow = handle.id.0, reason = end.name(), "flow closed");
}

/// One message from a flow. Never waits.
fn take(node: &Arc<Node>, flow: &FlowHandle, message: Box<Message>) {
    if message.method().is_none() {
        node.counters.responses.fetch_add(1, Ordering::Relaxed);
        // Our tag stands in From: the request was ours. Nobody waits for an answer to an answer.
        let tag = message.headers.from().ok().and_then(|from| from.tag().map(str::to_owned));
        match tag.and_then(|tag| node.book.session(&tag)) {
            Some(session) => {
                let _ = session.hand_in(node, flow.id, message);
            }
            None if node.pair.is_some() => unheard::keep(node, flow.id, message),
            None => {}
        }
        return;
    }
    node.counters.requests.fetch_add(1, Ordering::Relaxed);
    if !node.may_act() {
        // A quorum may be heard again in a moment, and a first copy of this request may have been carried out elsewhere:
        // refused at once it would be taken for not done.
        return match session_at(node, &message).is_some() {
            true => unheard::keep(node, flow.id, message),
            false => without_quorum(node, flow, &message),
        };
    }
    if let Some(session) = session_of(node, &message) {
        return pass_on(node, flow, &session, message);
    }
    if node.pair.is_some() && session_at(node, &message).is_some() {
        return unheard::keep(node, flow.id, message);
    }
    match outside(&node.rules.load(), flow.id, &message, node.is_red.load(Ordering::Relaxed)) {
        Outside::Ignore => {}
        Outside::Answer(response) => {
            flow.outgoing.push(response.to_bytes());
        }
        Outside::Cancel { known, unknown } => {
            let is_known = far_dialog(node, &message).is_some();
            flow.outgoing.push(if is_known { known } else { unknown }.to_bytes());
        }
        Outside::SignIn(open) => match far_dialog(node, &message) {
            // The same INVITE again, or a fork of it: the session knows.
            Some(session) => pass_on(node, flow, &session, message),
            None => arrive(node, flow, message, open),
        },
    }
}

fn session_of(node: &Node, request: &Message) -> Option<Seat> {
    let to = request.headers.to().ok()?;
    node.book.session(to.tag()?)
}

fn far_dialog(node: &Node, request: &Message) -> Option<Seat> {
    let from = request.headers.from().ok()?;
    node.book.dialog(request.headers.call_id().ok()?, from.tag()?)
}

fn pass_on(node: &Arc<Node>, flow: &FlowHandle, session: &Seat, message: Box<Message>) {
    let Ok(open) = Open::of(flow.id, &message) else { return };
    if !node.unheard.is_empty() && session_named(node, &message).is_some_and(|id| node.unheard.has(&id)) {
        return unheard::keep(node, flow.id, message);
    }
    match session.hand_in(node, flow.id, message) {
        Ok(()) => {}
        Err(NotTaken::Gone(message)) => unheard::keep(node, flow.id, message),
        Err(NotTaken::Full(_)) if open.method == "ACK" => {}
        Err(NotTaken::Full(_)) => {
            node.counters.count("session", "mailbox_full");
            let rules = node.rules.load();
            let cx = Context { rules: &rules, now: node.clock.now() };
            flow.outgoing.push(unavailable(cx, &open, 1).to_bytes());
        }
    }
}

/// No quorum has been heard for a lease: another node may act in this one's place. The far side goes there.
fn without_quorum(node: &Arc<Node>, flow: &FlowHandle, request: &Message) {
    node.counters.count("sip", "no_quorum");
    refuse_for_now(node, flow.id, request);
}

/// As `session_named`, also when it is served by nobody here: then its tag, which is the session's name, says which.
pub(super) fn session_at(node: &Node, message: &Message) -> Option<SessionId> {
    session_named(node, message).or_else(|| {
        let ours = if message.method().is_none() { message.headers.from() } else { message.headers.to() };
        let tag = ours.ok()?.tag()?.to_owned();
        let may_be = tag.len() == TAG_BYTES && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        (may_be && node.pair.is_some()).then(|| SessionId::new(tag))
    })
}

/// Whether this node owns a session's record.
pub(super) fn is_ours(node: &Node, id: &SessionId) -> bool {
    node.records.owner_of(&SessionActor::key(id)) == Some(node.records.incarnation())
}

/// The session a message of a dialog belongs to.
pub(super) fn session_named(node: &Node, message: &Message) -> Option<SessionId> {
    let ours = if message.method().is_none() { message.headers.from() } else { message.headers.to() };
    let named =
        ours.ok().and_then(|ours| ours.tag().map(SessionId::new)).filter(|id| node.book.session(id.as_str()).is_some());
    named.or_else(|| {
        let from = message.headers.from().ok()?;
        node.book.dialog_id(message.headers.call_id().ok()?, from.tag()?)
    })
}

/// 503 while the session may live again, which keeps the far side's dialog; 481 when it has ended.
pub(super) fn refuse_unheard(node: &Node, flow: FlowId, request: &Message) {
    if matches!(request.method(), None | Some("ACK" | "BENOTIFY")) {
        return;
    }
    if session_named(node, request).is_some_and(|id| node.book.session(id.as_str()).is_some())
        || session_at(node, request).is_some_and(|id| node.records.owner_of(&SessionActor::key(&id)).is_some())
    {
        return refuse_for_now(node, flow, request);
    }
    if let Ok(open) = Open::of(flow, request) {
        node.flows.send(flow, open.response_481(&node.rules.load()).to_bytes());
    }
}

/// 503: the same request may be answered in a moment.
pub(super) fn refuse_for_now(node: &Node, flow: FlowId, request: &Message) {
    if matches!(request.method(), None | Some("ACK" | "BENOTIFY")) {
        return;
    }
    let Ok(open) = Open::of(flow, request) else { return };
    let rules = node.rules.load();
    let response = unavailable(Context { rules: &rules, now: node.clock.now() }, &open, 1);
    node.flows.send(flow, response.to_bytes());
}

/// The dialog the tag names is another one.
pub(super) fn answer_481(node: &Node, flow: FlowId, request: &Message) {
    if request.method() == Some("ACK") {
        return;
    }
    if let Ok(open) = Open::of(flow, request) {
        node.flows.send(flow, open.response_481(&node.rules.load()).to_bytes());
    }
}

/// For a request nobody dares to work on.
pub(super) fn answer_500(node: &Node, flow: FlowId, request: &Message) {
    if let Ok(open) = Open::of(flow, request) {
        node.flows.send(flow, open.response(500, reason_of(500), None).to_bytes());
    }
}

/// A user signs in: decide, commit the record with its claims, then begin.
fn arrive(node: &Arc<Node>, flow: &FlowHandle, invite: Box<Message>, open: Open) {
    let cx_rules = node.rules.load();
    let cx = Context { rules: &cx_rules, now: node.clock.now() };
    if node.is_draining() && node.pair.is_some() {
        return bring_elsewhere(node, flow, invite, open);
    }
    if node.is_draining() || node.is_full() {
        node.counters.count("sign_in_refused", if node.is_draining() { "draining" } else { "full" });
        flow.outgoing.push(unavailable(cx, &open, 60).to_bytes());
        return;
    }
    let Some(id) = fresh_id() else {
        flow.outgoing.push(unavailable(cx, &open, 60).to_bytes());
        return;
    };
    let link = node.links.pick().name.clone();
    match sign_in(cx, id.clone(), flow.id, &invite, &open, &link) {
        SignIn::Refused { response, refusal, user } => {
            refused(node, refusal, &user, &invite);
            flow.outgoing.push(response.to_bytes());
        }
        SignIn::Welcome { session, effects } => {
            let key = SessionActor::key(&session.id);
            node.arrivals.expect(session.id.clone());
            let commit = node.records.commit(&key, 0, SessionActor::claims(&session), &*session);
            let (node, flow) = (node.clone(), flow.clone());
            match commit.now() {
                Ok(done) => arrived(&node, &flow, &session, effects, (&open, invite), done),
                Err(commit) => {
                    tokio::spawn(async move {
                        let mut done = commit.await;
                        if done.as_ref().is_err_and(|why| !why.is_definite()) {
                            let wanted = Some(session.clone());
                            if let Some(version) = doubt::is_committed(node.clone(), session.id.clone(), wanted).await {
                                done = Ok(version);
                            }
                        }
                        arrived(&node, &flow, &session, effects, (&open, invite), done);
                    });
                }
            }
        }
    }
}

/// This node takes nobody in any more; the front end keeps its connection, and the other node takes the user in.
fn bring_elsewhere(node: &Arc<Node>, flow: &FlowHandle, invite: Box<Message>, open: Open) {
    let (node, flow) = (node.clone(), flow.clone());
    tokio::spawn(async move {
        if let Some(pair) = node.pair.clone() {
            for other in pair.other_data_nodes() {
                if relay::bring_sign_in(&node, &other, flow.id, &invite).await {
                    return;
                }
            }
        }
        node.counters.count("sign_in_refused", "draining");
        let rules = node.rules.load();
        let cx = Context { rules: &rules, now: node.clock.now() };
        flow.outgoing.push(unavailable(cx, &open, 60).to_bytes());
    });
}

/// As `arrive`, for an INVITE that another node has brought; `flow` is that node's.
pub(super) fn take_sign_in(node: &Arc<Node>, flow: &FlowHandle, text: &Bytes) -> relay::Answer {
    let Ok(invite) = Message::parse(text) else { return relay::Answer::NotMine };
    let Outside::SignIn(open) = outside(&node.rules.load(), flow.id, &invite, false) else {
        return relay::Answer::NotMine;
    };
    let invite = Box::new(invite);
    match far_dialog(node, &invite) {
        Some(session) => pass_on(node, flow, &session, invite),
        None => arrive(node, flow, invite, open),
    }
    relay::Answer::Taken
}

fn arrived(
    node: &Arc<Node>,
    flow: &FlowHandle,
    session: &Session,
    effects: Vec<Effect>,
    (open, invite): (&Open, Box<Message>),
    done: Result<u64, CommitRefused>,
) {
    let rules = node.rules.load();
    let cx = Context { rules: &rules, now: node.clock.now() };
    if done.is_err() {
        node.arrivals.take(&session.id);
    }
    match done {
        Ok(version) => {
            let Some(sessions) = node.sessions.get() else { return };
            node.arrivals.put(session.id.clone(), Arrival { flow: flow.id, first: effects });
            if let Err(problem) = sessions.start(session.id.clone()) {
                warn!(user = %session.appearance.sip, reason = %problem, "sign-in not begun");
                node.arrivals.take(&session.id);
                forget(node, session, version);
                flow.outgoing.push(unavailable(cx, open, 60).to_bytes());
                return;
            }
            info!(
                session = %session.id, user = %session.appearance.sip, device = %session.appearance.device,
                link = %session.link, profile = session.profile.name(), "session opened"
            );
            node.counters.count("sign_in", session.profile.name());
        }
        Err(CommitRefused::Refused(StoreRefusal::Claimed { claim, .. })) if claim.starts_with("station/") => {
            let user = session.appearance.sip.clone();
            let refusal = Refusal::StationInUseByAnotherUser;
            node.counters.count("sign_in_refused", refusal.name());
            node.refusals.add(
                node.clock.now(),
                &user,
                refusal.name(),
                invite.headers.get("User-Agent").unwrap_or_default(),
            );
            warn!(user = %user, device = %session.appearance.device, reason = refusal.name(), "sign-in refused");
            if let SignIn::Refused { response, .. } = refuse(cx, &session.id, open, refusal, user) {
                flow.outgoing.push(response.to_bytes());
            }
        }
        // The same INVITE was faster on another flow, perhaps of another node; it gets the recorded answer.
        Err(CommitRefused::Refused(StoreRefusal::Claimed { holder_key, .. })) => {
            if let Some(id) = holder_key.strip_prefix("session/") {
                unheard::keep_for(node, SessionId::new(id), flow.id, invite);
            }
        }
        Err(other) => {
            warn!(user = %session.appearance.sip, reason = %other, "sign-in not committed");
            flow.outgoing.push(unavailable(cx, open, 5).to_bytes());
        }
    }
}

/// Removes a record nobody serves; the far side is told 481 when it asks, and signs in anew.
pub fn forget(node: &Arc<Node>, session: &Session, version: u64) {
    let removed = node.records.remove(&SessionActor::key(&session.id), version);
    let id = session.id.clone();
    tokio::spawn(async move {
        if let Err(problem) = removed.await {
            warn!(session = %id, reason = %problem, "record not removed");
        }
    });
}

/// Brings a session to life on this thread: the first time after its sign-in, later from its record alone.
pub fn begin(node: &Arc<Node>, id: &SessionId, birth: Birth) {
    let arrival = node.arrivals.take(id);
    let is_new = arrival.is_some();
    let loaded = match node.records.load::<Session>(&SessionActor::key(id)) {
        Ok(Some(loaded)) if loaded.owner == node.records.incarnation() => loaded,
        Ok(_) => return birth.ignore(),
        // The birth is dropped, which counts as a failed start.
        Err(problem) => return error!(session = %id, reason = %problem, "the session cannot be read"),
    };
    let parked = birth.parked().clone();
    let (mut session, version, node) = (loaded.value, loaded.version, node.clone());
    session.is_offered(node.links.by_name(&session.link).and_then(|seat| seat.features()));
    birth.actor(move |ctx, life| {
        let Entered { heard_on, superseded } = node.book.enter(&session, ctx.address(), is_new);
        if let Some(older) = superseded {
            // Past the mailbox's bound, once a sign-in. It may be this one, inherited beside its successor.
            older.do_send(End(Retire::Superseded));
        }
        let first = match arrival {
            Some(arrival) => {
                heard_on.set(arrival.flow);
                if let Some(endpoint) = endpoint_key(&session).filter(|_| node.pair.is_some()) {
                    relay::supersede_elsewhere(&node, endpoint, session.id.clone(), session.began);
                }
                arrival.first
            }
            None => {
                let rules = node.rules.load();
                session.resume(Context { rules: &rules, now: node.clock.now() })
            }
        };
        SessionActor::new(node, session, version, heard_on, first, Alive { life, parked })
    });
}

/// A session that cannot be kept alive: its client is told 481 and signs in anew.
pub fn give_up(node: &Arc<Node>, id: &SessionId) {
    node.book.forget(id);
    node.arrivals.take(id);
    if let Ok(Some(loaded)) = node.records.load::<Session>(&SessionActor::key(id)) {
        node.book.leave(&loaded.value);
        if let Some(link) = node.links.by_name(&loaded.value.link).and_then(|seat| seat.mail()) {
            link.unbind.do_send(Unbind { session: id.clone() });
        }
        forget(node, &loaded.value, loaded.version);
    }
}

fn refused(node: &Node, refusal: Option<Refusal>, user: &str, invite: &Message) {
    let name = refusal.map_or("bad_request", Refusal::name);
    node.counters.count("sign_in_refused", name);
    let agent = invite.headers.get("User-Agent").unwrap_or_default();
    node.refusals.add(node.clock.now(), user, name, agent);
    warn!(user, reason = name, agent, "sign-in refused");
}

/// Of a session's name, which is our tag.
const TAG_BYTES: usize = 16;

/// 64 random bits: unique over nodes and restarts. `None` when the kernel gives no randomness.
fn fresh_id() -> Option<SessionId> {
    let bits = getrandom::u64().ok()?;
    Some(SessionId::new(format!("{bits:016x}")))
}
