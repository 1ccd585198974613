//! Many kills while users place calls: what they were told against what the PBX did. Each call dials a number of its own, so
//! the PBX's account names the operation.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::site::Site;
use crate::client::{RccUser, Unanswered};
use crate::csta::Service;
use crate::lab::pbx::{Did, Happening};

/// Users that place calls; the others only stay signed in.
const CALLING: usize = 64;
/// Between two commands of one user.
const PAUSE_MS: u64 = 20;
const BETWEEN_KILLS_MS: u64 = 300;
const TRUE_WITHIN_MS: u64 = 5_000;

/// Must be nought: `doubled`, `lost`, `done_though_refused`, `ghosts`.
#[derive(Debug, Default)]
pub struct Totals {
    pub kills: u32,
    commands: usize,
    done: usize,
    refused: usize,
    unknown: usize,
    doubled: usize,
    /// Told done, and the PBX does not know of it.
    lost: usize,
    /// Told certainly not done, and the PBX has done it.
    done_though_refused: usize,
    ghosts: usize,
}

/// With the answer in words.
#[derive(Clone)]
enum Told {
    Done,
    Refused(String),
    Unknown,
}

pub async fn run(site: &mut Site, kills: u32, out: &mut impl Write) -> io::Result<Totals> {
    let mut totals = Totals::default();
    let (mut seen, mut named) = (site.history_end().await, 0);
    let mut known = BTreeSet::new();
    for kill in 0..kills {
        let victim = 1 + kill % 2;
        let stop = Arc::new(AtomicBool::new(false));
        let calling: Vec<RccUser> = site.users.iter().rev().take(CALLING).cloned().collect();
        named += 1;
        let acting = tokio::spawn(join_all(
            calling
                .into_iter()
                .enumerate()
                .map(|(n, user)| place_calls(user, format!("{named:05}{n:02}"), stop.clone())),
        ));
        tokio::time::sleep(Duration::from_millis(BETWEEN_KILLS_MS)).await;
        site.kill(victim)?;
        tokio::time::sleep(Duration::from_millis(BETWEEN_KILLS_MS)).await;
        stop.store(true, Ordering::Relaxed);
        let told: Vec<(String, Told)> = acting.await.map_err(io::Error::other)?.into_iter().flatten().collect();
        site.restart_the_dead()?;
        site.until_both_serve().await.map_err(io::Error::other)?;
        let mut wrong = site.wrong_views().await;
        for _ in 0..TRUE_WITHIN_MS / 50 {
            if wrong.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            wrong = site.wrong_views().await;
        }
        let mut ghosts = 0;
        for view in wrong {
            // Each once, however long it stays.
            if known.insert(view.clone()) {
                ghosts += 1;
                writeln!(out, "after {} kills: {view}", kill + 1)?;
            }
        }
        let mut dialled: HashMap<String, usize> = HashMap::new();
        for entry in site.history(seen).await {
            seen = entry.seq;
            if let Happening::Service {
                service: Service::MakeCall { called, .. }, did: Did::Ok | Did::Call(_), ..
            } = entry.what
            {
                let digits = called.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
                *dialled.entry(digits).or_default() += 1;
            }
        }
        for breach in totals.count(&told, &dialled, ghosts) {
            writeln!(out, "after {} kills: {breach}", kill + 1)?;
        }
        if (kill + 1) % 10 == 0 || kill + 1 == kills {
            writeln!(out, "{totals}")?;
            out.flush()?;
        }
    }
    Ok(totals)
}

/// One call after the other until told to stop: what was dialled, and what the user was told.
async fn place_calls(user: RccUser, prefix: String, stop: Arc<AtomicBool>) -> Vec<(String, Told)> {
    let mut told = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = format!("1206{prefix}{:04}", told.len());
        let answer = user.make_call(&format!("tel:+{number}")).await;
        let what = match &answer {
            Ok(reply) if reply.is_done() => Told::Done,
            Ok(reply) => Told::Refused(format!("{:?}", reply.refusal())),
            Err(why) if why.is_definite() => Told::Refused(why.to_string()),
            Err(_) => Told::Unknown,
        };
        told.push((number, what));
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        for call in user.view().calls() {
            hang_up(&user, &call.id).await;
        }
    }
    told
}

/// Until it is gone: a node that just died may refuse for a moment.
async fn hang_up(user: &RccUser, call: &str) {
    for _ in 0..100 {
        match user.hang_up(call).await {
            Err(Unanswered::Sip { status: 503, .. }) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
            _ => return,
        }
    }
}

impl Totals {
    /// Yields each breach in words.
    fn count(&mut self, told: &[(String, Told)], dialled: &HashMap<String, usize>, ghosts: usize) -> Vec<String> {
        let mut breaches = Vec::new();
        self.kills += 1;
        self.ghosts += ghosts;
        self.commands += told.len();
        for (number, told) in told {
            let times = dialled.get(number).copied().unwrap_or_default();
            self.doubled += usize::from(times > 1);
            if times > 1 {
                breaches.push(format!("{number} was dialled {times} times"));
            }
            match told {
                Told::Done => {
                    self.done += 1;
                    self.lost += usize::from(times == 0);
                    if times == 0 {
                        breaches.push(format!("{number} was acknowledged and never dialled"));
                    }
                }
                Told::Refused(why) => {
                    self.refused += 1;
                    self.done_though_refused += usize::from(times > 0);
                    if times > 0 {
                        breaches.push(format!("{number} was refused ({why}) and dialled all the same"));
                    }
                }
                Told::Unknown => self.unknown += 1,
            }
        }
        breaches
    }

    pub fn holds(&self) -> bool {
        self.doubled + self.lost + self.done_though_refused + self.ghosts == 0 && self.done > 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, commands, done, refused, unknown, doubled, lost, done_though_refused, ghosts } = self;
        write!(
            f,
            "{kills} kills, {commands} MakeCall: {done} done, {refused} refused, {unknown} unknown; doubled {doubled}, \
             acknowledged and lost {lost}, refused and done {done_though_refused}, ghosts {ghosts}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_breach_is_counted() {
        let told = [
            ("1".to_owned(), Told::Done),
            ("2".to_owned(), Told::Done),
            ("3".to_owned(), Told::Refused("busy".to_owned())),
            ("4".to_owned(), Told::Unknown),
        ];
        let dialled = |numbers: &[(&str, usize)]| numbers.iter().map(|(n, times)| ((*n).to_owned(), *times)).collect();
        let mut good = Totals::default();
        let breaches = good.count(&told, &dialled(&[("1", 1), ("2", 1)]), 0);
        assert!(good.holds() && breaches.is_empty(), "{good}");
        for bad in [
            dialled(&[("1", 2), ("2", 1)]),
            dialled(&[("1", 1)]),
            dialled(&[("1", 1), ("2", 1), ("3", 1)]),
            dialled(&[("1", 1), ("2", 1), ("4", 2)]),
        ] {
            let mut totals = Totals::default();
            let breaches = totals.count(&told, &bad, 0);
            assert!(!totals.holds() && breaches.len() == 1, "{totals} {breaches:?}");
        }
    }
}
