//! Decides when a thread that is woken often for a few frames each time sleeps a moment longer, so that more come together.
//!
//! Owns the rate of frames from the tap. Knows neither clock nor frames. A ping, a request and a stream of super-frames
//! come at rates far below [`BUSY`] and are never delayed.

use std::time::{Duration, Instant};

/// Frames a millisecond on one queue. Applications that wait for each answer do not reach it; a flood of small datagrams
/// does, and there a wake-up for each costs more than all the rest of its way.
const BUSY: u128 = 100;

/// Over how long the rate is taken: long against a batch, short against a change of load.
const WINDOW: Duration = Duration::from_millis(1);

/// A turn that found so many frames needs no help.
const ENOUGH: usize = 16;

/// A dozen frames come in it. Measured with 64-byte datagrams: a quarter less processor time for each.
const NAP: Duration = Duration::from_micros(55);

/// The rate of one thread.
pub(super) struct Pace {
    begun: Instant,
    frames: usize,
    is_busy: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, frames: 0, is_busy: false }
    }

    /// Notes how many frames the last turn took from the tap, and says how long to sleep before the next.
    pub(super) fn nap(&mut self, frames: usize, now: Instant) -> Option<Duration> {
        self.frames += frames;
        let elapsed = now.saturating_duration_since(self.begun);
        if elapsed >= WINDOW {
            // More than `usize` counts come in no millisecond.
            let busy_from = usize::try_from(BUSY * elapsed.as_micros() / 1000).unwrap_or(usize::MAX);
            *self = Self { begun: now, frames: 0, is_busy: self.frames >= busy_from };
        }
        (self.is_busy && (1..ENOUGH).contains(&frames)).then_some(NAP)
    }
}

#[cfg(test)]
mod tests;
