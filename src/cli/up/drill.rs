//! The drill: a node is killed, and what that cost is measured from the users' side.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::site::Site;
use crate::client::{RccUser, Violation};
use crate::csta::Service;

/// How long the users are watched around the kill.
const WATCHED: Duration = Duration::from_secs(4);
const KILLED_AFTER: Duration = Duration::from_secs(1);
/// Users that ask without a pause; the others answer for themselves at the end.
const ASKING: usize = 50;
const TRUE_WITHIN: Duration = Duration::from_secs(5);

pub struct Report {
    node: u32,
    users: usize,
    kept: usize,
    calls_before: usize,
    calls_after: usize,
    ghosts: usize,
    failed: usize,
    /// The longest pause of each asking user, in order.
    gaps: Vec<Duration>,
}

pub async fn run(site: &mut Site, out: &mut impl Write) -> io::Result<Report> {
    let node = 1;
    let calls_before = site.calls().await.len();
    let were: Vec<_> = site.users.iter().map(|user| (user.remote_tag(), user.xref())).collect();
    writeln!(
        out,
        "\nDrill: kill -9 of node {node} (pid {}), while {ASKING} users ask without a pause ...",
        site.pid(node)
    )?;
    out.flush()?;
    let asking: Vec<RccUser> = site.users.iter().take(ASKING).cloned().collect();
    let until = Instant::now() + WATCHED;
    let asking = tokio::spawn(async move { join_all(asking.iter().map(|user| longest_pause(user, until))).await });
    tokio::time::sleep(KILLED_AFTER).await;
    site.kill(node)?;
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
    site.restart_the_dead()?;
    if let Err(late) = site.until_both_serve().await {
        writeln!(out, "{late}")?;
    }
    Ok(Report { node, users, kept, calls_before, calls_after, ghosts, failed, gaps })
}

/// Asks one question after the other; the longest time from one answer to the next, and how many had none.
async fn longest_pause(user: &RccUser, until: Instant) -> (Duration, usize) {
    let (mut longest, mut failed, mut last) = (Duration::ZERO, 0, Instant::now());
    while Instant::now() < until {
        match user.invoke(Service::GetCstaFeatures { line: Some(user.line()) }).await {
            Ok(_) => {
                longest = longest.max(last.elapsed());
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
        writeln!(f, "  node {} killed and started again", self.node)?;
        writeln!(f, "  users kept       {} of {}", self.kept, self.users)?;
        writeln!(f, "  calls kept       {} of {}", self.calls_after.min(self.calls_before), self.calls_before)?;
        writeln!(f, "  ghost calls      {}", self.ghosts)?;
        writeln!(f, "  refused meanwhile {} questions", self.failed)?;
        writeln!(f, "  longest pause    p50 {} ms, max {} ms", at(500).as_millis(), at(1000).as_millis())?;
        write!(f, "{}", if self.holds() { "The promise held." } else { "The promise did NOT hold." })
    }
}
