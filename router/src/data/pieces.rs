//! Puts frames together that came in pieces.
//!
//! Owns a few buffers, bounded in number and in time. Knows nothing of what the frames hold. A frame of which a piece is
//! lost is lost; its buffer is taken by the next one.

use std::time::{Duration, Instant};

use wire::PeerIndex;
use wire::chunk::Piece;

/// Frames that are being put together at the same time. The pieces of one frame leave in one batch, so more are only
/// open when pieces were lost.
const OPEN_FRAMES: usize = 16;

/// Longer than reordering on any path, shorter than a queue's numbers take to come round.
const LIFETIME: Duration = Duration::from_millis(500);

/// Bytes in front of each frame: room for a virtio header.
pub(super) const HEADROOM_BYTES: usize = 12;

/// The frames of one thread.
#[derive(Default)]
pub(super) struct Pieces {
    open: Vec<OpenFrame>,
}

struct OpenFrame {
    title: Option<Title>,
    begun: Instant,
    received_bytes: usize,
    buffer: Vec<u8>,
}

/// What names a frame: whose, from which queue, which, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) peer: PeerIndex,
    pub(super) queue: u8,
    pub(super) number: u16,
    pub(super) frame_bytes: u16,
}

/// What a piece did.
pub(super) enum Progress<'a> {
    /// The frame is whole: behind [`HEADROOM_BYTES`] of room.
    Whole(&'a mut [u8]),
    /// More must come.
    Waiting,
    /// Another frame was given up for this one.
    Displaced,
    /// The piece lies outside its frame.
    Malformed,
}

impl Pieces {
    /// Takes a piece. A frame counts as whole when as many bytes have come as it has: envelopes open once, so an honest
    /// peer's pieces never overlap, and a buffer is cleared before use, so a dishonest one's show nobody else's bytes.
    pub(super) fn accept(
        &mut self,
        peer: PeerIndex,
        queue: u8,
        piece: Piece,
        bytes: &[u8],
        now: Instant,
    ) -> Progress<'_> {
        let title = Title { peer, queue, number: piece.number, frame_bytes: piece.frame_bytes };
        let from = HEADROOM_BYTES + usize::from(piece.offset);
        let frame_end = HEADROOM_BYTES + usize::from(piece.frame_bytes);
        if from + bytes.len() > frame_end || bytes.is_empty() {
            return Progress::Malformed;
        }
        let (position, displaced) = self.position(title, now);
        let Some(frame) = self.open.get_mut(position) else {
            return Progress::Malformed;
        };
        if let Some(room) = frame.buffer.get_mut(from..from + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        frame.received_bytes += bytes.len();
        if frame.received_bytes >= usize::from(piece.frame_bytes) {
            frame.title = None;
            return Progress::Whole(&mut frame.buffer);
        }
        if displaced { Progress::Displaced } else { Progress::Waiting }
    }

    /// The frame's buffer: its own, a free one, or the one begun longest ago. Whether another frame lost it.
    fn position(&mut self, title: Title, now: Instant) -> (usize, bool) {
        let fresh = |frame: &OpenFrame| now.saturating_duration_since(frame.begun) < LIFETIME;
        if let Some(position) = self.open.iter().position(|frame| frame.title == Some(title) && fresh(frame)) {
            return (position, false);
        }
        let position = self.free(now);
        let displaced = match self.open.get_mut(position) {
            Some(frame) => {
                let displaced = frame.title.is_some();
                frame.begin(title, now);
                displaced
            }
            None => false,
        };
        (position, displaced)
    }

    fn free(&mut self, now: Instant) -> usize {
        if let Some(position) = self.open.iter().position(|frame| frame.title.is_none()) {
            return position;
        }
        if self.open.len() < OPEN_FRAMES {
            self.open.push(OpenFrame { title: None, begun: now, received_bytes: 0, buffer: Vec::new() });
            return self.open.len() - 1;
        }
        let oldest = self.open.iter().enumerate().min_by_key(|(_, frame)| frame.begun);
        oldest.map_or(0, |(position, _)| position)
    }
}

impl OpenFrame {
    fn begin(&mut self, title: Title, now: Instant) {
        self.title = Some(title);
        self.begun = now;
        self.received_bytes = 0;
        self.buffer.clear();
        self.buffer.resize(HEADROOM_BYTES + usize::from(title.frame_bytes), 0);
    }
}

#[cfg(test)]
mod tests;
