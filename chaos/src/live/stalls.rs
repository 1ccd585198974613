//! When the machine did not run us: a thread that asks for a short sleep and sees how late it wakes. What users wait because
//! others use the processors is not the pair's doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::notes::Notes;
use crate::history::What;

const SLEEP: Duration = Duration::from_millis(5);
/// Less than this is an ordinary turn of the scheduler.
const STALL_MIN: Duration = Duration::from_millis(20);

/// Watches until it is dropped.
pub struct Stalls {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    pub fn watch(notes: Arc<Notes>) -> std::io::Result<Self> {
        let stops = Arc::new(AtomicBool::new(false));
        let told = stops.clone();
        let thread = thread::Builder::new().name("stalls".into()).spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                thread::sleep(SLEEP);
                let late = began.elapsed().saturating_sub(SLEEP);
                if late >= STALL_MIN {
                    notes.add(What::Stall { us: u64::try_from(late.as_micros()).unwrap_or(u64::MAX) });
                }
            }
        })?;
        Ok(Self { stops, thread: Some(thread) })
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Err: it panicked, and has said so.
            let _ = thread.join();
        }
    }
}
