//! What a mesh can be told at its start. Plain values; the default is what an operator gets.

use std::time::Duration;

use wire::Addresses;

use crate::aead::Suite;
use crate::primitives::Primitives;

/// The knobs of a [`Mesh`](crate::Mesh).
#[derive(Debug, Clone)]
pub struct Config {
    /// Where this router listens, best first: told to all members.
    pub addresses: Addresses,
    /// The suites to offer, best first.
    pub suites: Vec<Suite>,
    /// How many data queues this router sends from.
    pub queues: u8,
    /// The largest packet that this host's end of the underlay takes, until [`crate::Mesh::set_underlay_mtu`] says otherwise: no
    /// path is tried with more.
    pub underlay_mtu_bytes: u16,
    /// When sessions are renewed and given up.
    pub session: SessionTimes,
    /// When peers are called, and when they are called dead.
    pub peer: PeerTimes,
    /// How much a flood may cost.
    pub gate: GateLimits,
    /// What is computed with; anything but the default is for simulations.
    pub primitives: Primitives,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            suites: Suite::supported().to_vec(),
            queues: 1,
            underlay_mtu_bytes: 1500,
            session: SessionTimes::default(),
            peer: PeerTimes::default(),
            gate: GateLimits::default(),
            primitives: Primitives::default(),
        }
    }
}

/// The life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    /// If it carries frames, its initiator makes a new one after this long, less or more by up to `jitter`.
    pub renew: Duration,
    /// Keeps the routers of a cluster from renewing all at once.
    pub jitter: Duration,
    /// No frame is sealed or opened under a session this old, unless it carried none before: then until its successor is there.
    pub refuse: Duration,
    /// A session that carries no frames is renewed after this long.
    pub idle: Duration,
}

impl Default for SessionTimes {
    /// WireGuard's figures: short enough for forward secrecy, long enough that the handshakes cost nothing. An idle pair in a
    /// cluster of a thousand costs each of them a handshake every four seconds in sum.
    fn default() -> Self {
        Self {
            renew: Duration::from_secs(120),
            jitter: Duration::from_secs(10),
            refuse: Duration::from_secs(180),
            idle: Duration::from_secs(3600),
        }
    }
}

/// The rhythm of calling and listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerTimes {
    /// The pause after the first unanswered handshake; each further one is half as long again.
    pub retry: Duration,
    /// The longest such pause, which is also how long the end of a partition may go unnoticed.
    pub retry_most: Duration,
    /// A peer that frames go to and that has not been heard for this long is asked whether it is there.
    pub keepalive: Duration,
    /// After this long without an answer a new handshake is tried beside the session: the peer may have lost its own.
    pub suspect: Duration,
    /// After this long without an answer the peer is down.
    pub silence: Duration,
    /// The same, when the other routers have come to that verdict as well.
    pub agreed: Duration,
}

impl Default for PeerTimes {
    fn default() -> Self {
        Self {
            retry: Duration::from_millis(250),
            retry_most: Duration::from_secs(5),
            keepalive: Duration::from_secs(2),
            suspect: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            agreed: Duration::from_secs(5),
        }
    }
}

/// What may be spent on initiations from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Initiations of one source (an IPv4 address, an IPv6 /64) in a second.
    pub source_per_second: u32,
    /// How many of them may come at once.
    pub source_burst: u32,
    /// Initiations of all sources in a second; each costs about 0.3 ms of a core.
    pub total_per_second: u32,
    /// Sources remembered at a time; beyond it everybody must show a cookie.
    pub sources: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self { source_per_second: 20, source_burst: 5, total_per_second: 500, sources: 4096 }
    }
}
