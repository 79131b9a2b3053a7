//! How often a slot may move.
//!
//! Owns the count of each slot's recent moves. Decides when an address is frozen; knows nothing of who moves it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use wire::{Identity, NetworkId, Slot};

/// Recent moves of every slot that moved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moves {
    recent: BTreeMap<(NetworkId, Slot), VecDeque<Recent>>,
}

/// One move: when, and between whom.
#[derive(Debug, Clone, Copy)]
struct Recent {
    at: Instant,
    hosts: [Identity; 2],
}

/// More moves than this within [`MOVES_WINDOW`] freeze an address: two hosts fight for it (RFC 7432 §15.1 has the same default).
pub const MOVES_MAX: usize = 5;
/// See [`MOVES_MAX`].
pub const MOVES_WINDOW: Duration = Duration::from_secs(180);

/// What one more move makes of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Steady,
    /// It is the one too many.
    Froze,
}

impl Moves {
    /// Counts a move.
    pub(crate) fn note(&mut self, network: NetworkId, slot: Slot, hosts: [Identity; 2], now: Instant) -> Pace {
        let was_frozen = self.is_frozen(network, slot, now);
        let recent = self.recent.entry((network, slot)).or_default();
        recent.push_back(Recent { at: now, hosts });
        if recent.len() > MOVES_MAX + 1 {
            recent.pop_front();
        }
        if !was_frozen && self.is_frozen(network, slot, now) { Pace::Froze } else { Pace::Steady }
    }

    /// Whether the address stays where it is until it has calmed down.
    pub(crate) fn is_frozen(&self, network: NetworkId, slot: Slot, now: Instant) -> bool {
        let recent = self.recent.get(&(network, slot));
        recent
            .is_some_and(|recent| recent.iter().filter(|moved| moved.is_within(MOVES_WINDOW, now)).count() > MOVES_MAX)
    }

    /// Between whom a slot moved of late.
    pub(crate) fn hosts(&self, network: NetworkId, slot: Slot) -> BTreeSet<Identity> {
        self.recent.get(&(network, slot)).into_iter().flatten().flat_map(|moved| moved.hosts).collect()
    }

    /// Whether a slot moved within that time, as far as this router took part.
    pub(crate) fn is_recent(&self, network: NetworkId, slot: Slot, window: Duration, now: Instant) -> bool {
        let recent = self.recent.get(&(network, slot));
        recent.is_some_and(|moves| moves.iter().any(|moved| moved.is_within(window, now)))
    }

    /// Forgets slots that have calmed down.
    pub(crate) fn forget_calm(&mut self, now: Instant) {
        self.recent.retain(|_, moves| moves.iter().any(|moved| moved.is_within(MOVES_WINDOW, now)));
    }
}

impl Recent {
    fn is_within(&self, window: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < window
    }
}

#[cfg(test)]
mod tests;
