//! Decides when what was decided may be seen: after the store has it, and not before.
//!
//! Owns the batch being gathered, the batch being written and everything that waits for them. Knows nothing of what they mean.
//!
//! ```text
//!   write ──▶ gathering ──poll_batch──▶ writing ──handle_stored──▶ (durable)
//!   event ──▶ waits with it ─────────────▶ … ────────────────────▶ poll_event, poll_transmit
//! ```

use std::collections::{BTreeMap, VecDeque};

use wire::Identity;
use wire::message::LOG_VERSION;

use crate::event::Event;
use crate::seal::hash_of;
use crate::store::{Life, Table, Write, log_lives, log_number};

/// Whom bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// One router.
    Peer(Identity),
    /// Every router that is connected.
    AllPeers,
}

/// What is kept back until the store has what it rests on.
#[derive(Debug, Clone)]
enum Item {
    Transmit(To, Vec<u8>),
    Event(Event),
}

/// Writes on their way to the store, and what waits for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    /// What the store holds, the batch being written not included.
    durable: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    gathering: Vec<Write>,
    waiting: Vec<Item>,
    writing: Option<(Vec<Write>, Vec<Item>)>,
    transmits: VecDeque<(To, Vec<u8>)>,
    events: VecDeque<Event>,
    /// Batches that the store holds.
    log: u64,
    /// The highest of these numbers that anybody can have been told: now, or before a restart.
    told: u64,
    /// Which start wrote which of them, this one too once it has written anything.
    lives: Vec<Life>,
    /// This start's own number.
    life: u64,
    /// The store has failed: nothing is written any more, and nothing decided that would have to be.
    closed: bool,
}

impl Outbox {
    /// Begins with what the store holds.
    pub(crate) fn new(stored: &[Write], seed: u64) -> Self {
        let mut outbox = Self::default();
        outbox.remember(stored);
        outbox.log = stored.iter().find_map(log_number).unwrap_or(0);
        outbox.told = outbox.log;
        outbox.lives = stored.iter().find_map(log_lives).unwrap_or_default();
        // Unlike that of any start before, also of one that began where this one does and is forgotten here.
        let own = hash_of(LOG_VERSION, &("raddle life", seed, outbox.log));
        outbox.life = own.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        outbox
    }

    /// Whether the store has failed: what is decided from here on is in memory alone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn write(&mut self, write: Write) {
        if !self.closed {
            self.gathering.push(write);
        }
    }

    pub(crate) fn transmit(&mut self, to: To, bytes: Vec<u8>) {
        self.say(Item::Transmit(to, bytes));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.say(Item::Event(event));
    }

    /// Says something at once that rests on nothing this router has decided.
    pub(crate) fn event_at_once(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Hands out the next batch. None while one is being written.
    pub(crate) fn poll_batch(&mut self) -> Option<Vec<Write>> {
        if self.writing.is_some() || self.gathering.is_empty() {
            return None;
        }
        let mut batch = std::mem::take(&mut self.gathering);
        batch.push(Write::log(self.log + 1));
        if self.lives.last().is_none_or(|(_, life)| *life != self.life) {
            self.lives.push((self.log + 1, self.life));
            self.lives.drain(..self.lives.len().saturating_sub(LIVES_MAX));
            batch.push(Write::lives(&self.lives));
        }
        self.writing = Some((batch.clone(), std::mem::take(&mut self.waiting)));
        Some(batch)
    }

    /// The batch handed out last is durable: lets go of what waited for it.
    pub(crate) fn handle_stored(&mut self) {
        let Some((batch, items)) = self.writing.take() else { return };
        self.log += 1;
        self.remember(&batch);
        items.into_iter().for_each(|item| self.let_go(item));
    }

    /// What is said rests on everything that was decided before it, and on nothing that is decided later.
    fn say(&mut self, item: Item) {
        match &mut self.writing {
            _ if !self.gathering.is_empty() => self.waiting.push(item),
            Some((_, items)) => items.push(item),
            None => self.let_go(item),
        }
    }

    fn let_go(&mut self, item: Item) {
        match item {
            Item::Transmit(to, bytes) => self.transmits.push_back((to, bytes)),
            Item::Event(event) => self.events.push_back(event),
        }
    }

    /// Gives up everything that is not durable and never writes again; returns the events nobody has heard of.
    pub(crate) fn abandon(&mut self) -> Vec<Event> {
        self.gathering.clear();
        self.closed = true;
        let written = self.writing.take().map(|(_, items)| items).unwrap_or_default();
        let kept_back = written.into_iter().chain(std::mem::take(&mut self.waiting));
        kept_back
            .filter_map(|item| match item {
                Item::Event(event) => Some(event),
                Item::Transmit(..) => None,
            })
            .collect()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<(To, Vec<u8>)> {
        self.transmits.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many batches the store holds: it never falls, unless the store itself went back.
    pub(crate) fn log(&self) -> u64 {
        self.log
    }

    /// The same number, for somebody else to remember.
    pub(crate) fn tell_log(&mut self) -> u64 {
        self.told = self.log;
        self.log
    }

    /// Which start wrote the batch of this number; none if that is no longer known.
    pub(crate) fn life_of(&self, number: u64) -> Option<u64> {
        self.lives.iter().rev().find(|(first, _)| *first <= number).map(|(_, life)| *life)
    }

    /// The highest of these numbers that anybody else can know of.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// How many it will hold once everything that is decided by now is durable.
    pub(crate) fn log_to_come(&self) -> u64 {
        self.log + u64::from(self.writing.is_some()) + u64::from(!self.gathering.is_empty())
    }

    /// What the store holds.
    pub(crate) fn durable(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.durable.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_slice()))
    }

    fn remember(&mut self, batch: &[Write]) {
        for write in batch {
            let key = (write.table, write.key.clone());
            match &write.value {
                Some(value) => self.durable.insert(key, value.clone()),
                None => self.durable.remove(&key),
            };
        }
    }
}

/// Starts remembered: more than there are between two times that a router hears of a peer's log.
const LIVES_MAX: usize = 64;

#[cfg(test)]
mod tests;
