//! What an operator is shown about peers and about what was dropped.
//!
//! Owns the words. Decides nothing.

use std::net::SocketAddr;
use std::time::Duration;

use wire::{Identity, PeerIndex, PeerName};

use crate::aead::Suite;
use crate::route::Route;

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Its name.
    pub name: PeerName,
    /// Its identity.
    pub identity: Identity,
    /// Its place in the plan.
    pub index: PeerIndex,
    /// Where it was last, or may be.
    pub address: Option<SocketAddr>,
    /// Whether it can be talked to.
    pub state: PeerState,
    /// How its datagrams go.
    pub route: Route,
    /// The smoothed round trip.
    pub round_trip: Option<Duration>,
    /// How its data envelopes are sealed.
    pub suite: Option<Suite>,
    /// The largest IP packet on the path.
    pub mtu_bytes: u16,
    /// How long it has been in this state.
    pub since: Duration,
    /// Messages for it that were dropped because too many waited.
    pub dropped_messages: u64,
    /// The neighbour that reaches it by two relays, where that is why there is no way: nothing is passed on a third time.
    pub far_by: Option<Identity>,
}

/// Whether a peer can be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Not met yet.
    Connecting,
    /// A session is in use.
    Connected,
    /// A session is in use, and the peer is silent, or answers on streams alone.
    Suspect,
    /// Lost; it is being called.
    Down,
    /// No member any more.
    Revoked,
}

impl PeerState {
    /// The word in `raddle peers`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Revoked => "revoked",
        }
    }
}

/// What came in and led to nothing, and what was spent on strangers. Only ever rises.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams and stream messages that are nothing we read.
    pub malformed: u64,
    /// Handshake messages without a valid mac1, or beyond their source's budget.
    pub gated: u64,
    /// Initiations answered with a cookie.
    pub challenged: u64,
    /// Handshake messages on which a Diffie-Hellman was spent.
    pub handshakes: u64,
    /// Initiations that had been seen before.
    pub replayed_calls: u64,
    /// Initiations from keys that are no member's.
    pub strangers: u64,
    /// Envelopes for no session, or that did not open.
    pub unopened: u64,
    /// Envelopes whose counter had been seen.
    pub replayed: u64,
    /// Streams closed before anybody proved anything on them.
    pub nobodys_streams: u64,
    /// Messages for peers that were not there.
    pub undeliverable: u64,
    /// Messages passed on from one peer to another that it does not reach.
    pub relayed: u64,
    /// Messages to be passed on that were not: for nobody we reach, passed on once already, of no kind that is passed on,
    /// or more than the receiver takes.
    pub unrelayed: u64,
}

impl Counters {
    /// What was refused or lost, with the reason's name.
    #[must_use]
    pub fn drops(&self) -> [(&'static str, u64); 10] {
        [
            ("malformed-message", self.malformed),
            ("handshake-refused", self.gated),
            ("handshake-challenged", self.challenged),
            ("handshake-replayed", self.replayed_calls),
            ("handshake-stranger", self.strangers),
            ("message-unopened", self.unopened),
            ("message-replayed", self.replayed),
            ("message-undeliverable", self.undeliverable),
            ("message-not-relayed", self.unrelayed),
            ("stream-unproven", self.nobodys_streams),
        ]
    }
}
