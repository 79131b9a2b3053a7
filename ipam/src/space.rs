//! Which of this host's slots of one network is given out next.
//!
//! Owns the queue of free slots and those that rest. Knows nothing of ownership: it is told what is gained and lost.
//!
//! ```text
//!   gained ──▶ back of the queue ──▶ front: given out ──freed──▶ resting ──REST──▶ back of the queue
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Instant;

use wire::Slot;

/// The free slots of one network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    /// The free slots by their number in the queue.
    queue: BTreeMap<u64, Slot>,
    numbers: BTreeMap<Slot, u64>,
    resting: BTreeMap<Slot, Instant>,
    /// Of those that rest, the ones that nobody has had since they came here.
    used_elsewhere: BTreeSet<Slot>,
    /// Deadlines in the order in which they were set, which is the order in which they pass.
    waking: VecDeque<(Instant, Slot)>,
    /// Until when nothing comes out of the pool.
    pool_rests: Option<Instant>,
}

impl Space {
    /// Puts a slot at the back of the queue, unless it is there or rests.
    pub(crate) fn add(&mut self, slot: Slot) {
        if self.is_resting(slot) || self.is_free(slot) {
            return;
        }
        let number = self.queue.last_key_value().map_or(0, |(last, _)| last + 1);
        self.queue.insert(number, slot);
        self.numbers.insert(slot, number);
    }

    /// Keeps a slot back until then.
    pub(crate) fn rest(&mut self, slot: Slot, until: Instant) {
        self.forget(slot);
        self.resting.insert(slot, until);
        self.waking.push_back((until, slot));
    }

    /// Notes that a slot rests from what it was used for elsewhere.
    pub(crate) fn note_used_elsewhere(&mut self, slot: Slot) {
        if self.resting.contains_key(&slot) {
            self.used_elsewhere.insert(slot);
        }
    }

    /// Keeps back until then what nobody has carved out of the pool, as far as is known here.
    pub(crate) fn rest_pool(&mut self, until: Instant) {
        self.pool_rests = Some(until);
    }

    /// Takes the slot that has been free the longest.
    pub(crate) fn take_first(&mut self) -> Option<Slot> {
        let (_, slot) = self.queue.pop_first()?;
        self.numbers.remove(&slot);
        Some(slot)
    }

    /// Takes a slot out, wherever it is: it was given out or lost.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.resting.remove(&slot);
        self.used_elsewhere.remove(&slot);
        if let Some(number) = self.numbers.remove(&slot) {
            self.queue.remove(&number);
        }
    }

    /// Puts the slots whose rest is over at the back of the queue, and returns them.
    pub(crate) fn wake(&mut self, now: Instant) -> Vec<Slot> {
        let mut woken = Vec::new();
        self.pool_rests.take_if(|until| *until <= now);
        while let Some((until, slot)) = self.waking.front().copied().filter(|(until, _)| *until <= now) {
            self.waking.pop_front();
            if self.resting.get(&slot) == Some(&until) {
                self.resting.remove(&slot);
                self.used_elsewhere.remove(&slot);
                self.add(slot);
                woken.push(slot);
            }
        }
        woken
    }

    /// When a slot's rest is over next, or the pool's.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waking.front().map(|(until, _)| *until).into_iter().chain(self.pool_rests).min()
    }

    pub(crate) fn is_free(&self, slot: Slot) -> bool {
        self.numbers.contains_key(&slot)
    }

    pub(crate) fn is_resting(&self, slot: Slot) -> bool {
        self.resting.contains_key(&slot)
    }

    pub(crate) fn is_pool_resting(&self) -> bool {
        self.pool_rests.is_some()
    }

    /// Whether a slot is not free, nor rests from what it was used for here.
    pub(crate) fn is_untouched(&self, slot: Slot) -> bool {
        !self.is_free(slot) && (!self.is_resting(slot) || self.used_elsewhere.contains(&slot))
    }

    /// How many slots could be given out now.
    pub(crate) fn free(&self) -> usize {
        self.queue.len()
    }

    /// How many rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }
}

/// Two that go on alike are alike: the order of the queue counts, and not its numbers.
impl Hash for Space {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.queue.values().for_each(|slot| slot.hash(state));
        (self.queue.len(), &self.resting, &self.used_elsewhere, &self.waking, self.pool_rests).hash(state);
    }
}

#[cfg(test)]
mod tests;
