//! The sessions bound to one link, and whose a monitor is.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Recipient;

use super::inbox::Inbox;
use crate::actor::mail::FromLink;
use crate::id::SessionId;

/// Bound sessions and their monitors. Cross-reference ids are a PBX's, and unique only within one generation of its
/// connection: measured, they start at `0` again each time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    bound: HashMap<SessionId, Bound>,
    routes: HashMap<Arc<str>, SessionId>,
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) inbox: Inbox,
    pub(super) has_calls: bool,
    /// It has been told that the link is up, in this generation.
    pub(super) knows_up: bool,
    monitors: Vec<Monitor>,
}

#[derive(Debug)]
struct Monitor {
    xref: Arc<str>,
    device: Box<str>,
    /// Started for an earlier life of the session or of the connection, and still running.
    inherited: bool,
}

impl Sessions {
    /// A second bind replaces the first: the running monitors wait to be taken up again.
    pub(super) fn bind(&mut self, session: SessionId, inbox: Recipient<FromLink>, has_calls: bool) {
        match self.bound.get_mut(&session) {
            Some(bound) => {
                bound.inbox.replace(inbox);
                bound.has_calls = has_calls;
                bound.knows_up = false;
                bound.monitors.iter_mut().for_each(|monitor| monitor.inherited = true);
            }
            None => {
                let inbox = Inbox::new(inbox);
                self.bound.insert(session, Bound { inbox, has_calls, knows_up: false, monitors: Vec::new() });
            }
        }
    }

    /// Forgets the session; the cross-reference ids of its monitors are left to be stopped.
    pub(super) fn unbind(&mut self, session: &SessionId) -> Vec<Arc<str>> {
        let Some(bound) = self.bound.remove(session) else { return Vec::new() };
        bound.monitors.into_iter().map(|monitor| monitor.xref).inspect(|xref| drop(self.routes.remove(xref))).collect()
    }

    pub(super) fn of_mut(&mut self, session: &SessionId) -> Option<&mut Bound> {
        self.bound.get_mut(session)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (&SessionId, &mut Bound)> {
        self.bound.iter_mut()
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
        bound.monitors.reserve_exact(1);
        bound.monitors.push(Monitor { xref, device: device.into(), inherited: false });
    }

    pub(super) fn routed(&self, xref: &str) -> Option<&SessionId> {
        self.routes.get(xref)
    }

    pub(super) fn unroute(&mut self, xref: &str) {
        if let Some(session) = self.routes.remove(xref)
            && let Some(bound) = self.bound.get_mut(&session)
        {
            bound.monitors.retain(|monitor| &*monitor.xref != xref);
        }
    }

    /// A running monitor of an earlier life on this device; handed out once.
    pub(super) fn take_up(&mut self, session: &SessionId, device: &str) -> Option<String> {
        let monitors = &mut self.bound.get_mut(session)?.monitors;
        let monitor = monitors.iter_mut().find(|monitor| monitor.inherited && &*monitor.device == device)?;
        monitor.inherited = false;
        Some(monitor.xref.as_ref().to_owned())
    }

    /// Running monitors the session has not taken up again; the caller stops them.
    pub(super) fn drop_inherited(&mut self, session: &SessionId) -> Vec<Arc<str>> {
        let Some(bound) = self.bound.get_mut(session) else { return Vec::new() };
        let dropped: Vec<_> =
            bound.monitors.extract_if(.., |monitor| monitor.inherited).map(|monitor| monitor.xref).collect();
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
                bound.monitors.iter_mut().for_each(|monitor| monitor.inherited = true);
            } else {
                bound.monitors = Vec::new();
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
