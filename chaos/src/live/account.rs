//! The PBX's account, read page by page and put among the notes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lyncpin::csta::{MonitorObject, Service};
use lyncpin::lab::pbx::{Did, Entry, Happening, PbxLab, Reply, Request, SessionTurn};

use super::notes::{Notes, device_of, own_number};
use crate::history::{Asked, What};

const PAGE: usize = 10_000;

pub struct Account {
    notes: Arc<Notes>,
    pbx_began: Instant,
    after: u64,
    /// Which life of its node opened a connection.
    lives: BTreeMap<SocketAddr, u32>,
    /// Who acted last on each device.
    acting: BTreeMap<String, u32>,
    pub lost: u64,
}

impl Account {
    pub fn new(notes: Arc<Notes>, pbx_began: Instant) -> Self {
        Self { notes, pbx_began, after: 0, lives: BTreeMap::new(), acting: BTreeMap::new(), lost: 0 }
    }

    /// Reads what is new. `life` tells which life of a node is the present one.
    pub async fn read(&mut self, pbx: &PbxLab, life: impl Fn(u32) -> u32) {
        loop {
            let Reply::History(page) = pbx.control(Request::History { after: self.after, max: PAGE }).await else {
                return;
            };
            if let Some(first) = page.entries.first() {
                self.lost += first.seq.saturating_sub(self.after + 1);
            }
            let is_last = page.entries.len() < PAGE;
            for entry in page.entries {
                self.after = entry.seq;
                self.note(entry, &life);
            }
            if is_last {
                return;
            }
        }
    }

    /// The node that acts for most users; 1 when nobody has acted yet.
    pub fn owner(&self) -> u32 {
        let mut users: BTreeMap<u32, usize> = BTreeMap::new();
        self.acting.values().for_each(|node| *users.entry(*node).or_default() += 1);
        users.into_iter().max_by_key(|(_, users)| *users).map_or(1, |(node, _)| node)
    }

    fn note(&mut self, entry: Entry, life: &impl Fn(u32) -> u32) {
        let at_us = self.notes.at_us(self.pbx_began) + entry.ms * 1000;
        match entry.what {
            Happening::Session {
                link, peer: Some(peer), turn: SessionTurn::Started | SessionTurn::Resumed, ..
            } => {
                self.lives.insert(peer, life(node_of(&link)));
            }
            Happening::Service { link, peer, service, did, .. } => {
                let node = node_of(&link);
                let user = device(&service).map(device_of).filter(|user| !user.is_empty());
                if let Some(user) = &user {
                    self.acting.insert(user.clone(), node);
                }
                let number = match &service {
                    Service::MakeCall { called, .. } => own_number(called),
                    Service::ConsultationCall { consulted, .. } => own_number(consulted),
                    _ => None,
                };
                let life = self.lives.get(&peer).copied().unwrap_or_else(|| life(node));
                let was_done = !matches!(did, Did::Refused(_));
                let service = service.name().to_owned();
                self.notes.add_at(at_us, What::Asked(Asked { node, life, user, service, number, was_done }));
            }
            Happening::Event { device, event } => {
                let call = event.connection().map(|connection| connection.call.clone()).unwrap_or_default();
                let (user, event) = (device_of(&device), event.name().to_owned());
                self.notes.add_at(at_us, What::Told { user, event, call });
            }
            _ => {}
        }
    }
}

/// Links are named `n1cm2`: node 1's second.
fn node_of(link: &str) -> u32 {
    link.trim_start_matches('n').chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// The device a service acts for.
fn device(service: &Service) -> Option<&str> {
    match service {
        Service::MakeCall { calling, .. } => Some(calling),
        Service::AnswerCall { call }
        | Service::ClearConnection { connection: call, .. }
        | Service::ClearCall { call }
        | Service::HoldCall { call }
        | Service::RetrieveCall { call }
        | Service::AlternateCall { active: call, .. }
        | Service::ReconnectCall { active: call, .. }
        | Service::ConsultationCall { existing: call, .. }
        | Service::TransferCall { active: call, .. }
        | Service::SingleStepTransferCall { active: call, .. }
        | Service::DeflectCall { call, .. }
        | Service::ConferenceCall { active: call, .. }
        | Service::SingleStepConferenceCall { active: call, .. }
        | Service::GenerateDigits { connection: call, .. }
        | Service::MonitorStart { object: MonitorObject::Call(call), .. } => Some(&call.device),
        Service::MonitorStart { object: MonitorObject::Device(device), .. }
        | Service::SetForwarding { device, .. }
        | Service::GetForwarding { device }
        | Service::SetDoNotDisturb { device, .. }
        | Service::GetDoNotDisturb { device }
        | Service::SetMessageWaitingIndicator { device, .. }
        | Service::GetMessageWaitingIndicator { device }
        | Service::SnapshotDevice { device } => Some(device),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_its_node() {
        assert_eq!((node_of("n1cm1"), node_of("n2cm2"), node_of("cm1")), (1, 2, 0));
    }
}
