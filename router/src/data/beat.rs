//! Foresees when the next frame of a steady row comes, so that its thread is awake by then.
//!
//! Owns the rhythm of one thread's lone work. Knows neither clock nor descriptors. A core that has halted takes some twenty
//! microseconds to wake, and a ping comes upon one at each thread on its way. What comes at equal distances (pings, clocks,
//! control loops, voice) can be met awake: its thread rises shortly before it is due and looks for it until shortly after.
//! The distance and its spread are followed as RFC 6298 follows round-trip times. What is not steady is never looked for,
//! and of a row that ends one look is in vain.

use std::time::{Duration, Instant};

/// Work after so long a pause begins a beat; what comes sooner belongs to it: its answer, the rest of a burst.
const PAUSE: Duration = Duration::from_micros(300);

/// How long before the beat is due the thread rises, and how long after it gives up, besides twice the spread: a core
/// that has halted takes 20 to 50 µs until a timer has woken its thread.
const MARGIN: Duration = Duration::from_micros(60);

/// The longest look.
const LOOK: Duration = Duration::from_micros(400);

/// What part of the distance a look may take at most: a quarter of a core, if every beat came late.
const SHARE: u32 = 4;

/// Work that far off, in parts of the distance, is no beat of this row.
const STRAY: u32 = 4;

/// What the score counts up to: after so many beats in time, as many must be off until the row is given up.
const MOST: u8 = 8;

/// From this score on the row is steady.
const STEADY: u8 = 4;

/// When to look for the next beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// The row that one thread hears.
pub(super) struct Beat {
    worked: Instant,
    last: Instant,
    distance: Duration,
    spread: Duration,
    /// How many of the last beats were in time.
    score: u8,
}

impl Beat {
    pub(super) fn new(now: Instant) -> Self {
        Self { worked: now, last: now, distance: Duration::ZERO, spread: Duration::ZERO, score: 0 }
    }

    /// Notes that there is work.
    pub(super) fn handle_work(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.worked);
        self.worked = now;
        if pause >= PAUSE {
            self.handle_beat(now);
        }
    }

    fn handle_beat(&mut self, now: Instant) {
        let distance = now.saturating_duration_since(self.last);
        let off = distance.abs_diff(self.distance);
        if off <= self.distance / STRAY {
            self.last = now;
            self.score = (self.score + 1).min(MOST);
            self.spread = (self.spread * 3 + off) / 4;
            self.distance = (self.distance * 7 + distance) / 8;
            return;
        }
        self.score = self.score.saturating_sub(1);
        if self.score == 0 {
            *self = Self { worked: now, last: now, distance, spread: distance / 16, score: 0 };
        } else if distance > self.distance {
            // One was left out. What comes too early is none of the row, whose next is due all the same.
            self.last = now;
        }
    }

    /// When to look for the next beat, if it can be foreseen.
    pub(super) fn watch(&self, now: Instant) -> Option<Watch> {
        let margin = MARGIN + self.spread * 2;
        if self.score < STEADY || margin * 2 > LOOK.min(self.distance / SHARE) {
            return None;
        }
        let due = self.last + self.distance;
        // `margin` is less than the distance.
        let watch = Watch { from: due - margin, until: due + margin };
        (now < watch.until).then_some(watch)
    }
}

#[cfg(test)]
mod tests;
