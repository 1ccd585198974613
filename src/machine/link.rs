//! One CTI link: connect, log in, see the PBX in service, serve, notice loss, come back.

mod open;
mod pulse;
mod words;

#[cfg(test)]
mod tests;

pub use open::OpenAsks;
pub use pulse::{Beat, Pulse};
pub use words::{
    Effect, Heard, Input, Jitter, LinkState, LinkTiming, LoginRefusal, Say, SystemStatus, Ticket, Trouble,
};

use super::ask::LinkFailed;
use crate::id::Moment;

/// The machine of one link.
///
/// ```text
///            next try          Connected           Granted            status usable
///   Down ─────────────▶ Connecting ───▶ Authenticating ───▶ Syncing ───────────────▶ Up
///    ▲ ▲                    │                 │                │                     │ Drain
///    │ └────────────────────┴─────────────────┴────────────────┴──── any trouble ────┤
///    │                                                                               ▼
///    └─────────────── open asks settled, goodbye said, or time over ──────────── Draining
/// ```
///
/// Each connection is one generation. Whatever belongs to another generation than the present one is dropped, because
/// a thawed PBX does answer late. Nothing is ever queued: a service is put on the wire at once or refused as `NotSent`.
#[derive(Debug)]
pub struct Link {
    timing: LinkTiming,
    state: State,
    generation: u64,
    /// Connects tried since the link last was up for long; the back-off grows with it.
    tries: u32,
    last_trouble: Option<Trouble>,
    rtt_ms: Option<u64>,
    open: OpenAsks,
}

#[derive(Debug)]
enum State {
    /// `None`: not wanted.
    Down {
        next_try: Option<Moment>,
    },
    Connecting {
        until: Moment,
    },
    Authenticating {
        until: Moment,
    },
    Syncing {
        vital: Vital,
        next_question: Moment,
        resumed: bool,
    },
    Up {
        vital: Vital,
        since: Moment,
    },
    Draining {
        vital: Vital,
        until: Moment,
        goodbye_said: bool,
    },
}

/// What keeps a logged-in connection alive.
#[derive(Debug)]
struct Vital {
    pulse: Pulse,
    /// When to prolong the application session; `None` when it does not expire.
    reset_at: Option<Moment>,
    duration_ms: u64,
}

impl Vital {
    /// Prolongs at half the granted time, as clients in the wild do (ECMA-354 leaves it open).
    fn granted(&mut self, duration_ms: u64, now: Moment) {
        self.duration_ms = duration_ms;
        self.reset_at = (duration_ms > 0).then(|| now.after_ms((duration_ms / 2).max(1)));
    }

    fn deadline(&self) -> Moment {
        self.reset_at.map_or(self.pulse.deadline(), |reset_at| reset_at.min(self.pulse.deadline()))
    }
}

impl Link {
    pub fn new(timing: LinkTiming) -> Self {
        Self {
            timing,
            state: State::Down { next_try: None },
            generation: 0,
            tries: 0,
            last_trouble: None,
            rtt_ms: None,
            open: OpenAsks::default(),
        }
    }

    pub fn state(&self) -> LinkState {
        match self.state {
            State::Down { .. } => LinkState::Down,
            State::Connecting { .. } => LinkState::Connecting,
            State::Authenticating { .. } => LinkState::Authenticating,
            State::Syncing { .. } => LinkState::Syncing,
            State::Up { .. } => LinkState::Up,
            State::Draining { .. } => LinkState::Draining,
        }
    }

    /// +1 a connection; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether what comes from this connection still counts.
    pub fn is_current(&self, generation: u64) -> bool {
        generation == self.generation && !matches!(self.state, State::Down { .. } | State::Connecting { .. })
    }

    pub fn last_trouble(&self) -> Option<&Trouble> {
        self.last_trouble.as_ref()
    }

    pub fn next_try(&self) -> Option<Moment> {
        match self.state {
            State::Down { next_try } => next_try,
            _ => None,
        }
    }

    pub fn outstanding(&self) -> usize {
        self.open.len()
    }

    pub fn heartbeat_rtt_ms(&self) -> Option<u64> {
        self.rtt_ms
    }

    /// When `Tick` is next wanted.
    pub fn deadline(&self) -> Option<Moment> {
        let of_state = match &self.state {
            State::Down { next_try } => *next_try,
            State::Connecting { until } | State::Authenticating { until } => Some(*until),
            State::Syncing { vital, next_question, .. } => Some(vital.deadline().min(*next_question)),
            State::Up { vital, .. } => Some(vital.deadline()),
            State::Draining { vital, until, .. } => Some(vital.deadline().min(*until)),
        };
        [of_state, self.open.deadline()].into_iter().flatten().min()
    }

    /// Total: every input has an answer in every state. Carry the effects out in order.
    pub fn step(&mut self, input: Input, now: Moment, jitter: Jitter) -> Vec<Effect> {
        match input {
            Input::Start => self.start(now),
            Input::Drain => self.drain(now, jitter),
            Input::Connected { generation } => self.connected(generation, now),
            Input::Closed { generation, trouble } => {
                if generation == self.generation && !matches!(self.state, State::Down { .. }) {
                    self.lose(trouble, now, jitter)
                } else {
                    Vec::new()
                }
            }
            Input::Heard { generation, heard } if self.is_current(generation) => self.heard(heard, now, jitter),
            Input::Heard { .. } => Vec::new(),
            Input::Ask { ticket, timeout_ms } => self.ask(ticket, timeout_ms, now),
            Input::NotTaken { ticket } => self.settle(ticket, Err(LinkFailed::NotSent), now),
            Input::Tick => self.tick(now, jitter),
        }
    }

    fn start(&mut self, now: Moment) -> Vec<Effect> {
        match &mut self.state {
            State::Down { next_try: None } => {
                self.tries = 0;
                self.connect(now)
            }
            // Called back while draining: the connection is good, unless the goodbye is out already.
            State::Draining { goodbye_said: false, .. } => {
                let old = std::mem::replace(&mut self.state, State::Down { next_try: None });
                if let State::Draining { vital, .. } = old {
                    self.state = State::Up { vital, since: now };
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn drain(&mut self, now: Moment, jitter: Jitter) -> Vec<Effect> {
        let old = std::mem::replace(&mut self.state, State::Down { next_try: None });
        match old {
            // Also when it only rests between two tries.
            State::Down { .. } => Vec::new(),
            State::Up { vital, .. } => {
                let until = now.after_ms(self.timing.request_timeout_ms);
                self.state = State::Draining { vital, until, goodbye_said: false };
                self.say_goodbye_when_quiet(now)
            }
            State::Draining { .. } => {
                self.state = old;
                Vec::new()
            }
            State::Connecting { .. } | State::Authenticating { .. } | State::Syncing { .. } => {
                self.state = old;
                let effects = self.lose(Trouble::Drained, now, jitter);
                self.state = State::Down { next_try: None };
                effects
            }
        }
    }

    fn connect(&mut self, now: Moment) -> Vec<Effect> {
        self.generation += 1;
        self.state = State::Connecting { until: now.after_ms(self.timing.connect_timeout_ms.max(1)) };
        vec![Effect::Connect { generation: self.generation }]
    }

    fn connected(&mut self, generation: u64, now: Moment) -> Vec<Effect> {
        if generation != self.generation || !matches!(self.state, State::Connecting { .. }) {
            return vec![Effect::Disconnect { generation }];
        }
        self.state = State::Authenticating { until: now.after_ms(self.timing.request_timeout_ms.max(1)) };
        vec![Effect::Say(Say::Login)]
    }

    /// Down, whatever the state: settle, tell, rest.
    fn lose(&mut self, trouble: Trouble, now: Moment, jitter: Jitter) -> Vec<Effect> {
        let mut effects = vec![Effect::Disconnect { generation: self.generation }];
        for ticket in self.open.take_all() {
            effects.push(Effect::Settle { ticket, result: Err(LinkFailed::Lost) });
        }
        // A link that falls again soon after it came up is not well: only a good while of service forgives old tries.
        if let State::Up { since, .. } = self.state
            && now.ms_from(since) >= self.timing.backoff_max_ms
        {
            self.tries = 0;
        }
        let wanted = !matches!(self.state, State::Draining { .. });
        let next_try = wanted.then(|| now.after_ms(jitter.spread(self.backoff_ms())));
        self.tries = self.tries.saturating_add(1);
        self.state = State::Down { next_try };
        self.last_trouble = Some(trouble.clone());
        self.rtt_ms = None;
        effects.push(Effect::Down { trouble });
        effects
    }

    /// Doubled with each try, up to the cap; jitter comes on top of it, downwards.
    fn backoff_ms(&self) -> u64 {
        let doubled = 1u64.checked_shl(self.tries.min(63)).unwrap_or(u64::MAX);
        let cap = self.timing.backoff_max_ms.max(1);
        self.timing.backoff_min_ms.max(1).saturating_mul(doubled).min(cap)
    }

    fn heard(&mut self, heard: Heard, now: Moment, jitter: Jitter) -> Vec<Effect> {
        if let Some(vital) = self.vital_mut() {
            vital.pulse.heard(now);
        }
        match heard {
            Heard::Granted { duration_ms, resumed } => self.granted(duration_ms, resumed, now),
            Heard::LoginRefused(refusal) if matches!(self.state, State::Authenticating { .. }) => {
                self.lose(Trouble::LoginRefused(refusal), now, jitter)
            }
            Heard::TimerReset { duration_ms } => {
                if let Some(vital) = self.vital_mut() {
                    vital.granted(duration_ms, now);
                }
                Vec::new()
            }
            Heard::TimerRefused => self.lose(Trouble::SessionNotProlonged, now, jitter),
            Heard::Terminated => self.lose(Trouble::SessionTerminated, now, jitter),
            Heard::LoggedOut if matches!(self.state, State::Draining { goodbye_said: true, .. }) => {
                self.lose(Trouble::Drained, now, jitter)
            }
            Heard::Status(status) => {
                if let Some(rtt_ms) = self.vital_mut().and_then(|vital| vital.pulse.answered(now)) {
                    self.rtt_ms = Some(rtt_ms);
                }
                self.status(status, now, jitter)
            }
            Heard::StatusReport { invoke, status } => {
                let mut effects = vec![Effect::Say(Say::AnswerStatus { invoke })];
                effects.extend(self.status(status, now, jitter));
                effects
            }
            Heard::Answer { ticket, outcome } => self.settle(ticket, Ok(outcome), now),
            Heard::Unreadable { ticket } => self.settle(ticket, Err(LinkFailed::Lost), now),
            Heard::Event(event) if matches!(self.state, State::Up { .. } | State::Draining { .. }) => {
                vec![Effect::Report(event)]
            }
            Heard::LoginRefused(_) | Heard::LoggedOut | Heard::Event(_) | Heard::Noise => Vec::new(),
        }
    }

    fn granted(&mut self, duration_ms: u64, resumed: bool, now: Moment) -> Vec<Effect> {
        if !matches!(self.state, State::Authenticating { .. }) {
            return Vec::new();
        }
        let pulse = Pulse::new(self.timing.heartbeat_ms, self.timing.heartbeat_misses_max, now);
        let mut vital = Vital { pulse, reset_at: None, duration_ms: 0 };
        vital.granted(duration_ms, now);
        vital.pulse.asked(now);
        let next_question = now.after_ms(self.timing.heartbeat_ms.max(1));
        self.state = State::Syncing { vital, next_question, resumed };
        vec![Effect::Say(Say::AskStatus)]
    }

    fn status(&mut self, status: SystemStatus, now: Moment, jitter: Jitter) -> Vec<Effect> {
        let old = std::mem::replace(&mut self.state, State::Down { next_try: None });
        match (old, status) {
            (State::Syncing { vital, resumed, .. }, SystemStatus::Usable | SystemStatus::Lossy) => {
                self.state = State::Up { vital, since: now };
                // What it lost is found by the snapshots every session takes now.
                vec![Effect::Up { generation: self.generation, resumed }]
            }
            (syncing @ State::Syncing { .. }, SystemStatus::Unusable) => {
                // Asked again every heartbeat; the connection stays.
                self.state = syncing;
                self.last_trouble = Some(Trouble::SystemNotInService);
                Vec::new()
            }
            (State::Up { vital, since }, SystemStatus::Unusable) => {
                self.state = State::Up { vital, since };
                self.lose(Trouble::SystemNotInService, now, jitter)
            }
            (old @ (State::Up { .. } | State::Draining { .. }), SystemStatus::Lossy) => {
                self.state = old;
                vec![Effect::EventsLost]
            }
            (old, _) => {
                self.state = old;
                Vec::new()
            }
        }
    }

    fn ask(&mut self, ticket: Ticket, timeout_ms: u64, now: Moment) -> Vec<Effect> {
        let takes = matches!(self.state, State::Up { .. }) && self.open.len() < self.timing.outstanding_max;
        if !takes {
            return vec![Effect::Settle { ticket, result: Err(LinkFailed::NotSent) }];
        }
        let timeout_ms = timeout_ms.min(self.timing.request_timeout_ms).max(1);
        self.open.put(ticket, now.after_ms(timeout_ms));
        vec![Effect::Send { ticket }]
    }

    /// Settles a ticket that is still open; one that is not was settled before.
    fn settle(&mut self, ticket: Ticket, result: Result<crate::csta::Outcome, LinkFailed>, now: Moment) -> Vec<Effect> {
        if !self.open.take(ticket) {
            return Vec::new();
        }
        let mut effects = vec![Effect::Settle { ticket, result }];
        effects.extend(self.say_goodbye_when_quiet(now));
        effects
    }

    fn say_goodbye_when_quiet(&mut self, now: Moment) -> Vec<Effect> {
        match &mut self.state {
            State::Draining { goodbye_said, until, .. } if !*goodbye_said && self.open.is_empty() => {
                *goodbye_said = true;
                *until = now.after_ms(self.timing.request_timeout_ms);
                vec![Effect::Say(Say::Logout)]
            }
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Moment, jitter: Jitter) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(ticket) = self.open.take_expired(now) {
            effects.push(Effect::Settle { ticket, result: Err(LinkFailed::TimedOut) });
        }
        effects.extend(self.say_goodbye_when_quiet(now));
        match &mut self.state {
            State::Down { next_try: Some(next_try) } if *next_try <= now => effects.extend(self.connect(now)),
            State::Connecting { until } if *until <= now => {
                effects.extend(self.lose(Trouble::ConnectTimedOut, now, jitter));
            }
            State::Authenticating { until } if *until <= now => {
                effects.extend(self.lose(Trouble::LoginTimedOut, now, jitter));
            }
            State::Draining { until, .. } if *until <= now => {
                effects.extend(self.lose(Trouble::Drained, now, jitter));
            }
            State::Down { .. } | State::Connecting { .. } | State::Authenticating { .. } => {}
            State::Syncing { .. } | State::Up { .. } | State::Draining { .. } => {
                effects.extend(self.keep_alive(now, jitter));
            }
        }
        effects
    }

    fn keep_alive(&mut self, now: Moment, jitter: Jitter) -> Vec<Effect> {
        let heartbeat_ms = self.timing.heartbeat_ms.max(1);
        let question_due = match &mut self.state {
            State::Syncing { next_question, .. } if *next_question <= now => {
                *next_question = now.after_ms(heartbeat_ms);
                true
            }
            _ => false,
        };
        let Some(vital) = self.vital_mut() else { return Vec::new() };
        let mut effects = Vec::new();
        if let Some(reset_at) = vital.reset_at
            && reset_at <= now
        {
            // Once more after a quarter, should this one go unanswered; then the PBX ends the session by itself.
            vital.reset_at = Some(now.after_ms((vital.duration_ms / 4).max(1)));
            effects.push(Effect::Say(Say::ResetTimer));
        }
        match vital.pulse.beat(now) {
            Beat::Dead => return self.lose(Trouble::HeartbeatMissed, now, jitter),
            Beat::Ask => effects.push(Effect::Say(Say::AskStatus)),
            Beat::Quiet if question_due => {
                vital.pulse.asked(now);
                effects.push(Effect::Say(Say::AskStatus));
            }
            Beat::Quiet => {}
        }
        effects
    }

    fn vital_mut(&mut self) -> Option<&mut Vital> {
        match &mut self.state {
            State::Syncing { vital, .. } | State::Up { vital, .. } | State::Draining { vital, .. } => Some(vital),
            State::Down { .. } | State::Connecting { .. } | State::Authenticating { .. } => None,
        }
    }
}
