//! What can be wrong with one link, on demand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The state of one link's faults. Freezing and refusing also concern tasks that sleep; the server tells those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// New connections are refused: nobody listens.
    pub refuses: bool,
    /// Nothing is read or written; connections stay, and the kernel goes on accepting new ones.
    pub frozen: bool,
    /// Answers wait this long; events behind them wait too.
    pub answer_delay_ms: u64,
    /// Every so-many-th answer is not sent; 0: all are.
    pub drop_answer_every: u64,
    pub answers_twice: bool,
    /// What RequestSystemStatus says: `normal` when all is well.
    pub system_status: String,
    #[serde(skip)]
    answers: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            refuses: false,
            frozen: false,
            answer_delay_ms: 0,
            drop_answer_every: 0,
            answers_twice: false,
            system_status: "normal".to_owned(),
            answers: 0,
        }
    }
}

impl Faults {
    /// How many times the next answer goes out.
    pub fn copies_of_next_answer(&mut self) -> usize {
        self.answers += 1;
        if self.drop_answer_every > 0 && self.answers.is_multiple_of(self.drop_answer_every) {
            return 0;
        }
        1 + usize::from(self.answers_twice)
    }

    /// Counts from now: the `every`-th answer from here is the first to be dropped.
    pub fn drop_every(&mut self, every: u64) {
        self.drop_answer_every = every;
        self.answers = 0;
    }

    pub fn answer_delay(&self) -> Option<Duration> {
        (self.answer_delay_ms > 0).then(|| Duration::from_millis(self.answer_delay_ms))
    }
}
