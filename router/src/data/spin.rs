//! Decides when a thread that has nothing to do goes on looking for work for a moment instead of sleeping.
//!
//! Owns the rhythm of one thread's work. Knows neither clock nor descriptors. Falling asleep and being woken cost more than
//! all the rest of a small frame's way, so a thread whose question is usually answered within [`WINDOW`] looks for the
//! answer that long. It gives the core away between looks. What comes later than that is slept for, so an idle thread
//! never looks, nor, for this reason, one with a ping each millisecond: that is foreseen by `beat`.

use std::time::{Duration, Instant};

/// How long a thread looks. A host's answer over a fast network takes some tens of microseconds; falling asleep and waking
/// take about ten, on a core that has halted some tens more.
const WINDOW: Duration = Duration::from_micros(100);

/// Bytes in one turn that are no longer a few small frames. A stream keeps its threads awake by itself, and a core that is
/// given away in the middle of one comes back late.
const BULK_BYTES: usize = 4096;

/// For so long after such a turn nobody looks: longer than the pauses of a stream.
const BULK_REST: Duration = Duration::from_millis(2);

/// Giving the core away took so long: somebody computes there. A container or a router that was woken is done sooner.
const CONTENDED: Duration = Duration::from_micros(500);

/// How long the core is then left to it. Whoever sleeps is put before such a task when it is woken, whoever has given
/// the core away is not; so frames are kept waiting for a hundredth of the time at most.
const CONTENDED_REST: Duration = Duration::from_millis(100);

/// What a score counts up to: after so many answers in time, as many must be late until nobody looks.
const MOST: u8 = 4;

/// From this score on it is worth looking.
const ENOUGH: u8 = 2;

/// What a turn has carried.
#[derive(Default)]
pub(super) struct Carried {
    /// Frames from the tap.
    pub(super) frames: usize,
    /// Their bytes.
    pub(super) sent_bytes: usize,
    /// Bytes of the datagrams that came.
    pub(super) received_bytes: usize,
}

/// The rhythm of one thread.
pub(super) struct Spin {
    last: Option<Turn>,
    /// For each kind of turn, how often work came soon after it of late.
    scores: [u8; 3],
    rests_until: Instant,
}

/// What the last turn did. Who has asked is answered soon, who has answered waits for the next question.
#[derive(Clone, Copy)]
enum Turn {
    Sent,
    Received,
    Both,
}

impl Spin {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: None, scores: [0; 3], rests_until: now }
    }

    /// Notes what the last turn carried.
    pub(super) fn handle_turn(&mut self, carried: &Carried, now: Instant) {
        if carried.sent_bytes + carried.received_bytes >= BULK_BYTES {
            self.rests_until = self.rests_until.max(now + BULK_REST);
        }
        self.last = match (carried.sent_bytes, carried.received_bytes) {
            (0, 0) => None,
            (_, 0) => Some(Turn::Sent),
            (0, _) => Some(Turn::Received),
            (_, _) => Some(Turn::Both),
        };
    }

    /// Whether there is neither looking nor counting.
    pub(super) fn rests(&self, now: Instant) -> bool {
        now < self.rests_until
    }

    /// Whether to look once more for work that has not come since the last turn ended at `begun`.
    pub(super) fn goes_on(&self, begun: Instant, now: Instant) -> bool {
        let score = self.last.map_or(0, |turn| self.scores[turn.index()]);
        score >= ENOUGH && !self.rests(now) && now.saturating_duration_since(begun) < WINDOW
    }

    /// Notes how long the core was given away for.
    pub(super) fn handle_away(&mut self, away: Duration, now: Instant) {
        if away >= CONTENDED {
            self.rests_until = now + CONTENDED_REST;
        }
    }

    /// Notes how long after the last turn there was work.
    pub(super) fn handle_work(&mut self, after: Duration) {
        if let Some(turn) = self.last {
            let score = &mut self.scores[turn.index()];
            *score = if after <= WINDOW { (*score + 1).min(MOST) } else { score.saturating_sub(1) };
        }
    }
}

impl Turn {
    fn index(self) -> usize {
        match self {
            Self::Sent => 0,
            Self::Received => 1,
            Self::Both => 2,
        }
    }
}

#[cfg(test)]
mod tests;
