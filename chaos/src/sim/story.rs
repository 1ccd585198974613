//! What happened in a run, in order: told to a person, and folded into one number by which two runs are compared.

use std::cell::RefCell;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use tokio::time::Instant;

/// Lines kept when nobody listens; the number covers all of them.
const LINES_MAX: usize = 20_000;

/// Clones tell the same story.
#[derive(Clone)]
pub struct Story(Rc<RefCell<Inner>>);

struct Inner {
    began: Instant,
    keeps: bool,
    lines: Vec<String>,
    count: u64,
    hash: DefaultHasher,
}

impl Story {
    /// Begins at the clock's now. `keeps`: the lines themselves, not only their number.
    pub fn new(keeps: bool) -> Self {
        let hash = DefaultHasher::new();
        Self(Rc::new(RefCell::new(Inner { began: Instant::now(), keeps, lines: Vec::new(), count: 0, hash })))
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.0.borrow().began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn tell(&self, what: fmt::Arguments<'_>) {
        let now = self.0.borrow().began.elapsed();
        let line = format!("{:>9.3}  {what}", now.as_secs_f64() * 1_000.0);
        let mut inner = self.0.borrow_mut();
        inner.hash.write(line.as_bytes());
        inner.count += 1;
        if inner.keeps && inner.lines.len() < LINES_MAX {
            inner.lines.push(line);
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// Equal for equal stories.
    pub fn print(&self) -> u64 {
        self.0.borrow().hash.finish()
    }
}

/// Tells a line, formatted.
macro_rules! tell {
    ($story:expr, $($words:tt)*) => { $story.tell(format_args!($($words)*)) };
}
pub(super) use tell;
