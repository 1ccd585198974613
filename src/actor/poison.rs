//! Inputs that crash their session again and again are parked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Counts crashes by (child, fingerprint of the input), over restarts of the child, and parks at the third. Known to
/// this node only: a new owner of the session counts anew. Every table is bounded; the oldest entry gives way, and
/// what was forgotten has to crash three times again.
#[derive(Debug)]
pub struct Poison<K> {
    crashes: BTreeMap<(K, u64), u32>,
    /// The keys of `crashes`, oldest first.
    order: VecDeque<(K, u64)>,
    parked: BTreeMap<K, Arc<[u64]>>,
    /// What is parked, oldest first.
    list: VecDeque<(K, u64)>,
}

impl<K> Default for Poison<K> {
    fn default() -> Self {
        Self { crashes: BTreeMap::new(), order: VecDeque::new(), parked: BTreeMap::new(), list: VecDeque::new() }
    }
}

impl<K: Ord + Clone> Poison<K> {
    pub const CRASHES_MAX: u32 = 3;
    pub const COUNTED_MAX: usize = 4096;
    pub const PARKED_MAX: usize = 1024;

    /// A child died with this input in hand. True when that parks the input.
    pub fn crashed(&mut self, key: &K, input: u64) -> bool {
        if self.parked.get(key).is_some_and(|parked| parked.contains(&input)) {
            return false;
        }
        let entry = (key.clone(), input);
        let crashes = self.crashes.get(&entry).map_or(1, |crashes| crashes + 1);
        if crashes < Self::CRASHES_MAX {
            if self.crashes.insert(entry.clone(), crashes).is_none() {
                self.order.push_back(entry);
                if self.order.len() > Self::COUNTED_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.crashes.remove(&oldest);
                }
            }
            return false;
        }
        self.crashes.remove(&entry);
        self.order.retain(|counted| *counted != entry);
        if self.list.len() == Self::PARKED_MAX
            && let Some((key, input)) = self.list.front().cloned()
        {
            self.release(&key, input);
        }
        let parked = self.parked.get(key).map_or(&[][..], |parked| parked);
        let parked = parked.iter().copied().chain([input]).collect();
        self.parked.insert(key.clone(), parked);
        self.list.push_back(entry);
        true
    }

    /// What a child must not process.
    pub fn parked(&self, key: &K) -> Arc<[u64]> {
        self.parked.get(key).cloned().unwrap_or_default()
    }

    /// Everything parked, oldest first: for the operator.
    pub fn list(&self) -> impl Iterator<Item = &(K, u64)> {
        self.list.iter()
    }

    /// The operator lets an input in again, from the child's next start.
    pub fn release(&mut self, key: &K, input: u64) {
        self.list.retain(|parked| *parked != (key.clone(), input));
        let rest: Arc<[u64]> = self.parked(key).iter().copied().filter(|parked| *parked != input).collect();
        if rest.is_empty() {
            self.parked.remove(key);
        } else {
            self.parked.insert(key.clone(), rest);
        }
    }

    /// The child has ended for good.
    pub fn forget(&mut self, key: &K) {
        if self.parked.remove(key).is_some() {
            self.list.retain(|(parked, _)| parked != key);
        }
        let counted: Vec<_> =
            self.crashes.range((key.clone(), 0)..=(key.clone(), u64::MAX)).map(|(entry, _)| entry.clone()).collect();
        if !counted.is_empty() {
            for entry in &counted {
                self.crashes.remove(entry);
            }
            self.order.retain(|(counted, _)| counted != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_crash_parks_an_input_and_only_for_its_session() {
        let mut poison = Poison::default();
        assert!(!poison.crashed(&"a", 7));
        assert!(!poison.crashed(&"b", 7));
        assert!(!poison.crashed(&"a", 8));
        assert!(!poison.crashed(&"a", 7));
        assert!(poison.crashed(&"a", 7));
        assert!(!poison.crashed(&"a", 7), "parked once");
        assert_eq!((&*poison.parked(&"a"), &*poison.parked(&"b")), (&[7][..], &[][..]));
        assert_eq!(poison.list().collect::<Vec<_>>(), [&("a", 7)]);
        poison.release(&"a", 7);
        assert_eq!(poison.parked(&"a").len() + poison.list().count(), 0);
        assert!(!poison.crashed(&"a", 7));
        poison.forget(&"a");
        assert_eq!((poison.crashes.len(), poison.order.len()), (1, 1));
    }

    #[test]
    fn its_tables_are_bounded() {
        let mut poison = Poison::default();
        for key in 0..5000 {
            for _ in 0..2 {
                poison.crashed(&key, 1);
            }
        }
        assert_eq!((poison.crashes.len(), poison.order.len()), (4096, 4096));
        for key in 0..2000 {
            for _ in 0..3 {
                poison.crashed(&key, 1);
            }
        }
        assert_eq!((poison.parked.len(), poison.list.len()), (1024, 1024));
        assert_eq!(poison.list().next(), Some(&(976, 1)));
    }
}
