//! The drill: a node is hit, and what that cost is measured from the users' side.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Fault;
use super::site::Site;
use crate::client::{RccUser, Violation};
use crate::csta::Service;

/// How long the users are watched around the kill.
const WATCHED: Duration = Duration::from_secs(4);
const KILLED_AFTER: Duration = Duration::from_secs(1);
/// Users that ask all the time; the others answer for themselves at the end.
const ASKING: usize = 100;
/// Between a user's questions, so that the asking is not what the machine is busy with.
const PAUSE: Duration = Duration::from_millis(50);
const SERVE_WITHIN: Duration = Duration::from_secs(120);
const TRUE_WITHIN: Duration = Duration::from_secs(5);

pub struct Report {
    node: u32,
    fault: Fault,
    /// From the fault until the other node owns the records.
    fenced: Option<Duration>,
    /// From the fault until every user's dialog has answered; of a restart: until both serve.
    all_answered: Duration,
    users: usize,
    kept: usize,
    calls_before: usize,
    calls_after: usize,
    ghosts: usize,
    failed: usize,
    /// The longest pause of each asking user, in order.
    gaps: Vec<Duration>,
}

pub async fn run(site: &mut Site, fault: Fault, out: &mut impl Write) -> io::Result<Report> {
    let node = 1;
    let calls_before = site.calls().await.len();
    let were: Vec<_> = site.users.iter().map(|user| (user.remote_tag(), user.xref())).collect();
    writeln!(
        out,
        "\nDrill: {} node {node} (pid {}), which serves everybody, while {ASKING} users ask all the time ...",
        match fault {
            Fault::Kill => "kill -9 of",
            Fault::Freeze => "SIGSTOP of",
            Fault::RestartBoth => "kill -9 of the other and of",
        },
        site.pid(node)
    )?;
    out.flush()?;
    let asking: Vec<RccUser> = site.users.iter().take(ASKING).cloned().collect();
    let until = Instant::now() + WATCHED;
    let asking = tokio::spawn(async move { join_all(asking.iter().map(|user| longest_pause(user, until))).await });
    tokio::time::sleep(KILLED_AFTER).await;
    let hit = Instant::now();
    match fault {
        Fault::Kill => site.kill(node)?,
        Fault::Freeze => site.signal(node, "-STOP")?,
        Fault::RestartBoth => {
            site.kill(3 - node)?;
            site.kill(node)?;
            site.restart_the_dead()?;
        }
    }
    let mut fenced = None;
    while fault != Fault::RestartBoth && fenced.is_none() && hit.elapsed() < WATCHED - KILLED_AFTER {
        if site.said(3 - node, "a node was fenced") > 0 {
            fenced = Some(hit.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut all_answered = Duration::ZERO;
    if fault == Fault::RestartBoth {
        while !(site.is_well(1) && site.is_well(2)) && hit.elapsed() < SERVE_WITHIN {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        all_answered = hit.elapsed();
    } else {
        // Each dialog's next request, however long it takes its turn to come.
        for answered in join_all(site.users.iter().map(RccUser::options)).await {
            // Err: told below, with the refreshing.
            let _ = answered;
        }
        all_answered = all_answered.max(hit.elapsed());
    }
    let asked = asking.await.map_err(io::Error::other)?;
    let refreshed = join_all(site.users.iter().map(RccUser::refresh)).await;
    let is_kept = |(n, user): (usize, &RccUser)| {
        let grave = user.violations().iter().any(|violation: &Violation| !violation.is_explained_by_takeover());
        refreshed[n].is_ok() && !grave && (user.remote_tag(), user.xref()) == were[n]
    };
    let kept = site.users.iter().enumerate().filter(|(n, user)| is_kept((*n, user))).count();
    let truth = Instant::now() + TRUE_WITHIN;
    let mut ghosts = site.ghosts().await;
    while ghosts > 0 && Instant::now() < truth {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ghosts = site.ghosts().await;
    }
    let mut gaps: Vec<Duration> = asked.iter().map(|(gap, _)| *gap).collect();
    gaps.sort();
    let failed = asked.iter().map(|(_, failed)| failed).sum();
    let calls_after = site.calls().await.len();
    let users = site.users.len();
    if fault == Fault::Freeze {
        site.signal(node, "-CONT")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    site.restart_the_dead()?;
    if let Err(late) = site.until_both_serve().await {
        writeln!(out, "{late}")?;
    }
    Ok(Report { node, fault, fenced, all_answered, users, kept, calls_before, calls_after, ghosts, failed, gaps })
}

/// Asks one question after the other; the longest time from one answer to the next, and how many had none.
async fn longest_pause(user: &RccUser, until: Instant) -> (Duration, usize) {
    let (mut longest, mut failed, mut last) = (Duration::ZERO, 0, Instant::now());
    while Instant::now() < until {
        match user.invoke(Service::GetCstaFeatures { line: Some(user.line()) }).await {
            Ok(_) => {
                longest = longest.max(last.elapsed());
                tokio::time::sleep(PAUSE).await;
                last = Instant::now();
            }
            Err(_) => {
                failed += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    (longest.max(last.elapsed().saturating_sub(Duration::from_millis(500))), failed)
}

impl Report {
    /// Every user kept, every call kept, no ghost.
    pub fn holds(&self) -> bool {
        self.kept == self.users && self.calls_after == self.calls_before && self.ghosts == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |per_mille: usize| {
            self.gaps.get((self.gaps.len().max(1) - 1) * per_mille / 1000).copied().unwrap_or_default()
        };
        writeln!(f, "  node {}, {:?}", self.node, self.fault)?;
        if let Some(fenced) = self.fenced {
            writeln!(f, "  its records belong to the other after {} ms", fenced.as_millis())?;
        }
        match self.fault {
            Fault::RestartBoth => writeln!(f, "  both serve after {} ms", self.all_answered.as_millis())?,
            _ => writeln!(f, "  every dialog has answered after {} ms", self.all_answered.as_millis())?,
        }
        writeln!(f, "  users kept       {} of {}", self.kept, self.users)?;
        writeln!(f, "  calls kept       {} of {}", self.calls_after.min(self.calls_before), self.calls_before)?;
        writeln!(f, "  ghost calls      {}", self.ghosts)?;
        writeln!(f, "  refused meanwhile {} questions", self.failed)?;
        writeln!(
            f,
            "  longest pause    p50 {} ms, p99 {} ms, max {} ms",
            at(500).as_millis(),
            at(990).as_millis(),
            at(1000).as_millis()
        )?;
        write!(f, "{}", if self.holds() { "The promise held." } else { "The promise did NOT hold." })
    }
}
