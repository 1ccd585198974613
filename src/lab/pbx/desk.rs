//! Carries out what the laboratory's operator asks: phone actions, faults, looking around.

use super::board::{Board, Life};
use super::control::{CallSeen, LinkSeen, PAGE_MAX, PartySeen, Reply, Request, RequestError};
use super::fault::Faults;
use super::history::{Did, Happening};
use super::model::Applied;
use super::{call::PartyKind, words};
use crate::csta::{ConnectionId, LocalState, Outcome, Service};
use crate::cti::frame;

const SYSTEM_STATUS: [&str; 9] = [
    "disabled",
    "partiallyDisabled",
    "enabled",
    "initializing",
    "messagesLost",
    "normal",
    "overloadImminent",
    "overloadReached",
    "overloadRelieved",
];

impl Board {
    pub fn request(&mut self, request: &Request) -> Reply {
        self.ask(request).unwrap_or_else(|error| Reply::Error { error })
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, RequestError> {
        use LocalState::{Alerting, Connected, Fail, Hold, Initiated};
        let applied = match request {
            Request::Ring { device, from } => self.model.ring(device, from.as_deref()),
            Request::Dial { device, to } => self.model.dial(device, to),
            Request::Answer { device, call } => {
                let call = self.connection(device.as_deref(), call.as_deref(), &[Alerting, Initiated])?;
                self.model.apply(&Service::AnswerCall { call }, None)
            }
            Request::Hangup { device, call } => {
                let wanted = [Connected, Initiated, Alerting, Hold, Fail];
                let connection = self.connection(Some(device), call.as_deref(), &wanted)?;
                self.model.apply(&Service::ClearConnection { connection, reason: None }, None)
            }
            Request::Hold { device, call } => {
                let call = self.connection(Some(device), call.as_deref(), &[Connected])?;
                self.model.apply(&Service::HoldCall { call }, None)
            }
            Request::Retrieve { device, call } => {
                let call = self.connection(Some(device), call.as_deref(), &[Hold])?;
                self.model.apply(&Service::RetrieveCall { call }, None)
            }
            Request::Forward { device, to, forwarding_type } => {
                let forwarding_type = forwarding_type.as_deref().unwrap_or("forwardImmediate").to_owned();
                let (device, activate, to) = (device.clone(), to.is_some(), to.clone());
                self.model.apply(&Service::SetForwarding { device, forwarding_type, activate, to }, None)
            }
            Request::Dnd { device, on } => {
                self.model.apply(&Service::SetDoNotDisturb { device: device.clone(), on: *on }, None)
            }
            Request::Mwi { device, on } => {
                self.model.apply(&Service::SetMessageWaitingIndicator { device: device.clone(), on: *on }, None)
            }
            Request::History { after, max } => {
                return Ok(Reply::History(self.history.page(*after, (*max).min(PAGE_MAX))));
            }
            Request::Calls { after, max } => return Ok(self.calls_seen(*after, *max)),
            Request::Stats => return Ok(Reply::Stats(self.stats())),
            Request::Links => return Ok(self.links_seen()),
            Request::AddDevices { first, count } => {
                let added = self.model.add_devices(first, *count);
                return added.map(|()| Reply::Done).map_err(|_| RequestError::CannotAddDevices);
            }
            fault => return self.fault(fault),
        };
        Ok(self.phone_did(request, applied))
    }

    fn phone_did(&mut self, request: &Request, applied: Applied) -> Reply {
        let did = Did::of(&applied.outcome);
        self.record(Happening::Phone { request: request.clone(), did });
        let reply = match &applied.outcome {
            Outcome::Failed(failure) => Reply::Refused { failure: failure.clone() },
            Outcome::MakeCall { calling } => Reply::Call { call: calling.call.clone() },
            _ => Reply::Done,
        };
        self.carry_out(applied);
        reply
    }

    /// The connection a phone action means: of the party, in the call, in the first of the states that fits.
    fn connection(
        &self,
        party: Option<&str>,
        call: Option<&str>,
        states: &[LocalState],
    ) -> Result<ConnectionId, RequestError> {
        let name = party.map(|party| self.model.number(party).unwrap_or_else(|| party.into()));
        let call = call.map(|call| call.parse::<u64>().map_err(|_| RequestError::NoSuchCall)).transpose()?;
        // A device knows its calls; only parties outside have to be looked for in all of them.
        let device = name.as_deref().and_then(|name| self.model.device_named(name));
        let candidates: Vec<u64> = match (call, device) {
            (Some(call), _) => vec![call],
            (None, Some(device)) => device.calls.clone(),
            (None, None) if name.is_some() => self.model.calls().map(|call| call.id).collect(),
            (None, None) => return Err(RequestError::NoSuchParty),
        };
        for state in states {
            for call in candidates.iter().filter_map(|id| self.model.call_with(*id)) {
                let meant = |c: &&super::call::Connection| {
                    c.state == *state && name.as_ref().is_none_or(|name| c.party.name == *name)
                };
                if let Some(found) = call.connections.iter().find(meant) {
                    return Ok(call.connection_id(&found.party.name));
                }
            }
        }
        Err(RequestError::NoSuchCall)
    }

    fn calls_seen(&self, after: u64, max: usize) -> Reply {
        let seen = |call: &super::call::Call| CallSeen {
            call: call.id.to_string(),
            calling: call.calling.as_device().map(str::to_owned),
            called: call.called.as_device().map(str::to_owned),
            correlator: call.correlator.clone(),
            parties: call
                .connections
                .iter()
                .map(|c| PartySeen {
                    party: c.party.name.to_string(),
                    is_device: c.party.kind == PartyKind::Device,
                    state: c.state,
                })
                .collect(),
        };
        let calls = self.model.calls().filter(|call| call.id > after).take(max.min(PAGE_MAX)).map(seen);
        Reply::Calls { calls: calls.collect() }
    }

    fn links_seen(&self) -> Reply {
        let seen = |(index, link): (usize, &super::board::Link)| LinkSeen {
            link: link.name.clone(),
            faults: link.faults.clone(),
            flows: self.flows.values().filter(|end| end.link == index).count(),
            sessions: self.sessions.values().filter(|session| session.link == index).count(),
        };
        Reply::Links { links: self.links.iter().enumerate().map(seen).collect() }
    }

    fn fault(&mut self, request: &Request) -> Result<Reply, RequestError> {
        match request {
            Request::Drop { link } => {
                let link = self.link(link)?;
                self.kill_flows(link);
            }
            Request::Refuse { link, on } => {
                let link = self.link(link)?;
                self.set_faults(link, |faults| faults.refuses = *on);
            }
            Request::Freeze { link, on } => {
                let link = self.link(link)?;
                self.set_faults(link, |faults| faults.frozen = *on);
            }
            Request::Delay { link, ms } => {
                let link = self.link(link)?;
                self.set_faults(link, |faults| faults.answer_delay_ms = *ms);
            }
            Request::DropAnswers { link, every } => {
                let link = self.link(link)?;
                self.set_faults(link, |faults| faults.drop_every(*every));
            }
            Request::AnswerTwice { link, on } => {
                let link = self.link(link)?;
                self.set_faults(link, |faults| faults.answers_twice = *on);
            }
            Request::Status { link, status } => {
                let link = self.link(link)?;
                if !SYSTEM_STATUS.contains(&status.as_str()) {
                    return Err(RequestError::NoSuchStatus);
                }
                self.set_faults(link, |faults| faults.system_status.clone_from(status));
                self.report_status(link);
            }
            Request::Restart { link, forget_calls } => {
                if link.is_some() && *forget_calls {
                    return Err(RequestError::CallsAreShared);
                }
                for link in self.links_meant(link.as_deref())? {
                    self.kill_flows(link);
                    self.end_sessions(link);
                }
                if *forget_calls {
                    self.model.forget_calls();
                }
            }
            Request::Terminate { link } => {
                let link = self.link(link)?;
                self.terminate(link);
            }
            Request::Heal { link } => {
                for link in self.links_meant(link.as_deref())? {
                    self.set_faults(link, |faults| *faults = Faults::default());
                    self.report_status(link);
                }
            }
            // Everything else was answered before.
            _ => {}
        }
        self.record(Happening::Fault { request: request.clone() });
        Ok(Reply::Done)
    }

    pub(super) fn link(&self, name: &str) -> Result<usize, RequestError> {
        self.links.iter().position(|link| link.name == name).ok_or(RequestError::NoSuchLink)
    }

    fn links_meant(&self, name: Option<&str>) -> Result<Vec<usize>, RequestError> {
        match name {
            Some(name) => Ok(vec![self.link(name)?]),
            None => Ok((0..self.links.len()).collect()),
        }
    }

    fn set_faults(&mut self, link: usize, change: impl FnOnce(&mut Faults)) {
        let link = &mut self.links[link];
        change(&mut link.faults);
        link.is_frozen.send_replace(link.faults.frozen);
        link.refuses.send_replace(link.faults.refuses);
    }

    fn kill_flows(&mut self, link: usize) {
        for flow in self.flows_of(link) {
            self.close(flow, Life::Killed);
        }
    }

    fn end_sessions(&mut self, link: usize) {
        let meant = |(id, session): (&u64, &super::session::Session)| (session.link == link).then_some(*id);
        let sessions: Vec<u64> = self.sessions.iter().filter_map(meant).collect();
        for session in sessions {
            self.end_session(session);
        }
    }

    fn terminate(&mut self, link: usize) {
        for flow in self.flows_of(link) {
            let Some(end) = self.flows.get_mut(&flow) else { continue };
            let Some(name) = end.session.and_then(|id| self.sessions.get(&id)).map(|session| session.name.clone())
            else {
                continue;
            };
            let invoke = end.next_invoke;
            end.next_invoke = if invoke == frame::REQUEST_ID_MAX { frame::REQUEST_ID_MIN } else { invoke + 1 };
            self.send(flow, invoke, &words::terminated(&name), None);
        }
        self.end_sessions(link);
    }
}
