//! The book: which session a message belongs to. A cache of the records, shared by all flows of the node; nothing in it
//! decides anything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use actix::Addr;
use actix::prelude::SendError;

use super::mail::Inbound;
use super::node::Node;
use super::session::{BindAgain, MAILBOX_MAX, SessionActor};
use crate::id::{Moment, SessionId};
use crate::machine::input::FlowId;
use crate::machine::session::Session;
use crate::sip::Message;

/// A session's place: its actor, and how many messages from flows wait there. Counted here, because actix bounds a mailbox
/// for each sender alone and takes one message from every new one.
#[derive(Clone)]
pub struct Seat {
    pub addr: Addr<SessionActor>,
    waiting: Arc<AtomicUsize>,
    heard_on: HeardOn,
}

/// The flow a dialog was last heard on, which outlives the session's actor but not this node.
#[derive(Clone, Debug, Default)]
pub struct HeardOn(Arc<AtomicU64>);

impl HeardOn {
    pub fn set(&self, flow: FlowId) {
        self.0.store(flow.0, Ordering::Relaxed);
    }

    pub fn flow(&self) -> FlowId {
        FlowId(self.0.load(Ordering::Relaxed))
    }
}

/// What a session finds when it is entered.
pub struct Entered {
    pub heard_on: HeardOn,
    /// The session it takes the place of.
    pub superseded: Option<Addr<SessionActor>>,
}

/// One message's place in a session's mailbox; given back when the message is dropped, worked on or not.
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a message was not taken; it comes back.
#[derive(Debug)]
pub enum NotTaken {
    /// Too many wait: the far side tries again.
    Full(Box<Message>),
    /// The actor is gone.
    Gone(Box<Message>),
}

impl Seat {
    fn new(addr: Addr<SessionActor>, heard_on: HeardOn) -> Self {
        Self { addr, waiting: Arc::default(), heard_on }
    }

    /// Puts a message of the dialog into the session's mailbox.
    pub fn hand_in(&self, node: &Arc<Node>, flow: FlowId, message: Box<Message>) -> Result<(), NotTaken> {
        let place = Place(self.waiting.clone());
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAILBOX_MAX {
            return Err(NotTaken::Full(message));
        }
        let inbound = Inbound { node: node.clone(), flow, message: Some(message), place };
        let (mut refused, is_full) = match self.addr.try_send(inbound) {
            Ok(()) => return Ok(()),
            Err(SendError::Full(refused)) => (refused, true),
            Err(SendError::Closed(refused)) => (refused, false),
        };
        // Taken out, so that its drop does not hand it in again.
        let Some(message) = refused.message.take() else { return Ok(()) };
        Err(if is_full { NotTaken::Full(message) } else { NotTaken::Gone(message) })
    }
}

/// Sessions by id (which is our tag), by the far side's half of the dialog, and by endpoint.
#[derive(Default)]
pub struct Book(RwLock<Pages>);

#[derive(Default)]
struct Pages {
    sessions: HashMap<SessionId, Seat>,
    /// `Call-ID`, From tag → session: for INVITEs that come again and for CANCEL.
    dialogs: HashMap<Arc<str>, SessionId>,
    /// User, epid, device → session: a new sign-in there supersedes it.
    endpoints: HashMap<Arc<str>, Held>,
}

/// Who holds an endpoint, and since when.
struct Held {
    by: SessionId,
    began: Moment,
}

impl Book {
    /// Enters a session, or its new address after a restart. `is_new`: a user has just signed in; of two sessions that are
    /// resumed the one that began later stays.
    pub fn enter(&self, session: &Session, addr: Addr<SessionActor>, is_new: bool) -> Entered {
        let mut pages = self.write();
        let heard_on = pages.sessions.get(&session.id).map(|seat| seat.heard_on.clone()).unwrap_or_default();
        pages.sessions.insert(session.id.clone(), Seat::new(addr.clone(), heard_on.clone()));
        let dialog = dialog_key(&session.dialog.call_id, &session.dialog.remote_tag);
        pages.dialogs.insert(dialog.into(), session.id.clone());
        let Some(endpoint) = endpoint_key(session) else { return Entered { heard_on, superseded: None } };
        let other = pages.endpoints.get(endpoint.as_str()).filter(|held| held.by != session.id);
        let seat = other.and_then(|held| Some((held.began, pages.sessions.get(&held.by)?.addr.clone())));
        let superseded = match seat {
            Some((began, _)) if !is_new && began > session.began => {
                return Entered { heard_on, superseded: Some(addr) };
            }
            seat => seat.map(|(_, older)| older),
        };
        pages.endpoints.insert(endpoint.into(), Held { by: session.id.clone(), began: session.began });
        Entered { heard_on, superseded }
    }

    pub fn leave(&self, session: &Session) {
        let mut pages = self.write();
        pages.sessions.remove(&session.id);
        let dialog = dialog_key(&session.dialog.call_id, &session.dialog.remote_tag);
        if pages.dialogs.get(dialog.as_str()) == Some(&session.id) {
            pages.dialogs.remove(dialog.as_str());
        }
        if let Some(endpoint) = endpoint_key(session)
            && pages.endpoints.get(endpoint.as_str()).is_some_and(|held| held.by == session.id)
        {
            pages.endpoints.remove(endpoint.as_str());
        }
    }

    /// As `dialog`, the session's name.
    pub fn dialog_id(&self, call_id: &str, remote_tag: &str) -> Option<SessionId> {
        self.read().dialogs.get(dialog_key(call_id, remote_tag).as_str()).cloned()
    }

    /// A session whose record cannot be read any more.
    pub fn forget(&self, id: &SessionId) {
        self.write().sessions.remove(id);
    }

    /// By our tag.
    pub fn session(&self, tag: &str) -> Option<Seat> {
        self.read().sessions.get(tag).cloned()
    }

    /// By the far side's half.
    pub fn dialog(&self, call_id: &str, remote_tag: &str) -> Option<Seat> {
        let pages = self.read();
        let id = pages.dialogs.get(dialog_key(call_id, remote_tag).as_str())?;
        pages.sessions.get(id).cloned()
    }

    /// A link's actor is new: whoever lived on the old one binds to it.
    pub fn bind_again(&self, link: &str) {
        for session in self.read().sessions.values() {
            // Past the mailbox's bound, once a restart of a link.
            session.addr.do_send(BindAgain { link: link.into() });
        }
    }

    /// Every session here, in no order.
    pub fn ids(&self) -> Vec<SessionId> {
        self.read().sessions.keys().cloned().collect()
    }

    /// The session of this endpoint that is older than the one that began then.
    pub fn older_at_endpoint(&self, endpoint: &str, by: &SessionId, began: Moment) -> Option<Addr<SessionActor>> {
        let pages = self.read();
        let held = pages.endpoints.get(endpoint).filter(|held| held.by != *by && held.began <= began)?;
        pages.sessions.get(&held.by).map(|seat| seat.addr.clone())
    }

    pub fn sessions_count(&self) -> usize {
        self.read().sessions.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Pages> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Pages> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dialog_key(call_id: &str, remote_tag: &str) -> String {
    format!("{call_id}\n{remote_tag}")
}

/// Without an epid there is nothing to tell an old endpoint from a second computer by.
pub fn endpoint_key(session: &Session) -> Option<String> {
    let epid = session.dialog.epid.as_deref()?;
    Some(format!("{}\n{epid}\n{}", session.appearance.sip.to_ascii_lowercase(), session.appearance.device))
}
