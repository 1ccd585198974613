//! One call from sign-in to sign-out, with every message on the screen.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::UsersError;
use super::call::{CallFailure, Plan, Players};
use super::options::UsersOptions;
use super::report::Report;
use super::tally::{Tally, add, read};
use crate::client::{Direction, FlowId, FrontEnd, FrontEndOptions, Tap, UserOptions};
use crate::csta::{self, EventBody, Payload};
use crate::sip::{Message, StartLine};

/// Prints time, arrow, message; one line each.
struct Transcript {
    who: &'static str,
    started: Instant,
}

impl Tap for Transcript {
    fn saw(&self, direction: Direction, _flow: FlowId, message: &Message) {
        let line = line(self.who, direction, self.started.elapsed(), message);
        // A closed pipe is the reader's choice.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

fn line(who: &str, direction: Direction, at: Duration, message: &Message) -> String {
    let arrow = match direction {
        Direction::Out => "──▶",
        Direction::In => "◀──",
    };
    let cseq = message.headers.cseq().map(|c| format!("{} {}", c.number, c.method)).unwrap_or_default();
    let start = match &message.start {
        StartLine::Request { method, .. } => method.clone(),
        StartLine::Response { status, reason } => format!("{status} {reason}"),
    };
    let mut text = format!("{:>9.3} ms  {who:<5} {arrow} gateway  {start:<12}", at.as_secs_f64() * 1e3);
    if !message.body.is_empty() {
        let told = csta::decode(&message.body).map_or_else(|e| e.to_string(), |d| told(&d.payload));
        let _ = write!(text, " {told}");
    }
    let _ = write!(text, "  [{cseq}]");
    text
}

fn told(payload: &Payload) -> String {
    let name = payload.name();
    match payload {
        Payload::Event(event) => {
            let call = event.call().unwrap_or_default();
            let local = event.local().map(|l| format!(" own connection {l:?}").to_lowercase()).unwrap_or_default();
            let from = match &event.body {
                EventBody::Delivered { calling, .. } => {
                    calling.as_device().map(|d| format!(" from {d}")).unwrap_or_default()
                }
                _ => String::new(),
            };
            format!("{name} call {call}{local}{from}")
        }
        Payload::Service(csta::Service::MakeCall { called, .. }) => format!("{name} to {called}"),
        Payload::Outcome(csta::Outcome::MakeCall { calling }) => format!("{name} call {}", calling.call),
        Payload::Outcome(csta::Outcome::MonitorStart { xref, .. }) => format!("{name} xref {xref}"),
        Payload::Outcome(csta::Outcome::RequestSystemStatus { system_status }) => format!("{name} {system_status}"),
        Payload::Outcome(csta::Outcome::Failed(failure)) => format!("{name} {failure:?}"),
        _ => name.to_owned(),
    }
}

/// Alice calls Bob; they talk; Alice holds, resumes and hangs up; both sign out.
pub(super) async fn run(options: &UsersOptions, population: Vec<UserOptions>) -> Result<Report, UsersError> {
    let started = Instant::now();
    let tally = Tally::default();
    let mut front_ends = Vec::new();
    let mut users = Vec::new();
    for (who, mut account) in ["alice", "bob"].into_iter().zip(population) {
        let tap = Arc::new(Transcript { who, started });
        let front_end = FrontEnd::new(FrontEndOptions { tap: Some(tap), ..FrontEndOptions::direct() });
        front_end.keep_connected(options.gateways.clone(), 1);
        account.answer_timeout = Duration::from_millis(options.patience_ms);
        users.push(front_end.user(account));
        front_ends.push(front_end);
    }
    let [alice, bob] = users.as_slice() else { return Err(UsersError::DemoNeedsTwo) };
    for user in &users {
        match user.sign_in().await {
            Ok(signed_in) => {
                tally.sign_in.record(signed_in.took);
                add(&tally.signed_in);
            }
            Err(why) => tally.failed(format!("sign-in: {why}")),
        }
    }
    if read(&tally.signed_in) == 2 {
        let plan = Plan {
            is_answered: true,
            is_held: true,
            is_transferred: false,
            talk: Duration::from_millis(options.talk_ms),
            patience: Duration::from_millis(options.patience_ms),
        };
        add(&tally.calls);
        let players = Players { caller: alice, callee: Some(bob), third: None, tally: &tally };
        let result: Result<(), CallFailure> = players.play(&bob.line(), &plan).await;
        match result {
            Ok(()) => add(&tally.calls_ok),
            Err(why) => tally.failed(why.to_string()),
        }
        sleep(Duration::from_millis(50)).await;
    }
    for user in users.iter().filter(|u| u.is_signed_in()) {
        if let Err(why) = user.sign_out().await {
            tally.failed(format!("sign-out: {why}"));
        }
    }
    Ok(Report::of(&tally, &users, &front_ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_line_names_the_call_and_the_state() {
        let sample = include_bytes!("../../../tests/samples/rcc/C01-g2c-INFO-DeliveredEvent-incoming.sip");
        let message = Message::parse(&sample.as_slice().into()).expect("a sample");
        assert_eq!(
            line("bob", Direction::In, Duration::from_micros(1500), &message),
            "    1.500 ms  bob   ◀── gateway  INFO         DeliveredEvent call 4711 own connection alerting from \
             tel:+14255550202  [1 INFO]"
        );
    }
}
