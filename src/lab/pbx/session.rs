//! Application sessions (ECMA-354), their monitors, and how they begin, go on and end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::{Board, Life, Monitor, Task};
use super::history::{Happening, SessionTurn};
use super::words::{self, Asked, DMCC_NAMESPACE, SESSION_NAMESPACE, Start};
use crate::csta::Namespace;

/// How long an overdue session of a frozen link waits before it is looked at again.
const FROZEN_RETRY_MS: u64 = 50;

/// One application session. `flow` is missing while a DMCC session waits to be resumed.
#[derive(Debug)]
pub struct Session {
    pub name: String,
    pub application: String,
    pub link: usize,
    pub flow: Option<u64>,
    pub dialect: Dialect,
    /// What events are written in: the namespace of the last MonitorStart.
    pub namespace: Namespace,
    pub monitors: BTreeMap<Arc<str>, Arc<str>>,
    pub next_xref: u64,
    pub wants_status: bool,
    pub expires: Instant,
    pub cleaned_up: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Cross-reference ids start at "0" in every session, and the session ends with its connection.
    Generic,
    /// Cross-reference ids are unique, devices have opaque ids, and the session outlives its connection for a while.
    Dmcc { cleanup_delay_s: u64, switch: String },
}

/// The switch name of device ids until GetThirdPartyDeviceId gives one.
const SWITCH: &str = "LAB";

impl Board {
    pub(super) fn session_asked(&mut self, flow: u64, invoke: u16, asked: Asked) {
        let body = match asked {
            Asked::Start(start) => self.start_session(flow, start),
            Asked::ResetTimer { session, duration_s } => self.reset_timer(flow, &session, duration_s),
            Asked::Stop { session } => match self.session_of(flow, &session) {
                Some(id) => {
                    let peer = self.flows.get(&flow).map(|end| end.peer);
                    self.record_turn(id, peer, SessionTurn::Stopped);
                    self.end_session(id);
                    words::done("StopApplicationSessionPosResponse", SESSION_NAMESPACE)
                }
                None => words::refused("StopApplicationSessionNegResponse", "invalidSessionID"),
            },
            Asked::DeviceId { extension, switch } => {
                // Any number gets an id, as on a real server: callers name outside numbers by ids too.
                let Some(number) = self.model.number(&extension) else {
                    return self.refuse(flow, invoke, crate::csta::namespace(DMCC_NAMESPACE), "invalidDeviceID");
                };
                let session = self.flows.get(&flow).and_then(|end| end.session);
                let dialect = session.and_then(|id| self.sessions.get_mut(&id)).map(|session| &mut session.dialect);
                let Some(Dialect::Dmcc { switch: kept, .. }) = dialect else {
                    return self.refuse(flow, invoke, crate::csta::namespace(DMCC_NAMESPACE), "serviceNotSupported");
                };
                let is_name = (1..=32).contains(&switch.len()) && switch.bytes().all(|b| b.is_ascii_alphanumeric());
                if is_name {
                    kept.clone_from(&switch);
                }
                let name = format!("{number}:{kept}::0");
                words::device_id(&name)
            }
            Asked::ReleaseDeviceId => words::done("ReleaseDeviceIdResponse", DMCC_NAMESPACE),
            Asked::TransferMonitors { from, to } => {
                if !self.transfer_monitors(flow, &from, &to) {
                    return self.refuse(flow, invoke, crate::csta::namespace(DMCC_NAMESPACE), "objectNotKnown");
                }
                words::done("TransferMonitorObjectsResponse", DMCC_NAMESPACE)
            }
        };
        self.answer(flow, invoke, &body);
    }

    fn session_of(&self, flow: u64, name: &str) -> Option<u64> {
        let id = self.flows.get(&flow)?.session?;
        (self.sessions.get(&id)?.name == name).then_some(id)
    }

    fn start_session(&mut self, flow: u64, start: Start) -> Vec<u8> {
        const REFUSED: &str = "StartApplicationSessionNegResponse";
        let Some(end) = self.flows.get(&flow) else { return Vec::new() };
        let (link, peer, before) = (end.link, end.peer, end.session);
        let wanted = start.login.as_ref().map_or("", |login| login.session.as_str());
        let resumed = self.resumable(link, wanted);
        let is_known = match (&self.options.credentials, &start.login) {
            (Some((user, password)), Some(login)) => *user == login.user && *password == login.password,
            _ => true,
        };
        let error = match () {
            () if !is_known || (!wanted.is_empty() && resumed.is_none()) => Some("invalidApplicationInfo"),
            () if resumed.is_none() && self.sessions.len() >= self.options.sessions_max => Some("maxNumberSessions"),
            () => None,
        };
        if let Some(error) = error {
            let what = Happening::Session {
                link: self.links[link].name.clone(),
                peer: Some(peer),
                application: start.application,
                session: wanted.to_owned(),
                turn: SessionTurn::Refused,
            };
            self.record(what);
            return words::refused(REFUSED, error);
        }
        if let Some(before) = before.filter(|before| Some(*before) != resumed) {
            self.record_turn(before, Some(peer), SessionTurn::Stopped);
            self.end_session(before);
        }
        let duration_s = self.granted(start.duration_s);
        let id = match resumed {
            Some(id) => self.resume(id, flow),
            None => self.new_session(flow, link, &start),
        };
        if let Some(end) = self.flows.get_mut(&flow) {
            end.session = Some(id);
        }
        self.prolong(id, duration_s);
        let turn = if resumed.is_some() { SessionTurn::Resumed } else { SessionTurn::Started };
        self.record_turn(id, Some(peer), turn);
        let version = start.protocol_version.as_deref().unwrap_or(crate::csta::ED3);
        let name = self.sessions.get(&id).map(|session| session.name.clone()).unwrap_or_default();
        words::started(&name, version, duration_s)
    }

    fn resumable(&self, link: usize, name: &str) -> Option<u64> {
        let fits = |session: &Session| {
            session.link == link && session.name == name && matches!(session.dialect, Dialect::Dmcc { .. })
        };
        self.sessions.iter().find(|(_, session)| fits(session)).map(|(id, _)| *id)
    }

    /// The session goes on over a new flow; the one it had, if any, is closed.
    fn resume(&mut self, id: u64, flow: u64) -> u64 {
        let Some(session) = self.sessions.get_mut(&id) else { return id };
        if let Some(old) = session.flow.replace(flow).filter(|old| *old != flow) {
            if let Some(end) = self.flows.get_mut(&old) {
                end.session = None;
            }
            self.close(old, Life::Closing);
        }
        id
    }

    fn new_session(&mut self, flow: u64, link: usize, start: &Start) -> u64 {
        let id = self.new_id();
        let dialect = start.login.as_ref().map_or(Dialect::Generic, |login| Dialect::Dmcc {
            cleanup_delay_s: login.cleanup_delay_s.min(self.options.cleanup_delay_max_s),
            switch: SWITCH.to_owned(),
        });
        let session = Session {
            name: format!("{}-{id}", self.links[link].name),
            application: start.application.clone(),
            link,
            flow: Some(flow),
            dialect,
            namespace: crate::csta::namespace(""),
            monitors: BTreeMap::new(),
            next_xref: 0,
            wants_status: false,
            expires: Instant::now(),
            cleaned_up: Instant::now(),
        };
        self.sessions.insert(id, session);
        id
    }

    fn granted(&self, duration_s: u64) -> u64 {
        let most = self.options.session_duration_max_s;
        if duration_s == 0 { most } else { duration_s.min(most) }
    }

    fn prolong(&mut self, id: u64, duration_s: u64) {
        let after = Duration::from_secs(duration_s);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.expires = Instant::now() + after;
            self.set_timer(after, Task::Expire(id));
        }
    }

    fn reset_timer(&mut self, flow: u64, name: &str, duration_s: u64) -> Vec<u8> {
        let Some(id) = self.session_of(flow, name) else {
            return words::refused("ResetApplicationSessionTimerNegResponse", "invalidSessionID");
        };
        let duration_s = self.granted(duration_s);
        self.prolong(id, duration_s);
        words::timer_reset(duration_s)
    }

    /// The session's time has run out: it ends, and its connection is closed without a word, as measured.
    pub(super) fn expire(&mut self, id: u64, now: Instant) {
        let Some(session) = self.sessions.get(&id) else { return };
        if session.expires > now {
            return;
        }
        if self.links[session.link].faults.frozen {
            return self.set_timer(Duration::from_millis(FROZEN_RETRY_MS), Task::Expire(id));
        }
        let flow = session.flow;
        self.record_turn(id, None, SessionTurn::Expired);
        self.end_session(id);
        if let Some(flow) = flow {
            self.close(flow, Life::Closing);
        }
    }

    /// The session's connection is gone.
    pub(super) fn lose_session(&mut self, id: u64, peer: SocketAddr) {
        self.record_turn(id, Some(peer), SessionTurn::Lost);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.dialect {
            Dialect::Dmcc { cleanup_delay_s, .. } if cleanup_delay_s > 0 => {
                let after = Duration::from_secs(cleanup_delay_s);
                session.flow = None;
                session.cleaned_up = Instant::now() + after;
                self.set_timer(after, Task::CleanUp(id));
            }
            _ => self.end_session(id),
        }
    }

    pub(super) fn clean_up(&mut self, id: u64, now: Instant) {
        if self.sessions.get(&id).is_some_and(|session| session.flow.is_none() && session.cleaned_up <= now) {
            self.record_turn(id, None, SessionTurn::CleanedUp);
            self.end_session(id);
        }
    }

    /// The session and its monitors are gone; its flow, if it has one, stays.
    pub(super) fn end_session(&mut self, id: u64) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(end) = session.flow.and_then(|flow| self.flows.get_mut(&flow)) {
            end.session = None;
        }
        for (xref, device) in &session.monitors {
            self.remove_monitor(device, id, xref);
        }
    }

    pub(super) fn remove_monitor(&mut self, device: &str, session: u64, xref: &str) {
        let Some(monitors) = self.monitors.get_mut(device) else { return };
        let before = monitors.len();
        monitors.retain(|monitor| monitor.session != session || *monitor.xref != *xref);
        self.stats.monitors -= before - monitors.len();
        if monitors.is_empty() {
            self.monitors.remove(device);
        }
    }

    pub(super) fn add_monitor(&mut self, session: u64, device: Arc<str>, namespace: Namespace) -> Option<Arc<str>> {
        let unique = self.next_xref;
        let kept = self.sessions.get_mut(&session)?;
        let number = match kept.dialect {
            Dialect::Generic => kept.next_xref,
            Dialect::Dmcc { .. } => unique,
        };
        kept.next_xref += 1;
        self.next_xref += 1;
        let xref: Arc<str> = number.to_string().into();
        kept.namespace = namespace;
        kept.monitors.insert(xref.clone(), device.clone());
        self.monitors.entry(device).or_default().push(Monitor { session, xref: xref.clone() });
        self.stats.monitors += 1;
        Some(xref)
    }

    /// DMCC: the monitors of a lost session go to this flow's session and keep their ids. The old session ends.
    fn transfer_monitors(&mut self, flow: u64, from: &str, to: &str) -> bool {
        let Some(to) = self.session_of(flow, to) else { return false };
        let link = self.sessions[&to].link;
        let Some(from) = self.resumable(link, from).filter(|from| *from != to) else { return false };
        let Some(mut old) = self.sessions.remove(&from) else { return false };
        let moved = std::mem::take(&mut old.monitors);
        for (xref, device) in &moved {
            for monitor in self.monitors.get_mut(device).into_iter().flatten() {
                if monitor.session == from && monitor.xref == *xref {
                    monitor.session = to;
                }
            }
        }
        if let Some(session) = self.sessions.get_mut(&to) {
            session.monitors.extend(moved);
            session.namespace = old.namespace;
        }
        if let Some(flow) = old.flow {
            if let Some(end) = self.flows.get_mut(&flow) {
                end.session = None;
            }
            self.close(flow, Life::Closing);
        }
        true
    }
}
