//! One peer: everything the mesh keeps about it, and what is due when.
//!
//! Owns no decision of its own; the rooms it is made of do. Knows no other peer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::{Identity, PeerIndex};

use crate::calling::Calling;
use crate::channel::Channel;
use crate::config::PeerTimes;
use crate::handshake::Stamp;
use crate::liveness::{Liveness, Verdict};
use crate::path::Path;
use crate::plan::{Hop, PeerPlan};
use crate::route::Route;
use crate::session::Sessions;
use crate::view::PeerState;
use crate::ways::{Way, Ways};

/// One peer.
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) index: PeerIndex,
    pub(crate) noise_public: [u8; 32],
    pub(crate) path: Path,
    pub(crate) ways: Ways,
    pub(crate) sessions: Sessions,
    pub(crate) calling: Calling,
    pub(crate) liveness: Liveness,
    pub(crate) channel: Channel,
    pub(crate) phase: Phase,
    /// The greatest stamp it called with: an older call is a replay.
    pub(crate) stamp: Option<Stamp>,
    /// What it asked to be shown under load, and when.
    pub(crate) cookie: Option<([u8; 16], Instant)>,
    /// When rosters were last compared with it.
    pub(crate) compared: Option<Instant>,
    /// When a datagram of its came last: what a NAT between us goes by.
    pub(crate) datagram: Instant,
}

/// Where the acquaintance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Never met since this router started.
    New { since: Instant },
    /// A session is in use, with this life of the peer.
    Up { since: Instant, boot: u32 },
    /// Met, and lost.
    Down { since: Instant },
    /// No member any more. If it called, it was answered then, to be told so: no data keys, and nothing it says is heard.
    Revoked { since: Instant, answered: Option<Instant> },
}

impl Peer {
    pub(crate) fn new(
        identity: Identity,
        index: PeerIndex,
        noise_public: [u8; 32],
        times: PeerTimes,
        now: Instant,
    ) -> Self {
        Self {
            identity,
            index,
            noise_public,
            path: Path::new(now),
            ways: Ways::new(now),
            sessions: Sessions::default(),
            calling: Calling::default(),
            liveness: Liveness::new(times, now),
            channel: Channel::default(),
            phase: Phase::New { since: now },
            stamp: None,
            cookie: None,
            compared: None,
            datagram: now,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.phase, Phase::Revoked { .. })
    }

    /// Whether something can be said to it.
    pub(crate) fn is_reachable(&self) -> bool {
        self.is_up() || self.is_revoked() && self.sessions.current().is_some()
    }

    /// Whether its call is answered. Those of the revoked are, but seldom: so that they learn it.
    pub(crate) fn admits_call(&mut self, now: Instant) -> bool {
        let Phase::Revoked { answered, .. } = &mut self.phase else { return true };
        let admitted = answered.is_none_or(|at| now.saturating_duration_since(at) >= AUDIENCE_PAUSE);
        if admitted {
            *answered = Some(now);
        }
        admitted
    }

    /// When the session with a revoked member ends.
    pub(crate) fn audience_end(&self) -> Option<Instant> {
        let Phase::Revoked { answered, .. } = self.phase else { return None };
        answered.filter(|_| !self.sessions.is_empty()).map(|at| at + AUDIENCE)
    }

    /// Whether a new handshake is wanted.
    pub(crate) fn wants_call(&self, now: Instant) -> bool {
        match self.phase {
            Phase::New { .. } | Phase::Down { .. } => true,
            Phase::Up { .. } => self.sessions.is_due(now) || self.liveness.verdict(now) != Verdict::Alive,
            Phase::Revoked { .. } => false,
        }
    }

    /// The cookie to show, if it is still worth something.
    pub(crate) fn valid_cookie(&self, now: Instant) -> Option<[u8; 16]> {
        self.cookie.filter(|(_, since)| now.saturating_duration_since(*since) < COOKIE_LIFE).map(|(cookie, _)| cookie)
    }

    /// When it is asked so that a NAT in front of it does not forget it. Nobody else needs that.
    pub(crate) fn keep_open(&self) -> Option<Instant> {
        (self.is_up() && self.path.is_translated()).then(|| self.datagram + KEEP_OPEN)
    }

    /// When something is due, and nothing before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let call = if self.wants_call(now) { Some(self.calling.deadline().unwrap_or(now)) } else { None };
        let (mut renew, mut listen, mut sound) = (None, None, None);
        if self.is_up() {
            sound = if self.path.mtu.is_about(self.sounded()) { self.path.mtu.deadline() } else { Some(now) };
            renew = self.sessions.current().map(|session| session.life.renew).filter(|renew| *renew > now);
            listen = [self.liveness.deadline(now), self.keep_open()].into_iter().flatten().min();
        }
        let expiry = self.sessions.deadline();
        let audience = self.audience_end();
        let ways = if self.is_revoked() { None } else { self.ways.deadline(self.is_up(), now) };
        [call, renew, listen, expiry, audience, ways, sound, self.channel.deadline()].into_iter().flatten().min()
    }

    /// The peer as the data threads see it, sent to this way.
    pub(crate) fn plan(&self, hop: Hop, datagram_bytes: u16) -> PeerPlan {
        PeerPlan {
            identity: self.identity,
            hop,
            datagram_bytes,
            send: self.sessions.carrying().filter(|_| self.is_up()).map(|session| session.data.clone()),
            receive: if self.is_revoked() { Vec::new() } else { self.sessions.data() },
        }
    }

    /// The path whose size is sounded: the direct one, while it is used.
    pub(crate) fn sounded(&self) -> Option<SocketAddr> {
        self.path.endpoint().filter(|_| self.is_up() && !self.ways.is_relayed())
    }

    /// What an operator sees.
    pub(crate) fn state(&self, now: Instant) -> (PeerState, Duration) {
        let (state, since) = match self.phase {
            Phase::New { since } => (PeerState::Connecting, since),
            Phase::Down { since } => (PeerState::Down, since),
            Phase::Revoked { since, .. } => (PeerState::Revoked, since),
            Phase::Up { since, .. } if self.is_answering(now) => (PeerState::Connected, since),
            Phase::Up { since, .. } => (PeerState::Suspect, since),
        };
        (state, now.saturating_duration_since(since))
    }

    /// Whether it lives, and datagrams lead there and back: its stream alone carries no frames.
    fn is_answering(&self, now: Instant) -> bool {
        self.ways.is_open() && self.liveness.verdict(now) == Verdict::Alive
    }

    /// How its datagrams go.
    pub(crate) fn route(&self) -> Route {
        match (self.ways.used(), self.path.endpoint()) {
            (Some(Way::Relay(relay)), _) if self.is_up() => Route::Relay(relay),
            (_, Some(address)) if self.is_up() => Route::Direct(address),
            (_, _) => Route::None,
        }
    }

    /// Whether it is a neighbour that others may be reached by.
    pub(crate) fn is_relay(&self) -> bool {
        self.is_up() && !self.ways.is_relayed()
    }

    /// Where to send a datagram.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.path.endpoint()
    }
}

/// The shortest life of a UDP mapping that is seen in the field is 30 s; one question may be lost.
const KEEP_OPEN: Duration = Duration::from_secs(12);
/// The peer's own cookie secret lives as long.
const COOKIE_LIFE: Duration = Duration::from_secs(120);
/// Enough for a revoked member to dial a stream and take the proof; lost, it calls again.
const AUDIENCE: Duration = Duration::from_secs(10);
/// A revoked member may call as often as it likes, and costs two answers a second at most.
const AUDIENCE_PAUSE: Duration = Duration::from_millis(500);
