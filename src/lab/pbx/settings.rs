//! What is set on a device, what is read from it, and what the PBX can do.

use super::device::{FORWARDING_TYPES, Forward};
use super::model::{Model, Said, operation};
use crate::csta::{
    CallInSnapshot, DeviceRef, EventBody, Failure, Features, LocalState, Outcome, PartyInSnapshot, Service,
};

impl Model {
    pub(super) fn serve_device(
        &mut self,
        service: &Service,
        acting: Option<&str>,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        match service {
            Service::GetCstaFeatures { .. } => Ok(Outcome::GetCstaFeatures { features: features() }),
            Service::SetForwarding { device, forwarding_type, activate, to } => {
                self.set_forwarding(device, forwarding_type, *activate, to.as_deref(), said)
            }
            Service::GetForwarding { device } => {
                let device = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?;
                Ok(Outcome::GetForwarding { list: device.forward_items() })
            }
            Service::SetDoNotDisturb { device, on } => {
                let name = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?.name.clone();
                self.devices.entry(name.clone()).and_modify(|device| device.do_not_disturb = *on);
                let device = DeviceRef::device(&*name);
                said.events.push((name, EventBody::DoNotDisturb { device, on: *on }));
                Ok(Outcome::SetDoNotDisturb)
            }
            Service::GetDoNotDisturb { device } => {
                let device = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?;
                Ok(Outcome::GetDoNotDisturb { on: device.do_not_disturb })
            }
            Service::SetMessageWaitingIndicator { device, on } => {
                let name = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?.name.clone();
                self.devices.entry(name.clone()).and_modify(|device| device.message_waiting = *on);
                let device = DeviceRef::device(&*name);
                said.events.push((name, EventBody::MessageWaiting { device, on: *on }));
                Ok(Outcome::SetMessageWaitingIndicator)
            }
            Service::GetMessageWaitingIndicator { device } => {
                let device = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?;
                Ok(Outcome::GetMessageWaitingIndicator { on: Some(device.message_waiting) })
            }
            Service::SnapshotDevice { device } => Ok(Outcome::SnapshotDevice {
                calls: self.snapshot_device(device).ok_or_else(|| operation("invalidDeviceID"))?,
                service_xref: None,
            }),
            Service::SnapshotCall { call } => {
                let at = match call.device.is_empty() {
                    true => call.call.parse().ok().filter(|id| self.calls.contains_key(id)),
                    false => Some(self.at(call, acting)?.call),
                };
                Ok(self.snapshot_call(at.ok_or_else(|| operation("invalidCallID"))?))
            }
            _ => Err(operation("serviceNotSupported")),
        }
    }

    fn set_forwarding(
        &mut self,
        device: &str,
        forwarding_type: &str,
        activate: bool,
        to: Option<&str>,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        let name = self.device_named(device).ok_or_else(|| operation("invalidDeviceID"))?.name.clone();
        let kind = FORWARDING_TYPES.into_iter().find(|kind| *kind == forwarding_type);
        let kind = kind.ok_or_else(|| operation("invalidForwardingType"))?;
        let invalid = || operation("invalidForwardingDestination");
        let given = to.map(|to| self.number(to).filter(|to| *to != name).ok_or_else(invalid)).transpose()?;
        let forwards = &mut self.devices.get_mut(&name).ok_or_else(|| operation("invalidDeviceID"))?.forwards;
        let to = given.or_else(|| forwards.get(kind)?.to.clone());
        if activate && to.is_none() {
            return Err(invalid());
        }
        forwards.insert(kind, Forward { on: activate, to: to.clone() });
        let event = EventBody::Forwarding {
            device: DeviceRef::device(&*name),
            forwarding_type: kind.to_owned(),
            on: activate,
            to: to.filter(|_| activate).map(|to| to.to_string()),
        };
        said.events.push((name, event));
        Ok(Outcome::SetForwarding)
    }

    /// The device's calls, oldest first; `None` when there is no such device.
    pub fn snapshot_device(&self, device: &str) -> Option<Vec<CallInSnapshot>> {
        let device = self.device_named(device)?;
        let call = |id: &u64| {
            let call = self.call(*id);
            let own = call.find(&device.name).map_or(LocalState::Null, |own| own.state);
            let states = [own].into_iter().chain(call.others(&device.name).map(|c| c.state)).collect();
            CallInSnapshot { connection: call.connection_id(&device.name), states }
        };
        Some(device.calls.iter().map(call).collect())
    }

    fn snapshot_call(&self, id: u64) -> Outcome {
        let call = self.call(id);
        let party = |c: &super::call::Connection| PartyInSnapshot {
            device: c.party.shown(),
            connection: call.connection_id(&c.party.name),
            state: Some(c.state),
        };
        Outcome::SnapshotCall {
            parties: call.connections.iter().map(party).collect(),
            calling: Some(call.calling.clone()),
            called: Some(call.called.clone()),
            correlator: call.correlator.clone(),
        }
    }
}

/// What this PBX offers, by ECMA-323's leaf names in the schema's order.
pub fn features() -> Features {
    let list = |name: &str, leaves: &str| (name.to_owned(), leaves.split(' ').map(str::to_owned).collect());
    Features {
        services: vec![
            list("capExchangeServList", "getCSTAFeatures"),
            list("systemStatServList", "systemRegister requestSystemStatus systemStatus"),
            list("monitoringServList", "monitorStart monitorStop"),
            list("snapshotServList", "snapshotCall snapshotDevice"),
            list(
                "callControlServList",
                "alternateCall answerCall clearCall clearConnection conferenceCall consultationCall deflectCall holdCall \
                 makeCall reconnectCall retrieveCall singleStepConference singleStepTransfer transferCall",
            ),
            list("callAssociatedServList", "generateDigits"),
            list("physDevServList", "getMessageWaitingIndicator setMessageWaitingIndicator"),
            list("logicalServList", "getDoNotDisturb getForwarding setDoNotDisturb setForwarding"),
        ],
        events: vec![
            list(
                "callControlEvtsList",
                "conferenced connectionCleared delivered diverted established failed held netwReached originated \
                 retrieved serviceInitiated transferred",
            ),
            list("physDevEvtsList", "messageWaiting"),
            list("logicalEvtsList", "doNotDisturb forwarding"),
        ],
    }
}
