//! The end of a run: a table for people, JSON for scripts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::meter::Meter;
use super::tally::{Tally, read};
use crate::client::{FrontEnd, RccUser};

/// All durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub users: usize,
    pub signed_in: u64,
    pub calls: u64,
    pub calls_ok: u64,
    /// Wanted, but all users were busy.
    pub calls_skipped: u64,
    pub unknown: u64,
    pub ghosts: u64,
    pub events: u64,
    pub connections_lost: u64,
    /// Messages for no user.
    pub strays: u64,
    pub malformed: u64,
    pub history_lost: u64,
    pub failures: BTreeMap<String, u64>,
    pub violations: BTreeMap<String, u64>,
    pub sign_in: Timing,
    pub service: Timing,
    pub refresh: Timing,
    pub ring: Timing,
    pub ring_outside: Timing,
    pub answer: Timing,
}

/// One meter, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timing {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl From<&Meter> for Timing {
    fn from(meter: &Meter) -> Self {
        Self {
            count: meter.count(),
            p50_us: meter.quantile_us(500),
            p90_us: meter.quantile_us(900),
            p99_us: meter.quantile_us(990),
            max_us: meter.max_us(),
        }
    }
}

impl Report {
    pub(super) fn of(tally: &Tally, users: &[RccUser], front_ends: &[FrontEnd]) -> Self {
        let connections_lost = front_ends.iter().map(FrontEnd::flows_lost).sum();
        let mut violations = BTreeMap::<String, u64>::new();
        for user in users {
            let lost = user.violations_lost();
            if lost > 0 {
                *violations.entry("not kept".to_owned()).or_default() += lost;
            }
            let found = user.violations();
            let counted = found.iter().filter(|v| connections_lost == 0 || !v.is_explained_by_takeover());
            counted.for_each(|v| *violations.entry(v.name().to_owned()).or_default() += 1);
        }
        Self {
            users: users.len(),
            signed_in: read(&tally.signed_in),
            calls: read(&tally.calls),
            calls_ok: read(&tally.calls_ok),
            calls_skipped: read(&tally.calls_skipped),
            unknown: read(&tally.unknown),
            ghosts: read(&tally.ghosts),
            events: users.iter().map(RccUser::events).sum(),
            connections_lost,
            strays: front_ends.iter().map(FrontEnd::strays).sum(),
            malformed: front_ends.iter().map(FrontEnd::malformed).sum(),
            history_lost: 0,
            failures: tally.failures(),
            violations,
            sign_in: Timing::from(&tally.sign_in),
            service: Timing::from(&tally.service),
            refresh: Timing::from(&tally.refresh),
            ring: Timing::from(&tally.ring),
            ring_outside: Timing::from(&tally.ring_outside),
            answer: Timing::from(&tally.answer),
        }
    }

    /// Whether nothing failed, nothing was left over, and the gateway kept the rules. Numbers left out or an event
    /// repeated are forgiven when connections were lost: a takeover does that.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
            && self.violations.is_empty()
            && self.ghosts == 0
            && self.malformed == 0
            && self.history_lost == 0
            && self.signed_in == self.users as u64
    }

    /// 0 clean, 1 not.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.is_clean())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "users signed in    {} of {}", self.signed_in, self.users)?;
        writeln!(
            f,
            "calls              {} ok of {} ({} skipped, all busy)",
            self.calls_ok, self.calls, self.calls_skipped
        )?;
        writeln!(f, "events             {}", self.events)?;
        writeln!(f, "results unknown    {}", self.unknown)?;
        writeln!(f, "calls left over    {}", self.ghosts)?;
        writeln!(f, "connections lost   {}", self.connections_lost)?;
        if self.malformed > 0 {
            writeln!(f, "malformed messages {}", self.malformed)?;
        }
        if self.history_lost > 0 {
            writeln!(f, "history lines lost {}: this history proves nothing", self.history_lost)?;
        }
        writeln!(f)?;
        writeln!(f, "{:<34}{:>9}{:>11}{:>11}{:>11}{:>11}", "", "count", "p50", "p90", "p99", "max")?;
        for (name, timing) in [
            ("sign-in", &self.sign_in),
            ("service round trip", &self.service),
            ("refresh", &self.refresh),
            ("MakeCall → Delivered at the peer", &self.ring),
            ("MakeCall → Delivered, outside", &self.ring_outside),
            ("AnswerCall → Established, caller", &self.answer),
        ] {
            if timing.count > 0 {
                let [p50, p90, p99, max] = [timing.p50_us, timing.p90_us, timing.p99_us, timing.max_us].map(format_ms);
                writeln!(f, "{name:<34}{:>9}{p50:>11}{p90:>11}{p99:>11}{max:>11}", timing.count)?;
            }
        }
        for (title, counts) in [("failures", &self.failures), ("rules broken by the gateway", &self.violations)] {
            if !counts.is_empty() {
                writeln!(f, "\n{title}")?;
                counts.iter().try_for_each(|(kind, count)| writeln!(f, "{count:>9}  {kind}"))?;
            }
        }
        Ok(())
    }
}

fn format_ms(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}
