//! Record lines: text for people, or one JSON object a line, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for the life of the process. `LYNCPIN_LOG` overrides the level, in the form of
/// `tracing_subscriber::EnvFilter`, e.g. `lyncpin::actor=debug`.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("LYNCPIN_LOG").unwrap_or_else(|_| EnvFilter::new(log.level.word()));
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
