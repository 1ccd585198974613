//! Record lines: text for people, or one JSON object a line, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// openraft tells every vote at `info`, which is ours for life events.
fn openraft_level(log: &Log) -> &'static str {
    match log.level {
        LogLevel::Debug => "info",
        LogLevel::Trace => "debug",
        // What it warns of, a peer that does not answer, the voter tells once and in plain words; a store that fails, too; and
        // every ordinary stop is an error to it.
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => "off",
    }
}

/// Starts logging for the life of the process. `LYNCPIN_LOG` overrides the level, in the form of
/// `tracing_subscriber::EnvFilter`, e.g. `lyncpin::actor=debug`.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("LYNCPIN_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{},openraft={}", log.level.word(), openraft_level(log))));
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false);
    // Err: a subscriber is set already, as in tests; that one stays.
    let _ = match log.format {
        LogFormat::Human => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
