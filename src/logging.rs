//! Record lines: text for people, or one JSON object a line, to standard error; and which of them, while the process runs.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// The target of what operators did, which is written whatever the filter is.
pub const AUDIT: &str = "lyncpin::audit";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Of a filter that is typed.
const FILTER_BYTES_MAX: usize = 1_024;

/// One filter for the process, as there is one standard error.
static FILTER: OnceLock<Filter> = OnceLock::new();

/// Which record lines are written. Levels are those of [`Log`]; a filter has the form of
/// `tracing_subscriber::EnvFilter`, e.g. `info,lyncpin::actor=debug`.
#[derive(Debug)]
pub struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    filter: String,
    /// When the configured one returns.
    until: Option<Instant>,
    /// How often it was changed: what was to return is not wanted any more when somebody has changed it since.
    changes: u64,
}

/// A text that is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no filter: expected a level (off, error, warn, info, debug, trace), or levels for parts, such as info,lyncpin::actor=debug"
)]
pub struct BadFilter;

/// Starts logging for the life of the process. `LYNCPIN_LOG` overrides the configured level.
pub fn start(log: &Log) {
    let asked = std::env::var("LYNCPIN_LOG").ok();
    let is_wrong = asked.as_ref().is_some_and(|filter| parsed(filter).is_err());
    let configured = asked.filter(|_| !is_wrong).unwrap_or_else(|| log.level.word().to_owned());
    let Ok(filter) = parsed(&configured) else { return };
    let (filter, handle) = reload::Layer::new(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let is_json = match log.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let started = match is_json {
        false => registry.with(lines).try_init(),
        true => registry.with(lines.json()).try_init(),
    };
    // Err: a subscriber is set already, as in tests; that one stays.
    if started.is_ok() {
        let now = Mutex::new(Now { filter: configured.clone(), until: None, changes: 0 });
        // Err: it was started before, which the registry has refused.
        let _ = FILTER.set(Filter { handle, configured, now });
        if is_wrong {
            warn!("LYNCPIN_LOG is not taken, the configured level is: {BadFilter}");
        }
    }
}

/// `None`: this process does not log by [`start`].
pub fn filter() -> Option<&'static Filter> {
    FILTER.get()
}

impl Filter {
    /// What holds without an operator's word.
    pub fn configured(&self) -> &str {
        &self.configured
    }

    /// What holds now, and for how long when it is not for ever.
    pub fn now(&self) -> (String, Option<Duration>) {
        let now = self.lock();
        (now.filter.clone(), now.until.map(|until| until.saturating_duration_since(Instant::now())))
    }

    /// Takes `filter` for `length`, or until the next word. Yields what [`Self::come_back`] wants to know.
    pub fn take(&self, filter: &str, length: Option<Duration>) -> Result<u64, BadFilter> {
        self.put(&mut self.lock(), filter, length)
    }

    /// Takes the configured filter again, unless it was changed after that `change`. True: it did.
    pub fn come_back(&self, change: u64) -> bool {
        let mut now = self.lock();
        now.changes == change && self.put(&mut now, &self.configured, None).is_ok()
    }

    fn put(&self, now: &mut Now, filter: &str, length: Option<Duration>) -> Result<u64, BadFilter> {
        let filter = filter.trim();
        // Err of the handle: the subscriber is gone, and with it every line.
        self.handle.reload(parsed(filter)?).map_err(|_| BadFilter)?;
        let changes = now.changes + 1;
        *now = Now { filter: filter.to_owned(), until: length.map(|length| Instant::now() + length), changes };
        Ok(changes)
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// openraft tells every vote at `info`, which is ours for life events. What it warns of, a peer that does not answer, the voter
/// tells once and in plain words; a store that fails, too; and every ordinary stop is an error to it.
fn parsed(filter: &str) -> Result<EnvFilter, BadFilter> {
    let is_level = |word: &&str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let pieces: Vec<&str> = filter.split(',').map(str::trim).collect();
    // A word alone is read as a target that is wanted whole; typed by a person it is a level with a typing error.
    let is_sound = |piece: &&str| is_level(piece) || piece.contains('=') || piece.contains('[');
    if filter.len() > FILTER_BYTES_MAX || !pieces.iter().all(is_sound) {
        return Err(BadFilter);
    }
    let level = pieces.iter().copied().find(is_level).unwrap_or("error");
    let openraft = match level.to_ascii_lowercase().as_str() {
        "debug" => "info",
        "trace" => "debug",
        _ => "off",
    };
    let raft = if filter.contains("openraft") { String::new() } else { format!(",openraft={openraft}") };
    EnvFilter::builder().parse(format!("{}{raft},{AUDIT}=info", pieces.join(","))).map_err(|_| BadFilter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_levels_for_parts_are_a_filter_and_a_typing_error_is_none() {
        for good in ["info", "DEBUG", "off", "info,lyncpin::actor=debug", "warn, lyncpin=trace", "lyncpin[flow]=debug"]
        {
            assert!(parsed(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "inof", "info;debug", "lyncpin::actor", "info,lyncpin=loud", "info,,debug", &"x=info,".repeat(200)]
        {
            assert_eq!(parsed(wrong).err(), Some(BadFilter), "{wrong}");
        }
    }

    #[test]
    fn the_audit_is_written_and_openraft_is_quiet_unless_it_is_named() {
        let text = |filter: &str| parsed(filter).map(|filter| filter.to_string()).unwrap_or_default();
        for filter in ["off", "error", "info", "trace", "lyncpin::actor=debug"] {
            assert!(text(filter).contains("lyncpin::audit=info"), "{}", text(filter));
        }
        assert!(text("info").contains("openraft=off") && text("trace").contains("openraft=debug"), "{}", text("trace"));
        assert!(text("info,openraft=warn").contains("openraft=warn"));
    }

    #[test]
    fn only_the_last_change_comes_back() {
        let (_layer, handle) = reload::Layer::<EnvFilter, Registry>::new(parsed("info").unwrap());
        let now = Mutex::new(Now { filter: "info".into(), until: None, changes: 0 });
        let filter = Filter { handle, configured: "info".into(), now };
        let first = filter.take("debug", Some(Duration::from_secs(60))).unwrap();
        assert!(filter.now().1.is_some_and(|left| left > Duration::from_secs(50)));
        let second = filter.take("lyncpin=trace", Some(Duration::from_secs(600))).unwrap();
        assert!(!filter.come_back(first), "somebody has changed it since");
        assert_eq!(filter.now().0, "lyncpin=trace");
        assert_eq!(filter.take("loud", None), Err(BadFilter));
        assert!(filter.come_back(second));
        assert_eq!(filter.now(), ("info".to_owned(), None));
    }
}
