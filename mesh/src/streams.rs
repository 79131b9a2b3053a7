//! One stream, and what it has proven to be.
//!
//! Owns the reading of its messages and the patience with strangers. Knows no key.
//!
//! ```text
//!   Stranger ──an envelope that says Bind──▶ Bound(peer)         Dialed ──same──▶ Bound       Asking ──answer──▶ closed
//!      └──────first contact────▶ Applying                        each but Bound ──patience──▶ closed
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::Identity;
use wire::envelope::Frames;

use crate::sponsor::Sponsor;

/// A stream as the mesh sees it.
pub(crate) struct Stream {
    pub(crate) frames: Frames,
    pub(crate) standing: Standing,
    /// Whether a stranger has asked for our cluster on it: once is enough.
    pub(crate) probed: bool,
}

/// Whose a stream is.
pub(crate) enum Standing {
    /// Somebody came, and has proven nothing.
    Stranger { from: SocketAddr, until: Instant },
    /// We dialled a peer, which has proven nothing.
    Dialed { peer: Identity, until: Instant },
    /// We dialled an address that an operator named, to ask who is there.
    Asking { address: SocketAddr, until: Instant },
    /// A peer's.
    Bound(Identity),
    /// An applicant's.
    Applying { from: SocketAddr, until: Instant, sponsor: Box<Sponsor> },
}

impl Stream {
    /// A stream on which nothing has been proven.
    pub(crate) fn new(standing: Standing) -> Self {
        let mut frames = Frames::new();
        frames.limit(STRANGER_BYTES);
        Self { frames, standing, probed: false }
    }

    /// The peer has proven itself.
    pub(crate) fn bind(&mut self, peer: Identity) {
        self.frames.limit(usize::MAX);
        self.standing = Standing::Bound(peer);
    }

    /// Where it came from, if it has proven nothing.
    pub(crate) fn stranger(&self) -> Option<SocketAddr> {
        match self.standing {
            Standing::Stranger { from, .. } | Standing::Applying { from, .. } => Some(from),
            Standing::Dialed { .. } | Standing::Asking { .. } | Standing::Bound(_) => None,
        }
    }

    /// The named address that is asked on it.
    pub(crate) fn asked(&self) -> Option<SocketAddr> {
        if let Standing::Asking { address, .. } = self.standing { Some(address) } else { None }
    }

    /// When patience ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.standing {
            Standing::Stranger { until, .. }
            | Standing::Dialed { until, .. }
            | Standing::Asking { until, .. }
            | Standing::Applying { until, .. } => Some(until),
            Standing::Bound(_) => None,
        }
    }

    /// Whether somebody came who has not even said what it wants to prove.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.standing, Standing::Stranger { .. })
    }

    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.standing, Standing::Bound(_))
    }
}

/// How long a stranger may hold a stream without proving anything.
pub(crate) const STRANGER_PATIENCE: Duration = Duration::from_secs(5);
/// How long an applicant may take: our ledger, and a disk, are in it.
pub(crate) const APPLICANT_PATIENCE: Duration = Duration::from_secs(30);
/// The longest message of one who has proven nothing: an applicant's proof with all its addresses has less than 1 KiB.
const STRANGER_BYTES: usize = 4096;
/// Streams from one host (an IPv4 address, an IPv6 /64) that have proven nothing: enough for one that restarts again and
/// again.
pub(crate) const STRANGERS_A_HOST: usize = 8;
/// Streams that have proven nothing, at a time. As many again are for hosts on which members are.
pub(crate) const STRANGERS_MOST: usize = 64;
