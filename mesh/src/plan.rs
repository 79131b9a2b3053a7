//! What control publishes for the data threads: peers, where they are, and under which keys.
//!
//! Owns the shape of that publication: immutable, whole, newest wins. Knows nothing of how it came about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wire::envelope::Kind;
use wire::{Identity, PeerIndex};
use zeroize::Zeroizing;

use crate::aead::{Opener, Sealer, Suite};
use crate::digest::derive;

/// All peers, each at the position of its [`PeerIndex`].
#[derive(Debug, Default)]
pub struct Plan {
    /// Every peer there has been since this router started; those without a session have none in `send` and `receive`.
    pub peers: Vec<PeerPlan>,
}

impl Plan {
    /// The peer of an index.
    #[must_use]
    pub fn peer(&self, index: PeerIndex) -> Option<&PeerPlan> {
        self.peers.get(usize::try_from(index.0).ok()?)
    }
}

/// One peer as the data threads see it.
#[derive(Debug, Clone)]
pub struct PeerPlan {
    /// Who it is.
    pub identity: Identity,
    /// Where its datagrams go.
    pub hop: Hop,
    /// The largest UDP payload on the path.
    pub datagram_bytes: u16,
    /// The session to seal under, if there is one that the peer has confirmed.
    pub send: Option<Arc<DataSession>>,
    /// The sessions to open under, at most three, newest first.
    pub receive: Vec<Arc<DataSession>>,
}

/// Where datagrams for a peer go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Nowhere is known.
    Nowhere,
    /// To the peer's address. Envelopes of others for this peer may be passed on to it.
    Direct(SocketAddr),
    /// To this peer, which passes them on.
    Relay(PeerIndex),
}

/// The data keys of one handshake, both directions, a key for each queue. The secrets are wiped when it is dropped.
pub struct DataSession {
    /// Whose it is.
    pub peer: PeerIndex,
    /// The number by which the peer's envelopes name it.
    pub local_index: u32,
    /// The number by which ours do.
    pub remote_index: u32,
    /// How envelopes are sealed.
    pub suite: Suite,
    /// How many data queues the peer sends from.
    pub remote_queues: u8,
    send: Zeroizing<[u8; 32]>,
    receive: Zeroizing<[u8; 32]>,
    /// The queues whose sealer has been taken, a bit each.
    taken: [AtomicU64; 4],
    /// Those whose sealer for envelopes to be passed on has been.
    taken_relayed: [AtomicU64; 4],
}

/// What names a session and says how it seals: see the fields of [`DataSession`].
#[derive(Debug, Clone, Copy)]
pub struct SessionHead {
    /// Whose it is.
    pub peer: PeerIndex,
    /// The number by which the peer's envelopes name it.
    pub local_index: u32,
    /// The number by which ours do.
    pub remote_index: u32,
    /// How envelopes are sealed.
    pub suite: Suite,
    /// How many data queues the peer sends from.
    pub remote_queues: u8,
}

impl DataSession {
    /// A session of the two directions' secrets, from which the queues' keys are derived.
    #[must_use]
    pub fn new(head: SessionHead, send: Zeroizing<[u8; 32]>, receive: Zeroizing<[u8; 32]>) -> Self {
        let SessionHead { peer, local_index, remote_index, suite, remote_queues } = head;
        Self {
            peer,
            local_index,
            remote_index,
            suite,
            remote_queues,
            send,
            receive,
            taken: Default::default(),
            taken_relayed: Default::default(),
        }
    }

    /// The sealer of one of our queues. There is one: whoever asks again for the same queue gets a sealer that seals
    /// nothing, because two counters under one key would break the cipher.
    #[must_use]
    pub fn sealer(&self, queue: u8) -> Sealer {
        let sealer = Sealer::new(self.suite, &queue_key(&self.send, queue), Kind::Data, queue, self.remote_index);
        if take(&self.taken, queue) { sealer } else { sealer.exhausted() }
    }

    /// The sealer of what is put in front of envelopes that the peer is to pass on, for one of our queues. As
    /// [`Self::sealer`], there is one.
    #[must_use]
    pub fn relay_sealer(&self, queue: u8) -> Sealer {
        let sealer = Sealer::new(self.suite, &relay_key(&self.send, queue), Kind::Relayed, queue, self.remote_index);
        if take(&self.taken_relayed, queue) { sealer } else { sealer.exhausted() }
    }

    /// The opener of what one of the peer's queues puts in front of envelopes that we are to pass on.
    #[must_use]
    pub fn relay_opener(&self, queue: u8) -> Opener {
        Opener::new(self.suite, &relay_key(&self.receive, queue))
    }

    /// An opener for what one of the peer's queues sends. Whoever takes two has two replay windows: one thread asks, once.
    #[must_use]
    pub fn opener(&self, queue: u8) -> Opener {
        Opener::new(self.suite, &queue_key(&self.receive, queue))
    }
}

impl std::fmt::Debug for DataSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { peer, local_index, remote_index, suite, .. } = self;
        write!(f, "DataSession({peer:?}, local {local_index:08x}, remote {remote_index:08x}, {})", suite.name())
    }
}

/// Takes a queue's bit. Returns whether it was free.
fn take(taken: &[AtomicU64; 4], queue: u8) -> bool {
    let mask = 1 << (queue % 64);
    taken.get(usize::from(queue / 64)).is_some_and(|word| word.fetch_or(mask, Ordering::Relaxed) & mask == 0)
}

/// The key of one queue in one direction, for what is put in front of relayed envelopes.
fn relay_key(direction: &[u8; 32], queue: u8) -> Zeroizing<[u8; 32]> {
    derive(direction, &[b"raddle relay queue", &[queue]])
}

/// The key of one queue in one direction.
fn queue_key(direction: &[u8; 32], queue: u8) -> Zeroizing<[u8; 32]> {
    derive(direction, &[b"raddle data queue", &[queue]])
}

#[cfg(test)]
mod tests;
