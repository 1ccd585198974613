//! Keeps a directory up to date with its file, without a restart.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::load::{Loaded, load};
use crate::config::{Config, Lines, Problem};
use crate::machine::directory::Directory;

/// What one look at the file led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    Unchanged,
    /// The file has just changed; it is read when the next look finds it at rest, so that half a file is never taken.
    Settling,
    Loaded {
        users: usize,
        warnings: Vec<Problem>,
    },
    /// The new file is broken: the directory stays as it was until somebody mends the file.
    Kept {
        problems: Vec<Problem>,
    },
}

/// The file as a look sees it: when it was modified and its length; `None` when there is none.
type Print = Option<(SystemTime, u64)>;

#[derive(Debug, Default)]
struct Seen {
    /// The file as last read, whatever came of it.
    read: Print,
    /// The file at the last look.
    last: Print,
}

/// Publishes the newest good directory. Readers take [`DirectoryWatch::current`] for each sign-in or event and never
/// wait; whoever holds an older directory keeps it alive meanwhile.
#[derive(Debug)]
pub struct DirectoryWatch {
    current: ArcSwap<Directory>,
    config: Config,
    seen: Mutex<Seen>,
}

impl DirectoryWatch {
    /// Loads for the first time; an `Err` means that the gateway should not start.
    pub fn open(config: &Config, lines: &Lines) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let seen = print(config.users.file.as_deref());
        let Loaded { directory, warnings } = load(config, lines)?;
        let watch = Self {
            current: ArcSwap::new(directory),
            config: config.clone(),
            seen: Mutex::new(Seen { read: seen, last: seen }),
        };
        Ok((watch, warnings))
    }

    pub fn current(&self) -> Arc<Directory> {
        self.current.load_full()
    }

    /// Looks once and reads the file if it changed and is at rest. Blocks on the file.
    pub fn look(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = print(self.config.users.file.as_deref());
        let is_at_rest = std::mem::replace(&mut seen.last, now) == now;
        match now == seen.read {
            true => Reload::Unchanged,
            false if !is_at_rest => Reload::Settling,
            false => self.read(&mut seen, now),
        }
    }

    /// Reads the file now, changed or not: the operator's order. Blocks on the file.
    pub fn reload(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = print(self.config.users.file.as_deref());
        seen.last = now;
        self.read(&mut seen, now)
    }

    fn read(&self, seen: &mut Seen, now: Print) -> Reload {
        let loaded = load(&self.config, &Lines::default());
        let after = print(self.config.users.file.as_deref());
        if after != now {
            seen.last = after;
            return Reload::Settling;
        }
        seen.read = now;
        match loaded {
            Ok(Loaded { directory, warnings }) => {
                let users = directory.len();
                self.current.store(directory);
                Reload::Loaded { users, warnings }
            }
            Err(problems) => Reload::Kept { problems },
        }
    }

    /// Looks every `[users] reload_s` until dropped; returns at once when there is nothing to look at.
    pub async fn run(self: Arc<Self>) {
        let reload_s = self.config.users.reload_s;
        if reload_s == 0 || self.config.users.file.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(reload_s.into()));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let watch = self.clone();
            // A panic while reading must not end the watch; the old directory goes on.
            if let Ok(reload) = tokio::task::spawn_blocking(move || watch.look()).await {
                record(&reload);
            }
        }
    }
}

/// Record lines name places and rules, never the numbers that stand there.
fn record(reload: &Reload) {
    match reload {
        Reload::Unchanged | Reload::Settling => {}
        Reload::Loaded { users, warnings } => {
            tracing::info!(users, warnings = warnings.len(), "directory reloaded");
        }
        Reload::Kept { problems } => {
            let first = problems.first();
            tracing::error!(
                problems = problems.len(),
                file = first.and_then(|problem| problem.file.as_deref()),
                line = first.and_then(|problem| problem.line),
                key = first.map(|problem| problem.key.as_str()),
                rule = first.map(|problem| problem.rule),
                "the users file is broken and the directory stays as it was: run check-config and mend the file"
            );
        }
    }
}

fn print(file: Option<&Path>) -> Print {
    let data = std::fs::metadata(file?).ok()?;
    Some((data.modified().ok()?, data.len()))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
