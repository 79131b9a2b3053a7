//! Small frames that came before the news that their sender has moved to the peer that sends them.
//!
//! Owns a few copies, bounded in number, size and time. Decides nothing: each is asked about again whenever the table has
//! changed, and is believed only if its source then belongs to that peer (invariant I8).
//!
//! What a container says first at a new place is a question about a neighbour's MAC. Lost, it costs a second, which is how
//! long kernels wait before they ask again; and a peer hears of a move some milliseconds late whenever its disk is slow.

use std::time::{Duration, Instant};

use wire::PeerIndex;
use wire::chunk::ChunkHeader;

use super::pieces::HEADROOM_BYTES;

/// Requests for neighbours' MACs, announcements, the first segments of connections and the first answers to pings.
const FRAME_BYTES_MAX: usize = 256;
/// What a dozen containers say in the milliseconds between their start and the news of it.
const FRAMES_MAX: usize = 32;
/// Longer than a slow disk takes to sync, shorter than any kernel waits before it asks again.
const LIFETIME: Duration = Duration::from_millis(800);

/// The frames of one thread.
pub(super) struct Early {
    frames: Vec<EarlyFrame>,
    /// Which one makes room next when there is none.
    oldest: usize,
}

#[derive(Clone, Copy)]
struct EarlyFrame {
    peer: PeerIndex,
    header: ChunkHeader,
    came: Instant,
    length_bytes: usize,
    bytes: [u8; HEADROOM_BYTES + FRAME_BYTES_MAX],
}

/// What is to become of a frame that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Forget,
}

impl Early {
    /// Room for all of them: none is made on the way of a frame.
    pub(super) fn new() -> Self {
        Self { frames: Vec::with_capacity(FRAMES_MAX), oldest: 0 }
    }

    /// Without room.
    pub(super) const fn empty() -> Self {
        Self { frames: Vec::new(), oldest: 0 }
    }

    /// Keeps a copy, in the place of the oldest if need be. A frame that is too large is not kept.
    pub(super) fn keep(&mut self, peer: PeerIndex, header: ChunkHeader, frame: &[u8], now: Instant) {
        let mut bytes = [0; HEADROOM_BYTES + FRAME_BYTES_MAX];
        let Some(place) = bytes.get_mut(HEADROOM_BYTES..).and_then(|place| place.get_mut(..frame.len())) else {
            return;
        };
        place.copy_from_slice(frame);
        let early = EarlyFrame { peer, header, came: now, length_bytes: HEADROOM_BYTES + frame.len(), bytes };
        if self.frames.len() < FRAMES_MAX {
            self.frames.push(early);
        } else if let Some(oldest) = self.frames.get_mut(self.oldest) {
            *oldest = early;
            self.oldest = (self.oldest + 1) % FRAMES_MAX;
        }
    }

    /// Asks about each in the order they came; `judge` gets the frame behind [`HEADROOM_BYTES`] of room.
    pub(super) fn review(&mut self, now: Instant, mut judge: impl FnMut(PeerIndex, &ChunkHeader, &mut [u8]) -> Fate) {
        let oldest = self.oldest.min(self.frames.len());
        self.frames.rotate_left(oldest);
        self.oldest = 0;
        self.frames.retain_mut(|early| {
            let fresh = now.saturating_duration_since(early.came) < LIFETIME;
            let bytes = early.bytes.get_mut(..early.length_bytes).unwrap_or_default();
            fresh && judge(early.peer, &early.header, bytes) == Fate::Keep
        });
    }
}

#[cfg(test)]
mod tests;
