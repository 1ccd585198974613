//! A supervisor at work.

use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::child::{Birth, Down, Exit, Life, Obituaries, StopSignal};
use super::intensity::{Backoff, Intensity, Window};
use super::spec::{ChildSpec, Restart, StartFailed};
use super::supervisor::{Ended, Happening, Strategy, Supervisor, TreeFailed};

/// A killed child is dropped by its thread within this time, or the thread hangs.
const KILL_GRACE_MS: u64 = 1_000;

/// A started supervisor. Dropped, it kills its children.
pub struct Tree {
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    children: Vec<Child>,
    on: Option<Arc<dyn Fn(Happening) + Send + Sync>>,
    obituaries: Arc<Obituaries>,
    /// Deaths taken up and not yet dealt with.
    inbox: VecDeque<Down>,
    /// Of the last start, counted over all children: no two lives share one.
    generation: u64,
    window: Window,
}

struct Child {
    spec: ChildSpec,
    state: State,
    probe_at: Option<Instant>,
}

/// ```text
///            start                    death
///   Ended ──────────▶ Up ───────────────────────▶ Due (restart) ──▶ Up
///     ▲               │ normal end of Transient      │
///     └───────────────┴──────── stop ────────────────┘      Temporary: Gone
/// ```
enum State {
    Up(Life),
    Due(Instant),
    /// Not running; starts again when its siblings restart it.
    Ended,
    /// Never starts again.
    Gone,
}

/// The supervisor cannot go on.
struct Escalation;

impl Tree {
    pub(super) async fn start(plan: Supervisor) -> Result<Self, TreeFailed> {
        let mut tree = Self {
            strategy: plan.strategy,
            intensity: plan.intensity,
            backoff: plan.backoff,
            children: plan.specs.into_iter().map(|spec| Child { spec, state: State::Ended, probe_at: None }).collect(),
            on: plan.on,
            obituaries: Arc::default(),
            inbox: VecDeque::new(),
            generation: 0,
            window: Window::default(),
        };
        for index in 0..tree.children.len() {
            if let Err(why) = tree.start_child(index).await {
                // A child that hangs is told of, and the start has failed either way.
                let _ = tree.stop_all().await;
                return Err(TreeFailed { child: tree.children[index].spec.id, why });
            }
        }
        Ok(tree)
    }

    /// Keeps the children alive until told to stop, or until it cannot. Dropping the future kills the children.
    pub async fn run(mut self, mut stop: StopSignal) -> Ended {
        let ended = match self.keep(&mut stop).await {
            Ok(()) => Ended::Stopped,
            Err(Escalation) => Ended::Escalated,
        };
        match self.stop_all().await {
            Ok(()) => ended,
            Err(Escalation) => Ended::Escalated,
        }
    }

    async fn keep(&mut self, stop: &mut StopSignal) -> Result<(), Escalation> {
        let obituaries = self.obituaries.clone();
        loop {
            while let Some(down) = self.next_down() {
                self.died(down).await?;
            }
            self.start_due().await?;
            self.probe().await?;
            let wake_at = self.children.iter().flat_map(|child| {
                let due = if let State::Due(at) = child.state { Some(at) } else { None };
                [due, child.probe_at].into_iter().flatten()
            });
            // Without anything due: any moment will do.
            let wake_at = wake_at.min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                () = obituaries.changed() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    async fn died(&mut self, down: Down) -> Result<(), Escalation> {
        let index = down.slot as usize;
        let Child { spec, state, probe_at } = &mut self.children[index];
        // The death of an older life is no news: it was replaced, stopped or counted when it failed to start.
        if !matches!(state, State::Up(life) if life.generation() == down.generation) {
            return Ok(());
        }
        let (child, restart) = (spec.id, spec.restart);
        *state = if restart == Restart::Temporary { State::Gone } else { State::Ended };
        *probe_at = None;
        self.tell(Happening::Died { child, exit: down.exit });
        match restart {
            Restart::Temporary => Ok(()),
            Restart::Transient if down.exit == Exit::Normal => Ok(()),
            Restart::Permanent | Restart::Transient => self.restart(index).await,
        }
    }

    /// Stops whom the strategy names, and sets the time at which all of them start again.
    async fn restart(&mut self, index: usize) -> Result<(), Escalation> {
        let child = self.children[index].spec.id;
        let Some(nth) = self.window.admit(Instant::now(), self.intensity) else {
            self.tell(Happening::Escalated { child });
            return Err(Escalation);
        };
        let affected = match self.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::RestForOne => index..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        };
        self.stop(affected.clone()).await?;
        let delay = self.backoff.delay(nth);
        self.tell(Happening::RestartIn { child, delay_ms: delay.as_millis() as u64 });
        let at = Instant::now() + delay;
        for child in &mut self.children[affected] {
            if !matches!(child.state, State::Gone) {
                child.state = State::Due(at);
            }
        }
        Ok(())
    }

    async fn start_due(&mut self) -> Result<(), Escalation> {
        let now = Instant::now();
        for index in 0..self.children.len() {
            if !matches!(self.children[index].state, State::Due(at) if at <= now) {
                continue;
            }
            if self.start_child(index).await.is_err() {
                self.restart(index).await?;
                if self.strategy != Strategy::OneForOne {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn start_child(&mut self, index: usize) -> Result<(), StartFailed> {
        self.generation += 1;
        let life = Life::new(self.obituaries.clone(), index as u32, self.generation);
        let birth = Birth::new(life.clone(), Arc::default());
        let Child { spec, state, probe_at } = &mut self.children[index];
        let child = spec.id;
        let deadline = Instant::now() + Duration::from_millis(spec.start_timeout_ms);
        let starting = AssertUnwindSafe(async { (spec.factory)(birth).await }).catch_unwind();
        let failed = match timeout_at(deadline, starting).await {
            Ok(Ok(Ok(()))) => {
                *probe_at = spec.probe_every_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
                *state = State::Up(life);
                self.tell(Happening::Started { child });
                return Ok(());
            }
            Ok(Ok(Err(why))) => why,
            Ok(Err(_panic)) => StartFailed::Panicked,
            Err(_elapsed) => StartFailed::TimedOut,
        };
        // Its guard reports a death of a generation that never was up.
        life.kill();
        *state = State::Ended;
        tracing::warn!(child, error = &failed as &dyn Error, "factory failed");
        self.tell(Happening::StartFailed { child });
        Err(failed)
    }

    async fn stop_all(&mut self) -> Result<(), Escalation> {
        self.stop(0..self.children.len()).await
    }

    /// Stops children, the last first. One that hangs keeps none of the others from being stopped.
    async fn stop(&mut self, children: Range<usize>) -> Result<(), Escalation> {
        let mut result = Ok(());
        for index in children.rev() {
            if self.stop_child(index).await.is_err() {
                result = Err(Escalation);
            }
        }
        result
    }

    async fn stop_child(&mut self, index: usize) -> Result<(), Escalation> {
        let Child { spec, state, probe_at } = &mut self.children[index];
        let (child, stop_timeout_ms) = (spec.id, spec.stop_timeout_ms);
        let next = if spec.restart == Restart::Temporary { State::Gone } else { State::Ended };
        *probe_at = None;
        let State::Up(life) = std::mem::replace(state, next) else { return Ok(()) };
        let generation = life.generation();
        if life.order_stop() && self.has_died(generation, stop_timeout_ms).await {
            self.tell(Happening::Stopped { child, was_killed: false });
            return Ok(());
        }
        life.kill();
        if self.has_died(generation, KILL_GRACE_MS).await {
            self.tell(Happening::Stopped { child, was_killed: true });
            return Ok(());
        }
        self.tell(Happening::Hung { child });
        Err(Escalation)
    }

    /// Sends the probes that are due; kills who has not answered the one before.
    async fn probe(&mut self) -> Result<(), Escalation> {
        let now = Instant::now();
        for index in 0..self.children.len() {
            let Child { spec, state, probe_at } = &mut self.children[index];
            let (State::Up(life), Some(ms)) = (state, spec.probe_every_ms) else { continue };
            if probe_at.is_none_or(|at| at > now) {
                continue;
            }
            *probe_at = Some(now + Duration::from_millis(ms));
            if !life.is_probed() {
                life.probe();
                continue;
            }
            let (child, life) = (spec.id, life.clone());
            life.kill();
            let Some(down) = self.death(life.generation(), KILL_GRACE_MS).await else {
                self.children[index].state = State::Gone;
                self.tell(Happening::Hung { child });
                self.tell(Happening::Escalated { child });
                return Err(Escalation);
            };
            self.died(down).await?;
        }
        Ok(())
    }

    async fn has_died(&mut self, generation: u64, timeout_ms: u64) -> bool {
        self.death(generation, timeout_ms).await.is_some()
    }

    /// Waits for one death; the others stay in the inbox.
    async fn death(&mut self, generation: u64, timeout_ms: u64) -> Option<Down> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let obituaries = self.obituaries.clone();
        loop {
            self.inbox.extend(obituaries.take());
            if let Some(at) = self.inbox.iter().position(|down| down.generation == generation) {
                return self.inbox.remove(at);
            }
            timeout_at(deadline, obituaries.changed()).await.ok()?;
        }
    }

    fn next_down(&mut self) -> Option<Down> {
        self.inbox.extend(self.obituaries.take());
        self.inbox.pop_front()
    }

    fn tell(&self, happening: Happening) {
        happening.tell();
        if let Some(on) = &self.on {
            on(happening);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for child in &self.children {
            if let State::Up(life) = &child.state {
                life.kill();
            }
        }
    }
}

#[cfg(test)]
mod tests;
