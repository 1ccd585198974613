//! The services by name. Calls are named by their call id; the device is always the user's own line, as real clients do.

use super::user::{RccUser, Reply, Unanswered};
use crate::csta::{ConnectionId, Service};

type Answered = Result<Reply, Unanswered>;

impl RccUser {
    fn own(&self, call: &str) -> ConnectionId {
        ConnectionId::new(call, self.line())
    }

    /// The desk phone places the call at once (`doNotPrompt`).
    pub async fn make_call(&self, to: &str) -> Answered {
        self.invoke(Service::MakeCall {
            calling: self.line(),
            called: to.to_owned(),
            auto_originate: Some("doNotPrompt".to_owned()),
            correlator: None,
        })
        .await
    }

    pub async fn answer(&self, call: &str) -> Answered {
        self.invoke(Service::AnswerCall { call: self.own(call) }).await
    }

    /// ClearConnection: this user leaves the call.
    pub async fn hang_up(&self, call: &str) -> Answered {
        self.invoke(Service::ClearConnection { connection: self.own(call), reason: None }).await
    }

    /// ClearCall: everybody leaves the call.
    pub async fn clear_call(&self, call: &str) -> Answered {
        self.invoke(Service::ClearCall { call: self.own(call) }).await
    }

    pub async fn hold(&self, call: &str) -> Answered {
        self.invoke(Service::HoldCall { call: self.own(call) }).await
    }

    pub async fn retrieve(&self, call: &str) -> Answered {
        self.invoke(Service::RetrieveCall { call: self.own(call) }).await
    }

    /// Swaps the two calls.
    pub async fn alternate(&self, held: &str, active: &str) -> Answered {
        self.invoke(Service::AlternateCall { held: self.own(held), active: self.own(active) }).await
    }

    /// Ends the active call and goes back to the held one.
    pub async fn reconnect(&self, active: &str, held: &str) -> Answered {
        self.invoke(Service::ReconnectCall { active: self.own(active), held: self.own(held) }).await
    }

    pub async fn consult(&self, call: &str, to: &str) -> Answered {
        self.invoke(Service::ConsultationCall { existing: self.own(call), consulted: to.to_owned(), correlator: None })
            .await
    }

    pub async fn transfer(&self, held: &str, active: &str) -> Answered {
        self.invoke(Service::TransferCall { held: self.own(held), active: self.own(active) }).await
    }

    pub async fn blind_transfer(&self, call: &str, to: &str) -> Answered {
        self.invoke(Service::SingleStepTransferCall { active: self.own(call), to: to.to_owned() }).await
    }

    /// Sends a ringing call elsewhere.
    pub async fn deflect(&self, call: &str, to: &str) -> Answered {
        self.invoke(Service::DeflectCall { call: self.own(call), to: to.to_owned() }).await
    }

    pub async fn conference(&self, held: &str, active: &str) -> Answered {
        self.invoke(Service::ConferenceCall { held: self.own(held), active: self.own(active) }).await
    }

    /// SingleStepConferenceCall.
    pub async fn join(&self, call: &str, device: &str) -> Answered {
        self.invoke(Service::SingleStepConferenceCall {
            active: self.own(call),
            join: device.to_owned(),
            participation: None,
        })
        .await
    }

    pub async fn send_digits(&self, call: &str, characters: &str) -> Answered {
        self.invoke(Service::GenerateDigits { connection: self.own(call), characters: characters.to_owned() }).await
    }

    /// `forwardImmediate`; `None` switches it off.
    pub async fn forward(&self, to: Option<&str>) -> Answered {
        self.invoke(Service::SetForwarding {
            device: self.line(),
            forwarding_type: "forwardImmediate".to_owned(),
            activate: to.is_some(),
            to: to.map(str::to_owned),
        })
        .await
    }

    pub async fn forwarding(&self) -> Answered {
        self.invoke(Service::GetForwarding { device: self.line() }).await
    }

    pub async fn set_do_not_disturb(&self, on: bool) -> Answered {
        self.invoke(Service::SetDoNotDisturb { device: self.line(), on }).await
    }

    pub async fn do_not_disturb(&self) -> Answered {
        self.invoke(Service::GetDoNotDisturb { device: self.line() }).await
    }

    pub async fn snapshot_device(&self) -> Answered {
        self.invoke(Service::SnapshotDevice { device: self.line() }).await
    }

    pub async fn snapshot_call(&self, call: &str) -> Answered {
        self.invoke(Service::SnapshotCall { call: self.own(call) }).await
    }

    pub async fn set_message_waiting(&self, on: bool) -> Answered {
        self.invoke(Service::SetMessageWaitingIndicator { device: self.line(), on }).await
    }

    pub async fn message_waiting(&self) -> Answered {
        self.invoke(Service::GetMessageWaitingIndicator { device: self.line() }).await
    }
}
