//! Where the tasks of consensus run, and whence their randomness comes: tokio and the operating system. A simulation
//! (feature `sim`) gives each thread a seed and each node a task set of its own, which it can stop and drop as a whole.

use tokio::runtime::Handle;

#[cfg(not(feature = "sim"))]
pub use openraft_rt_tokio::TokioRuntime as Turns;
#[cfg(feature = "sim")]
pub use sim::{Seeded as Turns, chance, is_simulated, seed};

/// Spawns on `handle`; in a simulation on the task set of the node that asks.
pub fn spawn_on(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "sim")]
    if is_simulated() {
        tokio::task::spawn_local(future);
        return;
    }
    handle.spawn(future);
}

#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod watch;
