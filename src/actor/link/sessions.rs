//! The sessions bound to one link, and whose a monitor is.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::Recipient;

use super::inbox::Inbox;
use crate::actor::mail::FromLink;
use crate::id::SessionId;

/// Bound sessions and their monitors. Cross-reference ids are a PBX's, and unique only within one generation of its
/// connection: measured, they start at `0` again each time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Boxed: a hash table holds up to twice as many places as entries, and a signed-in user should cost little.
    bound: HashMap<SessionId, Box<Bound>>,
    routes: HashMap<Arc<str>, SessionId>,
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) inbox: Inbox,
    pub(super) has_calls: bool,
    /// It has been told that the link is up, in this generation.
    pub(super) knows_up: bool,
    monitors: Monitors,
}

/// Nearly every session has one.
#[derive(Debug, Default)]
enum Monitors {
    #[default]
    None,
    One(Monitor),
    Several(Vec<Monitor>),
}

#[derive(Debug)]
struct Monitor {
    xref: Arc<str>,
    /// Only ever compared within one session.
    device: u64,
    /// Started for an earlier life of the session or of the connection, and still running.
    inherited: bool,
}

impl Monitors {
    fn as_mut_slice(&mut self) -> &mut [Monitor] {
        match self {
            Self::None => &mut [],
            Self::One(monitor) => std::slice::from_mut(monitor),
            Self::Several(monitors) => monitors,
        }
    }

    fn take(&mut self) -> Vec<Monitor> {
        match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(monitor) => vec![monitor],
            Self::Several(monitors) => monitors,
        }
    }

    fn put(&mut self, monitor: Monitor) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(monitor),
            Self::One(first) => Self::Several(vec![first, monitor]),
            Self::Several(mut monitors) => {
                monitors.push(monitor);
                Self::Several(monitors)
            }
        };
    }

    /// Takes out those that are meant.
    fn extract(&mut self, is_meant: impl Fn(&Monitor) -> bool) -> Vec<Monitor> {
        let (meant, kept): (Vec<_>, Vec<_>) = self.take().into_iter().partition(is_meant);
        kept.into_iter().for_each(|monitor| self.put(monitor));
        meant
    }
}

fn fingerprint(device: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    device.hash(&mut hasher);
    hasher.finish()
}

impl Sessions {
    /// A second bind replaces the first: the running monitors wait to be taken up again.
    pub(super) fn bind(&mut self, session: SessionId, inbox: Recipient<FromLink>, has_calls: bool) {
        match self.bound.get_mut(&session) {
            Some(bound) => {
                bound.inbox.replace(inbox);
                bound.has_calls = has_calls;
                bound.knows_up = false;
                bound.monitors.as_mut_slice().iter_mut().for_each(|monitor| monitor.inherited = true);
            }
            None => {
                let inbox = Inbox::new(inbox);
                let bound = Bound { inbox, has_calls, knows_up: false, monitors: Monitors::None };
                self.bound.insert(session, Box::new(bound));
            }
        }
    }

    /// Forgets the session; the cross-reference ids of its monitors are left to be stopped.
    pub(super) fn unbind(&mut self, session: &SessionId) -> Vec<Arc<str>> {
        let Some(mut bound) = self.bound.remove(session) else { return Vec::new() };
        bound
            .monitors
            .take()
            .into_iter()
            .map(|monitor| monitor.xref)
            .inspect(|xref| drop(self.routes.remove(xref)))
            .collect()
    }

    pub(super) fn of_mut(&mut self, session: &SessionId) -> Option<&mut Bound> {
        self.bound.get_mut(session).map(Box::as_mut)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (&SessionId, &mut Bound)> {
        self.bound.iter_mut().map(|(session, bound)| (session, bound.as_mut()))
    }

    pub(super) fn is_bound(&self, session: &SessionId) -> bool {
        self.bound.contains_key(session)
    }

    /// From the next message on, what carries this cross-reference id is the session's.
    pub(super) fn route(&mut self, session: &SessionId, xref: &str, device: &str) {
        self.unroute(xref);
        let Some(bound) = self.bound.get_mut(session) else { return };
        let xref: Arc<str> = xref.into();
        self.routes.insert(xref.clone(), session.clone());
        bound.monitors.put(Monitor { xref, device: fingerprint(device), inherited: false });
    }

    pub(super) fn routed(&self, xref: &str) -> Option<&SessionId> {
        self.routes.get(xref)
    }

    pub(super) fn unroute(&mut self, xref: &str) {
        if let Some(session) = self.routes.remove(xref)
            && let Some(bound) = self.bound.get_mut(&session)
        {
            bound.monitors.extract(|monitor| &*monitor.xref == xref);
        }
    }

    /// A running monitor of an earlier life on this device; handed out once.
    pub(super) fn take_up(&mut self, session: &SessionId, device: &str) -> Option<String> {
        let device = fingerprint(device);
        let monitors = self.bound.get_mut(session)?.monitors.as_mut_slice();
        let monitor = monitors.iter_mut().find(|monitor| monitor.inherited && monitor.device == device)?;
        monitor.inherited = false;
        Some(monitor.xref.as_ref().to_owned())
    }

    /// Running monitors the session has not taken up again; the caller stops them.
    pub(super) fn drop_inherited(&mut self, session: &SessionId) -> Vec<Arc<str>> {
        let Some(bound) = self.bound.get_mut(session) else { return Vec::new() };
        let dropped = bound.monitors.extract(|monitor| monitor.inherited);
        let dropped: Vec<_> = dropped.into_iter().map(|monitor| monitor.xref).collect();
        for xref in &dropped {
            self.routes.remove(xref);
        }
        dropped
    }

    /// A new generation begins. Unless the PBX kept them, no monitor of an earlier one exists any more.
    pub(super) fn begin_generation(&mut self, resumed: bool) {
        if !resumed {
            self.routes.clear();
        }
        for bound in self.bound.values_mut() {
            bound.knows_up = false;
            if resumed {
                bound.monitors.as_mut_slice().iter_mut().for_each(|monitor| monitor.inherited = true);
            } else {
                bound.monitors = Monitors::None;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bound.len()
    }

    pub(super) fn monitors(&self) -> usize {
        self.routes.len()
    }
}
