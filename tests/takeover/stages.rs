//! The exchanges a fault may find a user in, and how each is brought there.

use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lyncpin::client::{Phase, RccUser, Reply, SignInError, Unanswered};
use lyncpin::csta::Service;
use lyncpin::lab::pbx::{Did, Entry, Happening, Request};
use lyncpin::sip::Message;

use crate::lines::{Cue, Line};
use crate::pair::{PATIENCE, Pair, device};

/// What a user is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Invite,
    /// ACK, GetCSTAFeatures and MonitorStart, which a client sends at once when it is welcome.
    Welcome,
    SystemStatus,
    Features,
    MakeCall,
    Answer,
    Hold,
    Retrieve,
    Consult,
    Transfer,
    Conference,
    Clear,
    /// The PBX tells of a call, the node tells the client in an INFO of its own.
    Incoming,
}

pub const ACTS: [Act; 13] = [
    Act::Invite,
    Act::Welcome,
    Act::SystemStatus,
    Act::Features,
    Act::MakeCall,
    Act::Answer,
    Act::Hold,
    Act::Retrieve,
    Act::Consult,
    Act::Transfer,
    Act::Conference,
    Act::Clear,
    Act::Incoming,
];

impl Act {
    /// The service the PBX sees, of those that change something there.
    pub fn service(self) -> Option<&'static str> {
        Some(match self {
            Self::MakeCall => "MakeCall",
            Self::Answer => "AnswerCall",
            Self::Hold => "HoldCall",
            Self::Retrieve => "RetrieveCall",
            Self::Consult => "ConsultationCall",
            Self::Transfer => "TransferCall",
            Self::Conference => "ConferenceCall",
            Self::Clear => "ClearConnection",
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request is on its way to the node.
    Sent,
    /// The PBX has done it, and its answer is on the way.
    Asked,
    /// The node has answered, and the client has not heard it.
    Answered,
    /// The client has heard the answer.
    Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Freeze,
    CutOff,
}

/// What the user was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Done,
    /// Definite: not done.
    Refused(String),
    Unknown(String),
}

impl From<Result<Reply, Unanswered>> for Told {
    fn from(told: Result<Reply, Unanswered>) -> Self {
        match told {
            Ok(reply) if reply.is_done() => Self::Done,
            Ok(reply) => Self::Refused(format!("{:?}", reply.refusal())),
            Err(why) if why.is_definite() => Self::Refused(why.to_string()),
            Err(why) => Self::Unknown(why.to_string()),
        }
    }
}

/// One user at a boundary.
pub struct Stage {
    pub act: Act,
    pub n: usize,
    pub line: Rc<Line>,
    /// The calls the act is about; the first is held where there are two.
    pub calls: Vec<String>,
    pub was: (Option<String>, Option<String>),
    /// Messages seen before the act.
    pub seen: usize,
}

fn outside(n: usize, nth: usize) -> String {
    format!("tel:+1206555{n:03}{nth}")
}

impl Stage {
    pub fn user(&self) -> &RccUser {
        &self.line.user
    }

    pub async fn prepare(&mut self, pair: &Pair) {
        if matches!(self.act, Act::Invite | Act::Welcome) {
            return;
        }
        let user = self.line.user.clone();
        sign_in(&user).await;
        let talks = |call: String| {
            let user = user.clone();
            async move {
                let is_so = user.until(PATIENCE, |view| (view.phase(&call)? == Phase::Talking).then_some(())).await;
                is_so.unwrap_or_else(|| panic!("{} does not talk", user.name()));
            }
        };
        if self.act == Act::Answer {
            pair.desk(Request::Ring { device: device(self.n), from: Some(format!("+1416555{:04}", self.n)) }).await;
            self.calls.push(self.rings().await);
        }
        let has_call =
            matches!(self.act, Act::Hold | Act::Retrieve | Act::Consult | Act::Transfer | Act::Conference | Act::Clear);
        if has_call {
            let placed = user.make_call(&outside(self.n, 0)).await.expect("placed");
            let call = placed.call().unwrap_or_else(|| panic!("{:?}", placed.refusal())).call.clone();
            talks(call.clone()).await;
            self.calls.push(call);
        }
        if self.act == Act::Retrieve {
            assert!(user.hold(&self.calls[0]).await.expect("an answer").is_done());
        }
        if matches!(self.act, Act::Transfer | Act::Conference) {
            let placed = user.consult(&self.calls[0], &outside(self.n, 1)).await.expect("placed");
            let call = placed.call().unwrap_or_else(|| panic!("{:?}", placed.refusal())).call.clone();
            talks(call.clone()).await;
            self.calls.push(call);
        }
        self.was = (user.remote_tag(), user.xref());
    }

    pub async fn rings(&self) -> String {
        let ringing = |view: &lyncpin::client::CallView| {
            view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone())
        };
        self.user().until(PATIENCE, ringing).await.unwrap_or_else(|| panic!("{} does not ring", self.user().name()))
    }

    /// Shuts the gate at which the act is to be when the fault comes.
    pub fn set(&self, moment: Moment) {
        let line = &self.line;
        match (self.act, moment) {
            (Act::Welcome, Moment::Sent) => line.cue(Cue::Welcomed),
            (Act::Welcome, Moment::Answered) => line.cue(Cue::Acknowledged),
            (Act::Incoming, Moment::Asked) => line.to_user.shut(),
            (Act::Incoming, Moment::Answered) => line.to_node.shut(),
            (Act::Incoming, _) | (_, Moment::Asked | Moment::Heard) => {}
            (_, Moment::Sent) => line.to_node.shut(),
            (_, Moment::Answered) => line.to_user.shut(),
        }
    }

    /// The act itself.
    pub fn act(&self) -> LocalBoxFuture<'static, Told> {
        let (user, calls, n) = (self.line.user.clone(), self.calls.clone(), self.n);
        let line = Some(user.line());
        match self.act {
            Act::Invite | Act::Welcome => async move {
                match user.sign_in().await {
                    Ok(_) => Told::Done,
                    Err(SignInError::Invite(why) | SignInError::Service { why, .. }) => Told::from(Err(why)),
                    Err(other) => Told::Refused(other.to_string()),
                }
            }
            .boxed_local(),
            Act::SystemStatus => {
                async move { user.invoke(Service::RequestSystemStatus { line }).await.into() }.boxed_local()
            }
            Act::Features => async move { user.invoke(Service::GetCstaFeatures { line }).await.into() }.boxed_local(),
            Act::MakeCall => async move { user.make_call(&outside(n, 0)).await.into() }.boxed_local(),
            Act::Answer => async move { user.answer(&calls[0]).await.into() }.boxed_local(),
            Act::Hold => async move { user.hold(&calls[0]).await.into() }.boxed_local(),
            Act::Retrieve => async move { user.retrieve(&calls[0]).await.into() }.boxed_local(),
            Act::Consult => async move { user.consult(&calls[0], &outside(n, 1)).await.into() }.boxed_local(),
            Act::Transfer => async move { user.transfer(&calls[0], &calls[1]).await.into() }.boxed_local(),
            Act::Conference => async move { user.conference(&calls[0], &calls[1]).await.into() }.boxed_local(),
            Act::Clear => async move { user.hang_up(&calls[0]).await.into() }.boxed_local(),
            Act::Incoming => async { Told::Done }.boxed_local(),
        }
    }

    /// Whether the act has come to where the fault is to find it. At `Heard` its end is waited for instead.
    pub fn is_at(&self, moment: Moment, history: &[Entry]) -> bool {
        let (to_node, to_user) = (self.line.to_node.held(), self.line.to_user.held());
        match (self.act, moment) {
            (Act::Incoming, Moment::Asked) => to_user.contains("INFO sip"),
            (Act::Incoming, Moment::Answered) => to_node.contains("SIP/2.0 200"),
            (Act::Incoming, _) | (_, Moment::Heard) => true,
            (_, Moment::Sent) => !to_node.is_empty(),
            (Act::Welcome, Moment::Answered) => to_user.matches("SIP/2.0 200").count() == 2,
            (_, Moment::Answered) => to_user.contains("SIP/2.0 200"),
            (act, Moment::Asked) => {
                act.service().is_none_or(|service| !asks(history, service, &device(self.n)).is_empty())
            }
        }
    }

    /// The request of the act, and its answer: not of an event.
    pub fn exchange(&self) -> Option<(Message, Message)> {
        let method = match self.act {
            Act::Incoming => return None,
            Act::Invite => "INVITE",
            _ => "INFO",
        };
        let (request, answer) = self.line.asked_since(self.seen, method)?;
        Some((request, answer?))
    }
}

/// What the PBX did with each such service about a device.
pub fn asks<'a>(history: &'a [Entry], service: &str, device: &str) -> Vec<&'a Did> {
    let about = |entry: &'a Entry| match &entry.what {
        Happening::Service { service: asked, did, .. } if asked.name() == service && names(asked, device) => Some(did),
        _ => None,
    };
    history.iter().filter_map(about).collect()
}

pub fn names(service: &Service, device: &str) -> bool {
    serde_json::to_string(service).unwrap().contains(&format!("\"{device}\""))
}

/// A client that is refused for now tries again: on a busy machine a node may be without a quorum for a moment.
pub async fn sign_in(user: &RccUser) {
    for _ in 0..100 {
        match user.sign_in().await {
            Ok(_) => return,
            Err(SignInError::Invite(Unanswered::Sip { status: 503, .. })) => {}
            Err(SignInError::Service { why: Unanswered::Sip { status: 503, .. }, .. }) => {}
            Err(why) => panic!("{}: {why}", user.name()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} is refused for ever", user.name());
}
