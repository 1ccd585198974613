//! One call's life, played by two users or three.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::tally::{Tally, add};
use crate::client::{Call, CallView, Phase, RccUser, Reply, Unanswered};
use crate::csta::LocalState;

/// How one call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub is_answered: bool,
    pub is_held: bool,
    pub is_transferred: bool,
    pub talk: Duration,
    pub patience: Duration,
}

/// Where a call went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    #[error("{service}: refused: {why}")]
    Refused { service: &'static str, why: String },
    #[error("{service}: {why}")]
    Unanswered { service: &'static str, why: Unanswered },
    #[error("no {event} at the {who}")]
    Missing { event: &'static str, who: &'static str },
    #[error("a call is left over at the {who}")]
    LeftOver { who: &'static str },
}

pub(super) struct Players<'a> {
    pub caller: &'a RccUser,
    /// `None`: the number is outside.
    pub callee: Option<&'a RccUser>,
    /// Takes the call over when it is transferred.
    pub third: Option<&'a RccUser>,
    pub tally: &'a Tally,
}

impl Players<'_> {
    /// Plays the call, then sees to it that nobody has a call any more.
    pub async fn play(&self, number: &str, plan: &Plan) -> Result<(), CallFailure> {
        let result = match self.callee {
            Some(callee) => self.call_user(callee, number, plan).await,
            None => self.call_outside(number, plan).await,
        };
        let left = self.clear(plan, result.is_err()).await;
        result.and(left)
    }

    async fn call_user(&self, callee: &RccUser, number: &str, plan: &Plan) -> Result<(), CallFailure> {
        let started = Instant::now();
        let call = self.make_call(number).await?;
        let ringing = |v: &CallView| first(v, |c| c.local == LocalState::Alerting);
        let theirs = wait(callee, plan, "DeliveredEvent", "callee", ringing).await?;
        self.tally.ring.record(started.elapsed());
        if !plan.is_answered {
            wait(self.caller, plan, "DeliveredEvent", "caller", |v| (v.phase(&call)? == Phase::Ringing).then_some(()))
                .await?;
            return self.done("ClearConnection", self.caller.hang_up(&call).await).map(drop);
        }
        let answered = Instant::now();
        self.done("AnswerCall", callee.answer(&theirs).await)?;
        wait(self.caller, plan, "EstablishedEvent", "caller", |v| (v.phase(&call)? == Phase::Talking).then_some(()))
            .await?;
        self.tally.answer.record(answered.elapsed());
        wait(callee, plan, "EstablishedEvent", "callee", |v| (v.phase(&theirs)? == Phase::Talking).then_some(()))
            .await?;
        if plan.is_held {
            self.done("HoldCall", self.caller.hold(&call).await)?;
            wait(self.caller, plan, "HeldEvent", "caller", |v| (v.phase(&call)? == Phase::Held).then_some(())).await?;
            self.done("RetrieveCall", self.caller.retrieve(&call).await)?;
            wait(self.caller, plan, "RetrievedEvent", "caller", |v| (v.phase(&call)? == Phase::Talking).then_some(()))
                .await?;
        }
        sleep(plan.talk).await;
        if let Some(third) = self.third.filter(|_| plan.is_transferred) {
            return self.transfer(callee, third, &call, plan).await;
        }
        self.done("ClearConnection", self.caller.hang_up(&call).await).map(drop)
    }

    async fn transfer(&self, callee: &RccUser, third: &RccUser, call: &str, plan: &Plan) -> Result<(), CallFailure> {
        self.done("SingleStepTransferCall", self.caller.blind_transfer(call, &third.line()).await)?;
        wait(self.caller, plan, "TransferedEvent", "caller", |v| v.calls().is_empty().then_some(())).await?;
        let ringing = |v: &CallView| first(v, |c| c.local == LocalState::Alerting);
        let theirs = wait(third, plan, "DeliveredEvent", "third", ringing).await?;
        self.done("AnswerCall", third.answer(&theirs).await)?;
        wait(third, plan, "EstablishedEvent", "third", |v| (v.phase(&theirs)? == Phase::Talking).then_some(())).await?;
        // Its old call id may still look alive: only after its own event does it know the new one.
        let moved = |c: &Call| c.events.contains(&"TransferedEvent") && c.phase() == Phase::Talking;
        let left = wait(callee, plan, "TransferedEvent", "callee", |v| first(v, moved)).await?;
        self.done("ClearConnection", callee.hang_up(&left).await).map(drop)
    }

    async fn call_outside(&self, number: &str, plan: &Plan) -> Result<(), CallFailure> {
        let started = Instant::now();
        let call = self.make_call(number).await?;
        let moved = |v: &CallView| (!matches!(v.phase(&call)?, Phase::Initiated | Phase::Dialling)).then_some(());
        wait(self.caller, plan, "DeliveredEvent", "caller", moved).await?;
        self.tally.ring_outside.record(started.elapsed());
        if plan.is_answered {
            let talks = |v: &CallView| (v.phase(&call)? == Phase::Talking).then_some(());
            wait(self.caller, plan, "EstablishedEvent", "caller", talks).await?;
            sleep(plan.talk).await;
        }
        self.done("ClearConnection", self.caller.hang_up(&call).await).map(drop)
    }

    async fn make_call(&self, number: &str) -> Result<String, CallFailure> {
        let reply = self.done("MakeCall", self.caller.make_call(number).await)?;
        let call = reply.call().map(|c| c.call.clone());
        call.ok_or(CallFailure::Unanswered { service: "MakeCall", why: Unanswered::BadBody })
    }

    fn done(&self, service: &'static str, answer: Result<Reply, Unanswered>) -> Result<Reply, CallFailure> {
        match answer {
            Ok(reply) => {
                self.tally.service.record(reply.took);
                match reply.refusal() {
                    Some(failure) => Err(CallFailure::Refused { service, why: format!("{failure:?}") }),
                    None => Ok(reply),
                }
            }
            Err(why) => {
                if !why.is_definite() {
                    add(&self.tally.unknown);
                }
                Err(CallFailure::Unanswered { service, why })
            }
        }
    }

    /// Waits for everybody's calls to end, hanging up first when something went wrong. A call that stays is a ghost, or
    /// a command that was lost.
    async fn clear(&self, plan: &Plan, hangs_up: bool) -> Result<(), CallFailure> {
        let mut result = Ok(());
        let everybody = [("caller", Some(self.caller)), ("callee", self.callee), ("third", self.third)];
        for (who, user) in everybody.into_iter().filter_map(|(who, user)| Some((who, user?))) {
            if hangs_up {
                for call in user.with_view(|v| v.calls().iter().map(|c| c.id.clone()).collect::<Vec<_>>()) {
                    // Its own failure shows as a call left over.
                    let _ = user.hang_up(&call).await;
                }
            }
            if user.until(plan.patience, |v| v.calls().is_empty().then_some(())).await.is_none() {
                add(&self.tally.ghosts);
                result = Err(CallFailure::LeftOver { who });
            }
        }
        result
    }
}

fn first(view: &CallView, is_wanted: impl Fn(&Call) -> bool) -> Option<String> {
    view.calls().iter().find(|c| is_wanted(c)).map(|c| c.id.clone())
}

async fn wait<T>(
    user: &RccUser,
    plan: &Plan,
    event: &'static str,
    who: &'static str,
    look: impl FnMut(&CallView) -> Option<T>,
) -> Result<T, CallFailure> {
    user.until(plan.patience, look).await.ok_or(CallFailure::Missing { event, who })
}
