//! The moves of the past, for people.
//!
//! Owns the list and its bound. Nothing is ever decided by it.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::message::Why;
use wire::{Epoch, Identity, Slot};

use crate::lease::LeaseKey;

/// One move of a workload's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moved {
    /// When this router heard of it, by its host's clock, since the beginning of 1970.
    pub at: Duration,
    /// Whose address it was.
    pub key: LeaseKey,
    /// The place in the pool.
    pub slot: Slot,
    /// The epoch that began with it.
    pub epoch: Epoch,
    /// Who had it before.
    pub from: Identity,
    /// Who had it then.
    pub to: Identity,
    /// Why it moved.
    pub why: Why,
}

/// The newest moves, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    moves: VecDeque<(u64, Moved)>,
}

impl History {
    /// Begins with what the store holds.
    pub(crate) fn new(mut stored: Vec<(u64, Moved)>) -> Self {
        stored.sort_by_key(|(number, _)| *number);
        Self { moves: stored.into() }
    }

    /// Adds one. Returns its number, and that of the one that makes room for it.
    pub(crate) fn add(&mut self, moved: Moved) -> (u64, Option<u64>) {
        let number = self.moves.back().map_or(0, |(number, _)| number.saturating_add(1));
        self.moves.push_back((number, moved));
        let full = self.moves.len() > MOVES_KEPT;
        (number, full.then(|| self.moves.pop_front().map(|(number, _)| number)).flatten())
    }

    /// From the oldest to the newest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Moved> {
        self.moves.iter().map(|(_, moved)| moved)
    }
}

/// Some months of an orchestrator that moves ten containers a day, in 200 KiB.
pub const MOVES_KEPT: usize = 1000;

#[cfg(test)]
mod tests;
