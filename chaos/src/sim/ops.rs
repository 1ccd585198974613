//! Writers and readers of plain records: the witnesses of the store itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lyncpin_cluster::machine::{Command, Reply};
use lyncpin_cluster::record::{Change, Claims};
use lyncpin_cluster::store::FencedStore;
use tokio::time::{sleep, timeout};

use super::dice;
use super::host::{Machine, Running};
use super::linear::{Op, What, Written};
use super::plan::Plan;
use super::story::{Story, tell};

/// Then nobody knows what became of it.
const PATIENCE_MS: u64 = 3_000;

#[derive(Default)]
pub struct History {
    pub ops: RefCell<Vec<Op>>,
    clock: Cell<u64>,
    values: Cell<u64>,
    /// A version each key had once: some writers are late and expect it still.
    once: RefCell<BTreeMap<String, u64>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    fn value(&self) -> u64 {
        self.values.set(self.values.get() + 1);
        self.values.get()
    }

    pub fn acknowledged(&self) -> usize {
        let ops = self.ops.borrow();
        ops.iter().filter(|op| matches!(op.what, What::Write { result: Written::Version(_), .. })).count()
    }
}

fn value_of(body: &[u8]) -> u64 {
    body.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// One after the other, at a data node, until `until_ms`.
pub async fn write_and_read(
    machine: Rc<RefCell<Machine>>,
    history: Rc<History>,
    story: Story,
    plan: Rc<Plan>,
    until_ms: u64,
) {
    while story.now_ms() < until_ms {
        sleep(Duration::from_millis(dice::within(1..plan.pace_ms))).await;
        let key = format!("k/{}", dice::within(0..plan.keys));
        if dice::happens(350) {
            read(&machine, &history, &story, key).await;
        } else {
            let result = write(&machine, &history, &story, key.clone()).await;
            // Who does not know what became of it catches up and reads.
            if !matches!(result, Written::Version(_)) {
                read(&machine, &history, &story, key).await;
            }
        }
    }
}

async fn read(machine: &Rc<RefCell<Machine>>, history: &History, story: &Story, key: String) {
    let began = history.tick();
    let own = key.clone();
    let asked = machine.borrow().ask(move |running: Rc<Running>| async move {
        running.replica.catch_up().await.ok()?;
        Some(running.replica.read(&own).map(|record| (record.version, value_of(&record.body))))
    });
    if let Ok(Some(Some(seen))) = timeout(Duration::from_millis(PATIENCE_MS), asked).await {
        let ended = history.tick();
        tell!(story, "read  {key} {seen:?}");
        history.ops.borrow_mut().push(Op { key, began, ended, what: What::Read { seen } });
    }
}

async fn write(machine: &Rc<RefCell<Machine>>, history: &History, story: &Story, key: String) -> Written {
    let (began, value) = (history.tick(), history.value());
    let own: std::sync::Arc<str> = key.as_str().into();
    // What the writer saw, told as soon as it is known: the outcome may never be.
    let seen = Rc::new(Cell::new((0, 0)));
    let tells = seen.clone();
    let late = dice::happens(80).then(|| history.once.borrow().get(&key).copied()).flatten();
    let asked = machine.borrow().ask(move |running: Rc<Running>| async move {
        let Some(writer) = running.incarnation.get() else { return Written::Refused };
        let held = running.replica.read(&own).map_or(0, |record| record.version);
        let expected = late.unwrap_or(held);
        tells.set((writer.0, expected));
        let body = value.to_be_bytes().to_vec().into();
        let change = Change::Put { writer, key: own, expected, claims: Claims::default(), body };
        match running.replica.propose(Command::Batch { changes: vec![change] }).await {
            Ok(Reply::Applied { versions }) => Written::Version(versions[0]),
            Ok(_) => Written::Refused,
            Err(error) if error.is_definite() => Written::Refused,
            Err(_) => Written::Unknown,
        }
    });
    let result = match timeout(Duration::from_millis(PATIENCE_MS), asked).await {
        Ok(Some(result)) => result,
        Ok(None) | Err(_) => Written::Unknown,
    };
    let ended = history.tick();
    let (writer, expected) = seen.get();
    if expected > 0 && dice::happens(300) {
        history.once.borrow_mut().insert(key.clone(), expected);
    }
    tell!(story, "write {key} {value} over {expected} as {writer}: {result:?}");
    let what = What::Write { writer, expected, value, result };
    history.ops.borrow_mut().push(Op { key, began, ended, what });
    result
}
