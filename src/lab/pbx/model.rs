//! The call model: one PBX as a value. No clock, no randomness, no I/O; what has to happen later is asked of the caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call::{Call, Connection};
use super::device::Device;
use super::number::{self, NumberPlan};
use crate::csta::{ConnectionId, EventBody, Failure, LocalState, Outcome, Service};

/// How the PBX behaves and where it ends. Numbers that are no device are outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    pub plan: NumberPlan,
    /// The first rule whose prefix fits an outside number decides; none: it answers after `outside_answer_after_ms`.
    pub outside: Vec<OutsideRule>,
    /// `None`: outside parties ring until the ring timeout.
    pub outside_answer_after_ms: Option<u64>,
    /// `None`: ringing never ends by itself.
    pub ring_timeout_ms: Option<u64>,
    /// How long two outside parties talk on, once a transfer has left them to each other.
    pub trunk_to_trunk_ms: u64,
    /// A device with this many calls is busy; also with one that rings or is being dialled.
    pub calls_per_device_max: usize,
    pub conference_parties_max: usize,
    pub calls_max: usize,
    pub devices_max: usize,
}

/// What the outside parties whose number starts with `prefix` do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRule {
    pub prefix: String,
    pub does: OutsideDoes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideDoes {
    AnswerAfterMs(u64),
    RingOn,
    Busy,
    /// The number is not assigned: Failed with `destNotObtainable`.
    Unobtainable,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            plan: NumberPlan::default(),
            outside: Vec::new(),
            outside_answer_after_ms: Some(1_000),
            ring_timeout_ms: Some(60_000),
            trunk_to_trunk_ms: 60_000,
            calls_per_device_max: 2,
            conference_parties_max: 16,
            calls_max: 100_000,
            devices_max: 100_000,
        }
    }
}

/// What came of a service: the outcome first, then the events, each for the monitors of one device, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub outcome: Outcome,
    pub events: Vec<(Arc<str>, EventBody)>,
    pub later: Vec<Later>,
}

/// Asks the caller to put `what` to [`Model::due`] when the time has come. Never needs to be cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    pub after_ms: u64,
    pub what: Due,
}

/// A thing that happens by itself; `alert` names the ringing it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    OutsideAnswers { call: u64, alert: u64 },
    RingTimeout { call: u64, alert: u64 },
    OutsideLeaves { call: u64 },
}

/// Collects events and timers while a service is being carried out.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub events: Vec<(Arc<str>, EventBody)>,
    pub later: Vec<Later>,
}

impl Said {
    pub fn later(&mut self, after_ms: u64, what: Due) {
        self.later.push(Later { after_ms, what });
    }

    /// One event to each device in the call, as that device sees it: its own name and its own state go in.
    pub fn tell(&mut self, call: &Call, event: impl Fn(&Connection) -> EventBody) {
        self.events.extend(call.devices().map(|own| (own.party.name.clone(), event(own))));
    }

    pub fn applied(self, outcome: Outcome) -> Applied {
        Applied { outcome, events: self.events, later: self.later }
    }
}

/// Devices and the calls between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(super) options: ModelOptions,
    pub(super) devices: BTreeMap<Arc<str>, Device>,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) next_call: u64,
    pub(super) next_alert: u64,
}

/// Devices that could not be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddDevicesError {
    #[error("{0:?} is not an extension: digits only")]
    NotAnExtension(String),
    #[error("more than {0} devices")]
    TooMany(usize),
}

impl Model {
    pub fn new(options: ModelOptions) -> Self {
        Self { options, devices: BTreeMap::new(), calls: BTreeMap::new(), next_call: 1_001, next_alert: 1 }
    }

    /// Adds `count` extensions from `first` on, with as many digits as `first` has; all or none. Devices that exist
    /// stay as they are.
    pub fn add_devices(&mut self, first: &str, count: usize) -> Result<(), AddDevicesError> {
        let is_extension = !first.is_empty() && first.len() <= 12 && first.bytes().all(|b| b.is_ascii_digit());
        let Some(start) = is_extension.then(|| first.parse::<u64>().ok()).flatten() else {
            return Err(AddDevicesError::NotAnExtension(first.to_owned()));
        };
        if count > self.options.devices_max.saturating_sub(self.devices.len()) {
            return Err(AddDevicesError::TooMany(self.options.devices_max));
        }
        for number in start..start + count as u64 {
            let name: Arc<str> = format!("{number:0width$}", width = first.len()).into();
            self.devices.entry(name.clone()).or_insert_with(|| Device::new(name));
        }
        Ok(())
    }

    pub fn options(&self) -> &ModelOptions {
        &self.options
    }

    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values()
    }

    pub fn call_with(&self, id: u64) -> Option<&Call> {
        self.calls.get(&id)
    }

    pub fn calls_count(&self) -> usize {
        self.calls.len()
    }

    pub fn devices_count(&self) -> usize {
        self.devices.len()
    }

    pub fn device_named(&self, text: &str) -> Option<&Device> {
        if let Some(device) = self.devices.get(text) {
            return Some(device);
        }
        self.devices.get(&self.number(text)?)
    }

    /// Ends everything without a word, as a restarting PBX does. Settings of the devices stay.
    pub fn forget_calls(&mut self) {
        self.calls.clear();
        self.devices.values_mut().for_each(|device| device.calls.clear());
    }

    /// The one name of whoever `text` means: an extension when the number, its `ext=` or the plan leads to a device, else
    /// the bare outside number. `None`: no number at all.
    pub fn number(&self, text: &str) -> Option<Arc<str>> {
        if let Some((name, _)) = self.devices.get_key_value(text) {
            return Some(name.clone());
        }
        let extension = number::extension_parameter(text).and_then(|extension| self.devices.get_key_value(extension));
        if let Some((name, _)) = extension {
            return Some(name.clone());
        }
        let bare = number::bare(text)?;
        if let Some((name, _)) = self.devices.get_key_value(bare.as_str()) {
            return Some(name.clone());
        }
        let planned = self.options.plan.extension(&bare);
        match planned.and_then(|extension| self.devices.get_key_value(extension.as_str())) {
            Some((name, _)) => Some(name.clone()),
            None => Some(bare.into()),
        }
    }

    /// Carries out one service. `acting` is the device that stands in for a connection's missing device part. A refused
    /// service changes nothing and says nothing.
    ///
    /// Sessions and monitors are the server's: those services are refused here as `serviceNotSupported`.
    pub fn apply(&mut self, service: &Service, acting: Option<&str>) -> Applied {
        let mut said = Said::default();
        let outcome = self.serve(service, acting, &mut said).unwrap_or_else(Outcome::Failed);
        said.applied(outcome)
    }

    fn serve(&mut self, service: &Service, acting: Option<&str>, said: &mut Said) -> Result<Outcome, Failure> {
        match service {
            Service::MakeCall { calling, called, auto_originate, correlator } => {
                let prompts = auto_originate.as_deref() == Some("prompt");
                self.make_call(calling, called, correlator.clone(), prompts, said)
            }
            Service::AnswerCall { call } => {
                let at = self.at(call, acting)?;
                self.answer(&at, said).map(|()| Outcome::AnswerCall)
            }
            Service::ClearConnection { connection, .. } => {
                let at = self.at(connection, acting)?;
                if self.state(&at) == LocalState::Fail {
                    return Err(state("noConnectionToClear"));
                }
                self.clear(&at, "normalClearing", said);
                Ok(Outcome::ClearConnection)
            }
            Service::ClearCall { call } => {
                let at = self.at(call, acting)?;
                self.clear_call(&at, said);
                Ok(Outcome::ClearCall)
            }
            Service::HoldCall { call } => {
                let at = self.at(call, acting)?;
                self.require(&at, LocalState::Connected, "noActiveCall")?;
                self.hold(&at, "normal", said);
                Ok(Outcome::HoldCall)
            }
            Service::RetrieveCall { call } => {
                let at = self.at(call, acting)?;
                self.require(&at, LocalState::Hold, "noHeldCall")?;
                self.require_no_active(&at.name)?;
                self.retrieve(&at, "normal", said);
                Ok(Outcome::RetrieveCall)
            }
            Service::AlternateCall { held, active } => {
                let (held, active) = self.held_and_active(held, active, acting)?;
                self.hold(&active, "alternate", said);
                self.retrieve(&held, "alternate", said);
                Ok(Outcome::AlternateCall)
            }
            Service::ReconnectCall { active, held } => {
                let (held, active) = self.held_and_active(held, active, acting)?;
                self.clear(&active, "normalClearing", said);
                self.retrieve(&held, "normal", said);
                Ok(Outcome::ReconnectCall)
            }
            Service::ConsultationCall { existing, consulted, correlator } => {
                let at = self.at(existing, acting)?;
                self.consult(&at, consulted, correlator.clone(), said)
            }
            Service::TransferCall { held, active } => {
                let (held, active) = self.held_and_active(held, active, acting)?;
                self.transfer(&held, &active, said)
            }
            Service::SingleStepTransferCall { active, to } => {
                let at = self.at(active, acting)?;
                self.single_step_transfer(&at, to, said)
            }
            Service::DeflectCall { call, to } => {
                let at = self.at(call, acting)?;
                self.deflect(&at, to, said).map(|()| Outcome::DeflectCall)
            }
            Service::ConferenceCall { held, active } => {
                let (held, active) = self.held_and_active(held, active, acting)?;
                self.conference(&held, &active, said)
            }
            Service::SingleStepConferenceCall { active, join, participation } => {
                let at = self.at(active, acting)?;
                self.single_step_conference(&at, join, participation.as_deref(), said)
            }
            Service::GenerateDigits { connection, characters } => {
                let at = self.at(connection, acting)?;
                self.require(&at, LocalState::Connected, "invalidConnectionState")?;
                let is_digit = |c: char| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d' | ',');
                match characters.len() {
                    1..=64 if characters.chars().all(is_digit) => Ok(Outcome::GenerateDigits),
                    _ => Err(operation("valueOutOfRange")),
                }
            }
            other => self.serve_device(other, acting, said),
        }
    }
}

/// One connection, found: its call and the party's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub call: u64,
    pub name: Arc<str>,
}

impl Model {
    /// Finds a connection by both parts, or by its call and the acting device, or by its call and that call's only device.
    pub(super) fn at(&self, id: &ConnectionId, acting: Option<&str>) -> Result<At, Failure> {
        let number: u64 = id.call.parse().map_err(|_| operation("invalidCallID"))?;
        let call = self.calls.get(&number).ok_or_else(|| operation("invalidCallID"))?;
        let named = if id.device.is_empty() { acting } else { Some(id.device.as_str()) };
        let found = match named {
            Some(name) => call.find(name).or_else(|| call.find(&self.number(name)?)),
            None => {
                let mut devices = call.devices();
                devices.next().filter(|_| devices.next().is_none())
            }
        };
        let connection = found.ok_or_else(|| operation("invalidConnectionID"))?;
        Ok(At { call: number, name: connection.party.name.clone() })
    }

    pub(super) fn call(&self, id: u64) -> &Call {
        self.calls.get(&id).expect("the call was found before and not ended since")
    }

    pub(super) fn call_mut(&mut self, id: u64) -> &mut Call {
        self.calls.get_mut(&id).expect("the call was found before and not ended since")
    }

    pub(super) fn state(&self, at: &At) -> LocalState {
        self.call(at.call).find(&at.name).map_or(LocalState::Null, |connection| connection.state)
    }

    pub(super) fn set_state(&mut self, at: &At, to: LocalState) {
        if let Some(connection) = self.call_mut(at.call).find_mut(&at.name) {
            connection.state = to;
        }
    }

    pub(super) fn require(&self, at: &At, wanted: LocalState, otherwise: &str) -> Result<(), Failure> {
        if self.state(at) == wanted { Ok(()) } else { Err(state(otherwise)) }
    }

    /// Parties outside can ring, answer, hold and leave, but not rearrange calls.
    pub(super) fn require_device(&self, at: &At) -> Result<(), Failure> {
        if self.devices.contains_key(&at.name) { Ok(()) } else { Err(operation("invalidConnectionID")) }
    }

    /// The call the device talks in, or is dialling: at most one.
    pub(super) fn active_call(&self, name: &str) -> Option<u64> {
        let is_active = |id: &&u64| {
            let state = self.call(**id).find(name).map(|connection| connection.state);
            matches!(state, Some(LocalState::Connected | LocalState::Initiated))
        };
        self.devices.get(name)?.calls.iter().find(is_active).copied()
    }

    pub(super) fn require_no_active(&self, name: &str) -> Result<(), Failure> {
        if self.active_call(name).is_none() { Ok(()) } else { Err(state("connectedCallExists")) }
    }

    /// Two connections of one device, the first on hold and the second connected.
    fn held_and_active(
        &self,
        held: &ConnectionId,
        active: &ConnectionId,
        acting: Option<&str>,
    ) -> Result<(At, At), Failure> {
        let (held, active) = (self.at(held, acting)?, self.at(active, acting)?);
        self.require_device(&held)?;
        if held.name != active.name || held.call == active.call {
            return Err(operation("requestIncompatibleWithConnection"));
        }
        self.require(&held, LocalState::Hold, "invalidHeldConnectionState")?;
        self.require(&active, LocalState::Connected, "invalidActiveConnectionState")?;
        Ok((held, active))
    }

    pub(super) fn attach(&mut self, name: &str, call: u64) {
        if let Some(device) = self.devices.get_mut(name) {
            device.calls.push(call);
        }
    }

    pub(super) fn detach(&mut self, name: &str, call: u64) {
        if let Some(device) = self.devices.get_mut(name) {
            device.calls.retain(|id| *id != call);
        }
    }
}

pub(super) fn operation(value: &str) -> Failure {
    Failure::Operation(value.to_owned())
}

pub(super) fn state(value: &str) -> Failure {
    Failure::StateIncompatibility(value.to_owned())
}
