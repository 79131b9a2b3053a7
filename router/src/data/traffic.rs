//! Bytes to and from each peer since the last report.
//!
//! Owns the sums and when the next report is due: a second after the first byte, never without one. An idle thread is
//! woken by nobody.

use std::time::{Duration, Instant};

use wire::PeerIndex;

/// What a person who looks at traffic notices.
const INTERVAL: Duration = Duration::from_secs(1);

/// The sums of one thread.
#[derive(Default)]
pub(super) struct Traffic {
    peers: Vec<Sums>,
    due: Option<Instant>,
    dirty: bool,
}

/// Bytes of sealed datagrams.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
}

impl Traffic {
    /// Makes room for so many peers. Sums are kept: a peer's index never changes.
    pub(super) fn resize(&mut self, peers: usize) {
        self.peers.resize(peers, Sums::default());
    }

    pub(super) fn sent(&mut self, peer: PeerIndex, bytes: usize) {
        self.add(peer, |sums| &mut sums.sent_bytes, bytes);
    }

    pub(super) fn received(&mut self, peer: PeerIndex, bytes: usize) {
        self.add(peer, |sums| &mut sums.received_bytes, bytes);
    }

    fn add(&mut self, peer: PeerIndex, part: fn(&mut Sums) -> &mut u64, bytes: usize) {
        let position = usize::try_from(peer.0).unwrap_or(usize::MAX);
        if let Some(sums) = self.peers.get_mut(position) {
            *part(sums) += u64::try_from(bytes).unwrap_or_default();
            self.dirty = true;
        }
    }

    /// How long until the next report, if there is anything to report. Asked once before each sleep.
    pub(super) fn patience(&mut self, now: Instant) -> Option<Duration> {
        if !self.dirty {
            return None;
        }
        let due = *self.due.get_or_insert(now + INTERVAL);
        Some(due.saturating_duration_since(now))
    }

    /// Takes the sums that are not zero, if the report is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<impl Iterator<Item = (PeerIndex, Sums)> + '_> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        self.dirty = false;
        let taken = self.peers.iter_mut().enumerate().map(|(position, sums)| (position, std::mem::take(sums)));
        Some(
            taken
                .filter(|(_, sums)| *sums != Sums::default())
                .filter_map(|(position, sums)| Some((PeerIndex(u32::try_from(position).ok()?), sums))),
        )
    }
}
