//! Users who call one outside number after the other while things happen, and what the PBX must have dialled for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lyncpin::client::RccUser;

use crate::pair::{PATIENCE, Pair};

#[derive(Default)]
struct Shared {
    is_over: Cell<bool>,
    placed: RefCell<Vec<Placed>>,
    ended: Cell<usize>,
}

/// A call that somebody asked for.
struct Placed {
    number: String,
    /// How often it must have been dialled, at least and at most.
    times: (usize, usize),
    said: String,
}

pub struct Calling {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    shared: Rc<Shared>,
}

impl Calling {
    pub fn begin(users: &[RccUser]) -> Self {
        let shared = Rc::new(Shared::default());
        let tasks = users.iter().map(|user| {
            let (user, shared) = (user.clone(), shared.clone());
            tokio::task::spawn_local(async move {
                while !shared.is_over.get() {
                    one_call(&user, &shared).await;
                }
            })
        });
        Self { tasks: tasks.collect(), shared }
    }

    /// So many calls have been placed since this began.
    pub fn placed(&self) -> usize {
        self.shared.placed.borrow().len()
    }

    /// Ends the calling. What was said to be done was done once, what was refused was not done, and what nobody answered
    /// was done once at most.
    pub async fn stop(self, pair: &Pair) {
        self.shared.is_over.set(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        let dialled = pair.dialled().await;
        let placed = self.shared.placed.borrow();
        for Placed { number, times: (least, most), said } in placed.iter() {
            let digits = number.trim_start_matches("tel:+");
            let times = dialled.iter().filter(|one| one.ends_with(digits)).count();
            assert!((*least..=*most).contains(&times), "{number} was dialled {times} times, and they said {said}");
        }
        let count = |times: (usize, usize)| placed.iter().filter(|placed| placed.times == times).count();
        let (done, refused, unknown) = (count((1, 1)), count((0, 0)), count((0, 1)));
        println!("{done} calls placed, {refused} refused, {unknown} unknown, {} hung up", self.shared.ended.get());
        assert!(done > 0, "nobody called");
    }
}

async fn one_call(user: &RccUser, calling: &Shared) {
    thread_local!(static NEXT: Cell<usize> = const { Cell::new(0) });
    let number = format!("tel:+1206{:07}", NEXT.replace(NEXT.get() + 1));
    let outcome = user.make_call(&number).await;
    let times = match &outcome {
        Ok(reply) if reply.is_done() => (1, 1),
        Ok(_) => (0, 0),
        // Also 503: the front end may have asked a second time, at a node that knows nothing of the first.
        Err(_) => (0, 1),
    };
    let said = match &outcome {
        Ok(reply) => format!("{:?}", reply.refusal()),
        Err(why) => why.to_string(),
    };
    calling.placed.borrow_mut().push(Placed { number: number.clone(), times, said });
    if let Ok(placed) = &outcome
        && let Some(call) = placed.call().map(|call| call.call.clone())
    {
        let shown = user.until(PATIENCE, |view| view.phase(&call).map(drop)).await;
        assert!(shown.is_some(), "{}: call {call} to {number} was placed and is not shown", user.name());
    }
    // Whatever the view shows is hung up, so that a call whose answer was lost does not stay.
    for call in user.view().calls() {
        if matches!(user.hang_up(&call.id).await, Ok(reply) if reply.is_done()) {
            calling.ended.set(calling.ended.get() + 1);
        }
    }
}
