//! Telling systemd that the service is ready, stops, and lives (`sd_notify(3)`), without a library for three datagrams.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where systemd listens; `None`: it did not start this process, or asks for nothing.
pub struct Notify {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Notify {
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var("NOTIFY_SOCKET").ok()?;
        Self::to(&name)
    }

    fn to(name: &str) -> Option<Self> {
        let to = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        Some(Self { socket: UnixDatagram::unbound().ok()?, to: to.ok()? })
    }

    /// `READY=1`, `STOPPING=1`, `STATUS=...`. Nobody who does not listen keeps us from serving.
    pub fn say(&self, word: &str) {
        if let Err(error) = self.socket.send_to_addr(word.as_bytes(), &self.to) {
            tracing::debug!(%error, word, "systemd does not listen");
        }
    }

    /// How often systemd wants to hear that the service lives: half of what it waits (`WATCHDOG_USEC`).
    pub fn watchdog() -> Option<Duration> {
        let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        Some(Duration::from_micros(micros / 2)).filter(|pause| !pause.is_zero())
    }
}

/// Says READY, then that it lives as often as asked, as long as `lives` says so.
pub async fn while_it_lives(lives: impl AsyncFn() -> bool) {
    let Some(notify) = Notify::from_environment() else { return std::future::pending().await };
    notify.say("READY=1");
    let Some(pause) = Notify::watchdog() else { return std::future::pending().await };
    loop {
        if lives().await {
            notify.say("WATCHDOG=1");
        }
        tokio::time::sleep(pause).await;
    }
}

/// The service ends in order: systemd gives it its time.
pub fn stopping() {
    if let Some(notify) = Notify::from_environment() {
        notify.say("STOPPING=1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_arrives_at_a_socket_with_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("lyncpin-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (socket, name) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            Notify::to(&name).unwrap().say("READY=1");
            let mut word = [0; 16];
            let length = socket.recv(&mut word).unwrap();
            assert_eq!(&word[..length], b"READY=1");
        }
    }
}
