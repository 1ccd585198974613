//! Walks over who takes part: the gateway renames calls and devices between a client and a switch.
//!
//! Three kinds of places, each with its own walk and never in two of them: connections, device references, and plain
//! device texts. The device inside a connection belongs to the connection. All walks go in schema order.

use super::{
    ConnectionId, ConnectionListItem, DeviceRef, Event, EventBody, LocalState, MonitorObject, Outcome, RedirectionRef,
    Service,
};

/// A place in a message that names a participant.
enum Place<'a> {
    Connection(&'a mut ConnectionId),
    Device(&'a mut DeviceRef),
    Text(&'a mut String),
}

macro_rules! connection_walk {
    () => {
        /// Every connection.
        pub fn for_each_connection_mut(&mut self, mut visit: impl FnMut(&mut ConnectionId)) {
            self.for_each_place(&mut |place| {
                if let Place::Connection(connection) = place {
                    visit(connection);
                }
            });
        }
    };
}

macro_rules! device_walks {
    () => {
        /// Every device reference.
        pub fn for_each_device_mut(&mut self, mut visit: impl FnMut(&mut DeviceRef)) {
            self.for_each_place(&mut |place| {
                if let Place::Device(device) = place {
                    visit(device);
                }
            });
        }

        /// Every device given as plain text: forwarding destinations, the number dialled before a redirection.
        pub fn for_each_device_text_mut(&mut self, mut visit: impl FnMut(&mut String)) {
            self.for_each_place(&mut |place| {
                if let Place::Text(text) = place {
                    visit(text);
                }
            });
        }
    };
}

impl Event {
    connection_walk!();
    device_walks!();

    /// Every connection, collected.
    pub fn connections_mut(&mut self) -> Vec<&mut ConnectionId> {
        let mut connections = Vec::new();
        self.for_each_place(&mut |place| {
            if let Place::Connection(connection) = place {
                connections.push(connection);
            }
        });
        connections
    }

    /// The state of the monitored device's own connection.
    pub fn local(&self) -> Option<LocalState> {
        self.body.local_field().copied().flatten()
    }

    /// Does nothing for events that carry no localConnectionInfo.
    pub fn set_local(&mut self, state: Option<LocalState>) {
        if let Some(local) = self.body.local_field_mut() {
            *local = state;
        }
    }

    /// The EventCause; `None` when missing on the wire or not part of this event.
    pub fn cause(&self) -> Option<&str> {
        self.body.cause_field().filter(|cause| !cause.is_empty())
    }

    /// The call the event is about; of two joined calls, the one that was there first (`primaryOldCall`).
    pub fn call(&self) -> Option<&str> {
        self.body.connection().map(|connection| &*connection.call).filter(|call| !call.is_empty())
    }

    fn for_each_place<'a>(&'a mut self, visit: &mut dyn FnMut(Place<'a>)) {
        use EventBody as B;
        match &mut self.body {
            B::ServiceInitiated { connection, device, .. }
            | B::DigitsDialed { connection, device, .. }
            | B::Held { connection, holding: device, .. }
            | B::Retrieved { connection, retrieving: device, .. }
            | B::ConnectionCleared { connection, releasing: device, .. }
            | B::Bridged { connection, appearance: device, .. } => {
                visit(Place::Connection(connection));
                visit(Place::Device(device));
            }
            B::Originated { connection, calling, called, .. } => {
                visit(Place::Connection(connection));
                visit(Place::Device(calling));
                visit(Place::Device(called));
            }
            B::NetworkReached { connection, interface: device, calling, called, last_redirection, .. }
            | B::Delivered { connection, alerting: device, calling, called, last_redirection, .. }
            | B::Offered { connection, offered: device, calling, called, last_redirection, .. }
            | B::Established { connection, answering: device, calling, called, last_redirection, .. }
            | B::Failed { connection, failing: device, calling, called, last_redirection, .. }
            | B::Queued { connection, queue: device, calling, called, last_redirection, .. } => {
                visit(Place::Connection(connection));
                visit(Place::Device(device));
                visit(Place::Device(calling));
                visit(Place::Device(called));
                visit_redirection(last_redirection, visit);
            }
            B::Diverted { connection, diverting, new_destination, calling, called, last_redirection, .. } => {
                visit(Place::Connection(connection));
                visit(Place::Device(diverting));
                visit(Place::Device(new_destination));
                calling.iter_mut().chain(called).for_each(|device| visit(Place::Device(device)));
                visit_redirection(last_redirection, visit);
            }
            B::Transferred { primary, secondary, transferring: own, transferred_to: other, connections, .. }
            | B::Conferenced { primary, secondary, conferencing: own, added: other, connections, .. } => {
                visit(Place::Connection(primary));
                secondary.iter_mut().for_each(|connection| visit(Place::Connection(connection)));
                visit(Place::Device(own));
                visit(Place::Device(other));
                visit_items(connections, visit);
            }
            B::CallInformation { connection, device, calling } => {
                visit(Place::Connection(connection));
                visit(Place::Device(device));
                calling.iter_mut().for_each(|device| visit(Place::Device(device)));
            }
            B::CallCleared { call: connection, .. } | B::DigitsGenerated { connection, .. } => {
                visit(Place::Connection(connection));
            }
            B::Forwarding { device, to, .. } => {
                visit(Place::Device(device));
                to.iter_mut().for_each(|to| visit(Place::Text(to)));
            }
            B::DoNotDisturb { device, .. }
            | B::MessageWaiting { device, .. }
            | B::BackInService { device, .. }
            | B::OutOfService { device, .. } => visit(Place::Device(device)),
            B::MonitorStopped => {}
        }
    }
}

impl Outcome {
    connection_walk!();
    device_walks!();

    /// Is this a refusal?
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    fn for_each_place<'a>(&'a mut self, visit: &mut dyn FnMut(Place<'a>)) {
        match self {
            Self::MakeCall { calling: connection }
            | Self::ConsultationCall { initiated: connection }
            | Self::SingleStepConferenceCall { conferenced: connection } => visit(Place::Connection(connection)),
            Self::TransferCall { transferred: connection, connections }
            | Self::SingleStepTransferCall { transferred: connection, connections }
            | Self::ConferenceCall { conference: connection, connections } => {
                visit(Place::Connection(connection));
                visit_items(connections, visit);
            }
            Self::GetForwarding { list } => {
                list.iter_mut().filter_map(|item| item.to.as_mut()).for_each(|to| visit(Place::Text(to)));
            }
            Self::SnapshotDevice { calls, .. } => {
                calls.iter_mut().for_each(|call| visit(Place::Connection(&mut call.connection)));
            }
            Self::SnapshotCall { parties, calling, called, .. } => {
                for party in parties {
                    visit(Place::Device(&mut party.device));
                    visit(Place::Connection(&mut party.connection));
                }
                calling.iter_mut().chain(called).for_each(|device| visit(Place::Device(device)));
            }
            Self::RequestSystemStatus { .. }
            | Self::SystemStatus
            | Self::SystemRegister { .. }
            | Self::GetCstaFeatures { .. }
            | Self::MonitorStart { .. }
            | Self::MonitorStop
            | Self::AnswerCall
            | Self::ClearConnection
            | Self::ClearCall
            | Self::HoldCall
            | Self::RetrieveCall
            | Self::AlternateCall
            | Self::ReconnectCall
            | Self::DeflectCall
            | Self::GenerateDigits
            | Self::SetForwarding
            | Self::SetDoNotDisturb
            | Self::GetDoNotDisturb { .. }
            | Self::SetMessageWaitingIndicator
            | Self::GetMessageWaitingIndicator { .. }
            | Self::Failed(_) => {}
        }
    }
}

impl Service {
    connection_walk!();

    /// Every device given as plain text, dialled numbers included; not `line`, which is the client's own name for it.
    pub fn for_each_device_mut(&mut self, mut visit: impl FnMut(&mut String)) {
        self.for_each_place(&mut |place| {
            if let Place::Text(text) = place {
                visit(text);
            }
        });
    }

    /// Must this be put to the switch at most once?
    pub fn changes_world(&self) -> bool {
        match self {
            Self::MakeCall { .. }
            | Self::AnswerCall { .. }
            | Self::ClearConnection { .. }
            | Self::ClearCall { .. }
            | Self::HoldCall { .. }
            | Self::RetrieveCall { .. }
            | Self::AlternateCall { .. }
            | Self::ReconnectCall { .. }
            | Self::ConsultationCall { .. }
            | Self::TransferCall { .. }
            | Self::SingleStepTransferCall { .. }
            | Self::DeflectCall { .. }
            | Self::ConferenceCall { .. }
            | Self::SingleStepConferenceCall { .. }
            | Self::GenerateDigits { .. }
            | Self::SetForwarding { .. }
            | Self::SetDoNotDisturb { .. }
            | Self::SetMessageWaitingIndicator { .. } => true,
            Self::RequestSystemStatus { .. }
            | Self::SystemStatus { .. }
            | Self::SystemRegister
            | Self::GetCstaFeatures { .. }
            | Self::MonitorStart { .. }
            | Self::MonitorStop { .. }
            | Self::GetForwarding { .. }
            | Self::GetDoNotDisturb { .. }
            | Self::SnapshotDevice { .. }
            | Self::SnapshotCall { .. }
            | Self::GetMessageWaitingIndicator { .. } => false,
        }
    }

    fn for_each_place<'a>(&'a mut self, visit: &mut dyn FnMut(Place<'a>)) {
        match self {
            Self::MonitorStart { object: MonitorObject::Device(device), .. }
            | Self::SetForwarding { device, to: None, .. }
            | Self::GetForwarding { device }
            | Self::SetDoNotDisturb { device, .. }
            | Self::GetDoNotDisturb { device }
            | Self::SnapshotDevice { device }
            | Self::SetMessageWaitingIndicator { device, .. }
            | Self::GetMessageWaitingIndicator { device } => visit(Place::Text(device)),
            Self::MakeCall { calling: first, called: second, .. }
            | Self::SetForwarding { device: first, to: Some(second), .. } => {
                visit(Place::Text(first));
                visit(Place::Text(second));
            }
            Self::MonitorStart { object: MonitorObject::Call(connection), .. }
            | Self::AnswerCall { call: connection }
            | Self::ClearConnection { connection, .. }
            | Self::ClearCall { call: connection }
            | Self::HoldCall { call: connection }
            | Self::RetrieveCall { call: connection }
            | Self::GenerateDigits { connection, .. }
            | Self::SnapshotCall { call: connection } => visit(Place::Connection(connection)),
            Self::AlternateCall { held: first, active: second }
            | Self::ReconnectCall { active: first, held: second }
            | Self::TransferCall { held: first, active: second }
            | Self::ConferenceCall { held: first, active: second } => {
                visit(Place::Connection(first));
                visit(Place::Connection(second));
            }
            Self::ConsultationCall { existing: connection, consulted: device, .. }
            | Self::SingleStepTransferCall { active: connection, to: device }
            | Self::DeflectCall { call: connection, to: device }
            | Self::SingleStepConferenceCall { active: connection, join: device, .. } => {
                visit(Place::Connection(connection));
                visit(Place::Text(device));
            }
            Self::RequestSystemStatus { .. }
            | Self::SystemStatus { .. }
            | Self::SystemRegister
            | Self::GetCstaFeatures { .. }
            | Self::MonitorStop { .. } => {}
        }
    }
}

fn visit_items<'a>(items: &'a mut [ConnectionListItem], visit: &mut dyn FnMut(Place<'a>)) {
    for item in items {
        item.new.iter_mut().chain(&mut item.old).for_each(|connection| visit(Place::Connection(connection)));
        item.endpoint.iter_mut().for_each(|device| visit(Place::Device(device)));
    }
}

fn visit_redirection<'a>(redirection: &'a mut RedirectionRef, visit: &mut dyn FnMut(Place<'a>)) {
    if let RedirectionRef::NumberDialed(number) = redirection {
        visit(Place::Text(number));
    }
}

/// One table for what call-control events share, spelled once for shared and once for exclusive access.
macro_rules! shared_field {
    ($body:expr, $field:ident) => {
        match $body {
            EventBody::ServiceInitiated { $field, .. }
            | EventBody::Originated { $field, .. }
            | EventBody::DigitsDialed { $field, .. }
            | EventBody::NetworkReached { $field, .. }
            | EventBody::Delivered { $field, .. }
            | EventBody::Offered { $field, .. }
            | EventBody::Established { $field, .. }
            | EventBody::Held { $field, .. }
            | EventBody::Retrieved { $field, .. }
            | EventBody::ConnectionCleared { $field, .. }
            | EventBody::Transferred { $field, .. }
            | EventBody::Conferenced { $field, .. }
            | EventBody::Diverted { $field, .. }
            | EventBody::Failed { $field, .. }
            | EventBody::Queued { $field, .. }
            | EventBody::Bridged { $field, .. } => Some($field),
            _ => None,
        }
    };
}

impl EventBody {
    fn local_field(&self) -> Option<&Option<LocalState>> {
        shared_field!(self, local)
    }

    fn local_field_mut(&mut self) -> Option<&mut Option<LocalState>> {
        shared_field!(self, local)
    }

    fn cause_field(&self) -> Option<&str> {
        match self {
            Self::CallCleared { cause, .. } => Some(cause),
            Self::BackInService { cause, .. } | Self::OutOfService { cause, .. } => cause.as_deref(),
            other => shared_field!(other, cause).map(String::as_str),
        }
    }

    /// The connection the event is about; `primaryOldCall` of a transfer or conference.
    pub fn connection(&self) -> Option<&ConnectionId> {
        match self {
            Self::ServiceInitiated { connection, .. }
            | Self::Originated { connection, .. }
            | Self::DigitsDialed { connection, .. }
            | Self::NetworkReached { connection, .. }
            | Self::Delivered { connection, .. }
            | Self::Offered { connection, .. }
            | Self::Established { connection, .. }
            | Self::Held { connection, .. }
            | Self::Retrieved { connection, .. }
            | Self::ConnectionCleared { connection, .. }
            | Self::CallCleared { call: connection, .. }
            | Self::Transferred { primary: connection, .. }
            | Self::Conferenced { primary: connection, .. }
            | Self::Diverted { connection, .. }
            | Self::Failed { connection, .. }
            | Self::Queued { connection, .. }
            | Self::Bridged { connection, .. }
            | Self::CallInformation { connection, .. }
            | Self::DigitsGenerated { connection, .. } => Some(connection),
            Self::Forwarding { .. }
            | Self::DoNotDisturb { .. }
            | Self::MessageWaiting { .. }
            | Self::BackInService { .. }
            | Self::OutOfService { .. }
            | Self::MonitorStopped => None,
        }
    }
}
