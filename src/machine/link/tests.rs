//! Transcripts of the link machine: what goes in, what comes out.

use super::*;
use crate::csta::{Event, EventBody, Outcome};

const TIMING: LinkTiming = LinkTiming {
    heartbeat_ms: 1_000,
    heartbeat_misses_max: 3,
    connect_timeout_ms: 2_000,
    request_timeout_ms: 4_000,
    backoff_min_ms: 100,
    backoff_max_ms: 1_600,
    outstanding_max: 2,
};

struct Rig {
    link: Link,
    now: Moment,
}

impl Rig {
    fn new() -> Self {
        Self { link: Link::new(TIMING), now: Moment(10_000) }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.link.step(input, self.now, Jitter::NONE)
    }

    fn heard(&mut self, heard: Heard) -> Vec<Effect> {
        let generation = self.link.generation();
        self.step(Input::Heard { generation, heard })
    }

    /// Runs to the machine's own next deadline.
    fn next(&mut self) -> (u64, Vec<Effect>) {
        let deadline = self.link.deadline().expect("the machine wants a tick");
        let waited = deadline.ms_from(self.now);
        self.now = self.now.max(deadline);
        (waited, self.step(Input::Tick))
    }

    fn closed(&mut self) -> Vec<Effect> {
        let generation = self.link.generation();
        self.step(Input::Closed { generation, trouble: Trouble::ClosedByPbx })
    }

    fn up() -> Self {
        let mut rig = Self::new();
        rig.step(Input::Start);
        rig.step(Input::Connected { generation: 1 });
        rig.heard(Heard::Granted { duration_ms: 0, resumed: false });
        rig.heard(Heard::Status(SystemStatus::Usable));
        assert_eq!(rig.link.state(), LinkState::Up);
        rig
    }
}

fn ask(number: u64) -> Input {
    Input::Ask { ticket: Ticket(number), timeout_ms: 3_000 }
}

fn settled(number: u64, result: Result<Outcome, LinkFailed>) -> Effect {
    Effect::Settle { ticket: Ticket(number), result }
}

fn answer(number: u64) -> Heard {
    Heard::Answer { ticket: Ticket(number), outcome: Outcome::AnswerCall }
}

fn event() -> Event {
    Event { xref: "7".into(), body: EventBody::MonitorStopped }
}

#[test]
fn a_link_comes_up_in_four_steps() {
    let mut rig = Rig::new();
    assert_eq!(rig.step(Input::Start), [Effect::Connect { generation: 1 }]);
    assert_eq!(rig.step(Input::Connected { generation: 1 }), [Effect::Say(Say::Login)]);
    assert_eq!(rig.link.state(), LinkState::Authenticating);
    let granted = Heard::Granted { duration_ms: 60_000, resumed: false };
    assert_eq!(rig.heard(granted), [Effect::Say(Say::AskStatus)]);
    assert_eq!(rig.link.state(), LinkState::Syncing);
    rig.now = rig.now.after_ms(12);
    let up = Effect::Up { generation: 1, resumed: false };
    assert_eq!(rig.heard(Heard::Status(SystemStatus::Usable)), [up]);
    assert_eq!((rig.link.state(), rig.link.heartbeat_rtt_ms()), (LinkState::Up, Some(12)));
}

#[test]
fn a_refused_login_rests_and_is_shown() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    rig.step(Input::Connected { generation: 1 });
    let trouble = Trouble::LoginRefused(LoginRefusal::InvalidApplicationInfo);
    assert_eq!(
        rig.heard(Heard::LoginRefused(LoginRefusal::InvalidApplicationInfo)),
        [Effect::Disconnect { generation: 1 }, Effect::Down { trouble: trouble.clone() }]
    );
    assert_eq!((rig.link.state(), rig.link.last_trouble()), (LinkState::Down, Some(&trouble)));
    assert_eq!(rig.next(), (100, vec![Effect::Connect { generation: 2 }]));
}

#[test]
fn a_login_without_an_answer_is_given_up() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    rig.step(Input::Connected { generation: 1 });
    let (waited, effects) = rig.next();
    assert_eq!(waited, TIMING.request_timeout_ms);
    assert_eq!(effects[1], Effect::Down { trouble: Trouble::LoginTimedOut });
}

#[test]
fn a_connect_without_an_end_is_given_up() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    let down = Effect::Down { trouble: Trouble::ConnectTimedOut };
    assert_eq!(rig.next(), (TIMING.connect_timeout_ms, vec![Effect::Disconnect { generation: 1 }, down]));
}

#[test]
fn a_system_out_of_service_is_asked_again_and_again_on_the_same_connection() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    rig.step(Input::Connected { generation: 1 });
    rig.heard(Heard::Granted { duration_ms: 0, resumed: false });
    for _ in 0..10 {
        assert_eq!(rig.heard(Heard::Status(SystemStatus::Unusable)), []);
        assert_eq!(rig.step(ask(1)), [settled(1, Err(LinkFailed::NotSent))]);
        assert_eq!(rig.next(), (1_000, vec![Effect::Say(Say::AskStatus)]));
    }
    assert_eq!(rig.link.state(), LinkState::Syncing);
    assert_eq!(rig.link.last_trouble(), Some(&Trouble::SystemNotInService));
    let report = Heard::StatusReport { invoke: 4, status: SystemStatus::Usable };
    let answer = Effect::Say(Say::AnswerStatus { invoke: 4 });
    assert_eq!(rig.heard(report), [answer, Effect::Up { generation: 1, resumed: false }]);
}

#[test]
fn a_system_that_goes_out_of_service_takes_the_link_down() {
    let mut rig = Rig::up();
    rig.step(ask(1));
    assert_eq!(
        rig.heard(Heard::StatusReport { invoke: 9, status: SystemStatus::Unusable }),
        [
            Effect::Say(Say::AnswerStatus { invoke: 9 }),
            Effect::Disconnect { generation: 1 },
            settled(1, Err(LinkFailed::Lost)),
            Effect::Down { trouble: Trouble::SystemNotInService },
        ]
    );
}

#[test]
fn lost_events_are_passed_on() {
    let mut rig = Rig::up();
    let report = Heard::StatusReport { invoke: 9, status: SystemStatus::Lossy };
    assert_eq!(rig.heard(report), [Effect::Say(Say::AnswerStatus { invoke: 9 }), Effect::EventsLost]);
    assert_eq!(rig.link.state(), LinkState::Up);
}

#[test]
fn a_silent_pbx_is_dead_after_three_missed_heartbeats() {
    let mut rig = Rig::up();
    rig.step(Input::Ask { ticket: Ticket(1), timeout_ms: 60_000 });
    for _ in 0..3 {
        assert_eq!(rig.next(), (1_000, vec![Effect::Say(Say::AskStatus)]));
    }
    rig.now = rig.now.after_ms(999);
    assert_eq!(rig.step(Input::Tick), []);
    rig.now = rig.now.after_ms(1);
    // The ask's own time, cut to the link's most, ends in the same moment.
    assert_eq!(
        rig.step(Input::Tick),
        [
            settled(1, Err(LinkFailed::TimedOut)),
            Effect::Disconnect { generation: 1 },
            Effect::Down { trouble: Trouble::HeartbeatMissed },
        ]
    );
}

#[test]
fn anything_heard_postpones_the_heartbeat() {
    let mut rig = Rig::up();
    for _ in 0..20 {
        rig.now = rig.now.after_ms(900);
        assert_eq!(rig.step(Input::Tick), []);
        assert_eq!(rig.heard(Heard::Event(event())), [Effect::Report(event())]);
    }
}

#[test]
fn the_session_is_prolonged_at_half_its_time_and_again_when_unanswered() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    rig.step(Input::Connected { generation: 1 });
    rig.heard(Heard::Granted { duration_ms: 800, resumed: false });
    rig.heard(Heard::Status(SystemStatus::Usable));
    assert_eq!(rig.next(), (400, vec![Effect::Say(Say::ResetTimer)]));
    assert_eq!(rig.next(), (200, vec![Effect::Say(Say::ResetTimer)]));
    assert_eq!(rig.heard(Heard::TimerReset { duration_ms: 1_000 }), []);
    assert_eq!(rig.next(), (500, vec![Effect::Say(Say::ResetTimer)]));
    let down = Effect::Down { trouble: Trouble::SessionNotProlonged };
    assert_eq!(rig.heard(Heard::TimerRefused), [Effect::Disconnect { generation: 1 }, down]);
}

#[test]
fn a_terminated_session_and_an_end_of_file_are_the_same_loss() {
    for (input, trouble) in [
        (Input::Heard { generation: 1, heard: Heard::Terminated }, Trouble::SessionTerminated),
        (Input::Closed { generation: 1, trouble: Trouble::ClosedByPbx }, Trouble::ClosedByPbx),
    ] {
        let mut rig = Rig::up();
        rig.step(ask(5));
        let lost = settled(5, Err(LinkFailed::Lost));
        assert_eq!(rig.step(input), [Effect::Disconnect { generation: 1 }, lost, Effect::Down { trouble }]);
    }
}

#[test]
fn what_an_old_generation_says_late_is_dropped() {
    let mut rig = Rig::up();
    rig.step(ask(1));
    rig.closed();
    rig.next();
    for late in [answer(1), Heard::Event(event()), Heard::Terminated, Heard::Status(SystemStatus::Usable)] {
        assert_eq!(rig.step(Input::Heard { generation: 1, heard: late }), []);
    }
    rig.step(Input::Connected { generation: 2 });
    let before = rig.link.state();
    assert_eq!(rig.step(Input::Closed { generation: 1, trouble: Trouble::ClosedByPbx }), []);
    assert_eq!(rig.step(Input::Connected { generation: 1 }), [Effect::Disconnect { generation: 1 }]);
    let granted = Heard::Granted { duration_ms: 0, resumed: false };
    assert_eq!(rig.step(Input::Heard { generation: 1, heard: granted }), []);
    assert_eq!(rig.link.state(), before);
}

#[test]
fn each_ask_is_settled_exactly_once() {
    let mut rig = Rig::up();
    assert_eq!(rig.step(ask(1)), [Effect::Send { ticket: Ticket(1) }]);
    assert_eq!(rig.heard(answer(1)), [settled(1, Ok(Outcome::AnswerCall))]);
    assert_eq!(rig.heard(answer(1)), [], "answered twice");
    rig.step(ask(2));
    assert_eq!(rig.step(Input::NotTaken { ticket: Ticket(2) }), [settled(2, Err(LinkFailed::NotSent))]);
    rig.step(ask(3));
    rig.now = rig.now.after_ms(3_000);
    rig.heard(Heard::Noise);
    assert_eq!(rig.step(Input::Tick), [settled(3, Err(LinkFailed::TimedOut))]);
    assert_eq!(rig.heard(answer(3)), [], "too late");
    rig.step(ask(4));
    assert_eq!(rig.heard(Heard::Unreadable { ticket: Ticket(4) }), [settled(4, Err(LinkFailed::Lost))]);
    assert_eq!(rig.link.outstanding(), 0);
}

#[test]
fn no_more_than_outstanding_max_asks_are_open() {
    let mut rig = Rig::up();
    rig.step(ask(1));
    rig.step(ask(2));
    assert_eq!(rig.step(ask(3)), [settled(3, Err(LinkFailed::NotSent))]);
    rig.heard(answer(1));
    assert_eq!(rig.step(ask(4)), [Effect::Send { ticket: Ticket(4) }]);
}

#[test]
fn a_link_that_is_not_up_takes_no_service() {
    let mut rig = Rig::new();
    assert_eq!(rig.step(ask(1)), [settled(1, Err(LinkFailed::NotSent))]);
    rig.step(Input::Start);
    assert_eq!(rig.step(ask(2)), [settled(2, Err(LinkFailed::NotSent))]);
    rig.step(Input::Connected { generation: 1 });
    assert_eq!(rig.step(ask(3)), [settled(3, Err(LinkFailed::NotSent))]);
}

#[test]
fn the_back_off_doubles_up_to_its_cap() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    let waits: Vec<u64> = (0..7)
        .map(|_| {
            rig.closed();
            rig.next().0
        })
        .collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
    assert_eq!(rig.link.generation(), 8);
}

#[test]
fn jitter_takes_up_to_half_of_the_back_off_away() {
    for (random, waited) in [(0, 50), (500, 75), (1000, 100)] {
        let mut link = Link::new(TIMING);
        link.step(Input::Start, Moment(0), Jitter::NONE);
        let closed = Input::Closed { generation: 1, trouble: Trouble::ClosedByPbx };
        link.step(closed, Moment(0), Jitter::from_random(random));
        assert_eq!(link.next_try(), Some(Moment(waited)));
    }
}

#[test]
fn only_a_good_while_of_service_forgives_earlier_tries() {
    let come_up = |rig: &mut Rig| {
        let generation = rig.link.generation();
        rig.step(Input::Connected { generation });
        rig.heard(Heard::Granted { duration_ms: 0, resumed: false });
        rig.heard(Heard::Status(SystemStatus::Usable));
    };
    let mut rig = Rig::up();
    let mut waits = Vec::new();
    for _ in 0..3 {
        rig.closed();
        waits.push(rig.next().0);
        come_up(&mut rig);
    }
    assert_eq!(waits, [100, 200, 400], "a link that flaps is not tried at full speed");
    rig.now = rig.now.after_ms(TIMING.backoff_max_ms);
    rig.closed();
    assert_eq!(rig.next().0, 100);
}

#[test]
fn a_drained_link_finishes_says_goodbye_and_rests() {
    let mut rig = Rig::up();
    rig.step(ask(1));
    assert_eq!(rig.step(Input::Drain), []);
    assert_eq!(rig.link.state(), LinkState::Draining);
    assert_eq!(rig.step(ask(2)), [settled(2, Err(LinkFailed::NotSent))]);
    assert_eq!(rig.heard(Heard::Event(event())), [Effect::Report(event())]);
    assert_eq!(rig.heard(answer(1)), [settled(1, Ok(Outcome::AnswerCall)), Effect::Say(Say::Logout)]);
    assert_eq!(
        rig.heard(Heard::LoggedOut),
        [Effect::Disconnect { generation: 1 }, Effect::Down { trouble: Trouble::Drained }]
    );
    assert_eq!((rig.link.state(), rig.link.deadline()), (LinkState::Down, None));
    assert_eq!(rig.step(Input::Start), [Effect::Connect { generation: 2 }]);
}

#[test]
fn draining_ends_even_if_the_pbx_does_not_answer() {
    let mut rig = Rig::up();
    rig.step(Input::Ask { ticket: Ticket(1), timeout_ms: 500 });
    rig.step(Input::Drain);
    assert_eq!(rig.next(), (500, vec![settled(1, Err(LinkFailed::TimedOut)), Effect::Say(Say::Logout)]));
    for _ in 0..3 {
        rig.next();
    }
    rig.now = rig.now.after_ms(TIMING.request_timeout_ms);
    rig.step(Input::Tick);
    assert_eq!((rig.link.state(), rig.link.deadline()), (LinkState::Down, None));
}

#[test]
fn a_drain_before_login_just_stops() {
    let mut rig = Rig::new();
    rig.step(Input::Start);
    let down = Effect::Down { trouble: Trouble::Drained };
    assert_eq!(rig.step(Input::Drain), [Effect::Disconnect { generation: 1 }, down]);
    assert_eq!(rig.link.deadline(), None);
    let mut rig = Rig::new();
    rig.step(Input::Start);
    rig.closed();
    assert_eq!(rig.step(Input::Drain), []);
    assert_eq!(rig.link.deadline(), None, "no try is left over");
}

#[test]
fn a_start_during_the_drain_keeps_the_connection() {
    let mut rig = Rig::up();
    rig.step(ask(1));
    rig.step(Input::Drain);
    assert_eq!(rig.step(Input::Start), []);
    assert_eq!(rig.step(ask(2)), [Effect::Send { ticket: Ticket(2) }]);
}
