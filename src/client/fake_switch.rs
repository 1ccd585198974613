//! Just enough of a switch for two or three users to call, hold, transfer and hang up.

use std::collections::BTreeMap;

use crate::csta::{
    ConnectionId, ConnectionListItem, DeviceRef, EventBody, Failure, LocalState, Outcome, RedirectionRef, Service,
};

#[derive(Default)]
pub(super) struct Switch {
    calls: BTreeMap<u32, [String; 2]>,
    last: u32,
}

type Told = Vec<(String, EventBody)>;

fn device(line: &str) -> DeviceRef {
    DeviceRef::device(line)
}

fn delivered(connection: ConnectionId, [from, to]: &[String; 2], local: LocalState) -> EventBody {
    EventBody::Delivered {
        alerting: device(&connection.device),
        connection,
        calling: device(from),
        called: device(to),
        last_redirection: RedirectionRef::NotRequired,
        local: Some(local),
        cause: "newCall".to_owned(),
    }
}

fn established(connection: ConnectionId, [from, to]: &[String; 2]) -> EventBody {
    EventBody::Established {
        answering: device(&connection.device),
        connection,
        calling: device(from),
        called: device(to),
        last_redirection: RedirectionRef::NotRequired,
        local: Some(LocalState::Connected),
        cause: "normal".to_owned(),
    }
}

fn cleared(connection: ConnectionId, local: LocalState) -> EventBody {
    EventBody::ConnectionCleared {
        releasing: device(&connection.device),
        connection,
        local: Some(local),
        cause: "normalClearing".to_owned(),
    }
}

impl Switch {
    pub fn serve(&mut self, line: &str, service: &Service) -> (Outcome, Told) {
        let refused = || (Outcome::Failed(Failure::Operation("invalidCallID".to_owned())), Vec::new());
        let own = |call: u32| ConnectionId::new(call.to_string(), line);
        let find = |calls: &BTreeMap<u32, [String; 2]>, id: &str| {
            let call: u32 = id.parse().ok()?;
            calls.get(&call).filter(|p| p.iter().any(|l| l == line)).map(|p| (call, p.clone()))
        };
        match service {
            Service::MakeCall { calling, called, .. } => {
                self.last += 1;
                let (id, parties) = (self.last, [calling.clone(), called.clone()]);
                let far = ConnectionId::new(id.to_string(), called.as_str());
                let originated = EventBody::Originated {
                    connection: own(id),
                    calling: device(calling),
                    called: device(called),
                    local: Some(LocalState::Connected),
                    cause: "newCall".to_owned(),
                };
                let mut told = vec![
                    (calling.clone(), originated),
                    (calling.clone(), delivered(far.clone(), &parties, LocalState::Connected)),
                    (called.clone(), delivered(far.clone(), &parties, LocalState::Alerting)),
                ];
                // Somebody outside answers at once.
                if called.starts_with("tel:+1900") {
                    told.push((calling.clone(), established(far, &parties)));
                }
                self.calls.insert(id, parties);
                (Outcome::MakeCall { calling: own(id) }, told)
            }
            Service::AnswerCall { call } => {
                let Some((id, parties)) = find(&self.calls, &call.call) else { return refused() };
                let told = parties.iter().map(|to| (to.clone(), established(own(id), &parties))).collect();
                (Outcome::AnswerCall, told)
            }
            Service::HoldCall { call } | Service::RetrieveCall { call } => {
                let Some((id, parties)) = find(&self.calls, &call.call) else { return refused() };
                let is_hold = matches!(service, Service::HoldCall { .. });
                let told = parties.iter().map(|to| {
                    let (connection, cause) = (own(id), "normal".to_owned());
                    let local = Some(if is_hold && to == line { LocalState::Hold } else { LocalState::Connected });
                    let body = match is_hold {
                        true => EventBody::Held { connection, holding: device(line), local, cause },
                        false => EventBody::Retrieved { connection, retrieving: device(line), local, cause },
                    };
                    (to.clone(), body)
                });
                (if is_hold { Outcome::HoldCall } else { Outcome::RetrieveCall }, told.collect())
            }
            Service::ClearConnection { connection, .. } => {
                let Some((id, parties)) = find(&self.calls, &connection.call) else { return refused() };
                self.calls.remove(&id);
                let told = parties.iter().flat_map(|to| {
                    let theirs = cleared(ConnectionId::new(id.to_string(), to.as_str()), LocalState::Null);
                    let far = (to != line).then(|| (to.clone(), cleared(own(id), LocalState::Connected)));
                    far.into_iter().chain([(to.clone(), theirs)])
                });
                (Outcome::ClearConnection, told.collect())
            }
            Service::SingleStepTransferCall { active, to } => {
                let Some((id, parties)) = find(&self.calls, &active.call) else { return refused() };
                let stays = parties.iter().find(|l| *l != line).expect("two parties").clone();
                self.calls.remove(&id);
                self.last += 1;
                let new = self.last;
                let item = |device: &str, old: Option<u32>| ConnectionListItem {
                    new: Some(ConnectionId::new(new.to_string(), device)),
                    old: old.map(|old| ConnectionId::new(old.to_string(), device)),
                    endpoint: Some(DeviceRef::device(device)),
                };
                let transferred = |local| EventBody::Transferred {
                    primary: own(id),
                    secondary: None,
                    transferring: device(line),
                    transferred_to: device(to),
                    connections: vec![item(&stays, Some(id)), item(to, None)],
                    local: Some(local),
                    cause: "singleStepTransfer".to_owned(),
                };
                let now = [stays.clone(), to.clone()];
                let far = ConnectionId::new(new.to_string(), to.as_str());
                let told = vec![
                    (line.to_owned(), transferred(LocalState::Null)),
                    (stays.clone(), transferred(LocalState::Connected)),
                    (to.clone(), delivered(far.clone(), &now, LocalState::Alerting)),
                ];
                self.calls.insert(new, now);
                (Outcome::SingleStepTransferCall { transferred: far, connections: Vec::new() }, told)
            }
            _ => (Outcome::Failed(Failure::Operation("serviceNotSupported".to_owned())), Vec::new()),
        }
    }
}
