//! What a ledger is told at its birth.
//!
//! Owns the numbers and their defaults. Knows nothing of where they come from.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use wire::{Genesis, Identity, Verify};

use crate::seal::verify;

/// What [`crate::Ipam`] needs to know. [`Config::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// This router.
    pub identity: Identity,
    /// Signs its records; the key of `identity`.
    pub signing_key: SigningKey,
    /// How the cluster began.
    pub genesis: Genesis,
    /// How long a freed slot is not given out again (invariant I7).
    pub rest: Duration,
    /// How long a sticky workload's address waits for it after a release, unless the claim says otherwise.
    pub hold: Hold,
    /// Below this share of a block's slots being free, a spare block is asked for; 0 = never.
    pub low_water_percent: u8,
    /// How long another router may take to answer before a claim that needs it fails.
    pub answer: Duration,
    /// Between two comparisons with the others.
    pub gossip: Duration,
    /// How many of its lines in the directory must be over for this router to have them forgotten.
    pub census_after: usize,
    /// Spreads periodic work, so that routers started together do not work together.
    pub seed: u64,
    /// The rules of revocation; anything but the default exists to show that the default is needed.
    pub rules: Rules,
    /// How signatures are checked; anything but the default is for simulations.
    pub verify: Verify,
}

impl Config {
    /// The defaults for a router with this key in this cluster.
    #[must_use]
    pub fn new(signing_key: SigningKey, genesis: Genesis) -> Self {
        let identity = Identity(signing_key.verifying_key().to_bytes());
        Self {
            identity,
            signing_key,
            genesis,
            rest: REST,
            hold: Hold::For(HOLD),
            low_water_percent: LOW_WATER_PERCENT,
            answer: ANSWER,
            gossip: GOSSIP,
            census_after: CENSUS_AFTER,
            seed: 0,
            rules: Rules::default(),
            verify,
        }
    }
}

/// How long an address waits for its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// So long; zero = not at all.
    For(Duration),
    /// Until somebody releases the workload.
    Forever,
}

impl Hold {
    /// The number in formats: seconds, none = for ever.
    #[must_use]
    pub fn seconds(self) -> Option<u64> {
        match self {
            Self::For(duration) => Some(duration.as_secs()),
            Self::Forever => None,
        }
    }

    /// The opposite of [`Hold::seconds`].
    #[must_use]
    pub fn from_seconds(seconds: Option<u64>) -> Self {
        // A century is for ever, and deadlines must stay inside what an `Instant` can express.
        seconds
            .filter(|seconds| *seconds < 100 * 366 * 86_400)
            .map_or(Self::Forever, |seconds| Self::For(Duration::from_secs(seconds)))
    }
}

/// The rules that make a revocation safe (invariant I6), each with the weaker form that looks right and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Who must have promised.
    pub quorum: Quorum,
    /// What a promise means for the victims' records that come later.
    pub promise: PromiseRule,
    /// Which identities count as members.
    pub counted: Counted,
}

/// Who must have promised before a revocation commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quorum {
    /// Every member that is not to be revoked.
    #[default]
    All,
    /// More than half of them: gives the same address twice.
    Majority,
}

/// What a promise means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromiseRule {
    /// Records by or to the victims that were not named in it are refused.
    #[default]
    RefusesLateRecords,
    /// It is an answer and nothing more: gives the same address twice.
    MerelyAnswers,
}

/// Which identities count as members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counted {
    /// Every identity ever admitted.
    #[default]
    EverAdmitted,
    /// Those that are connected: gives the same address twice.
    Connected,
}

/// Longer than any ARP cache, connection tracker or DNS answer that names the old user is trusted for.
pub const REST: Duration = Duration::from_secs(120);
/// Long enough to redeploy a service by hand, short enough that names used once do not pile up.
pub const HOLD: Duration = Duration::from_secs(600);
/// A quarter of a block: enough starts to bridge the time a new block needs on a slow link.
pub const LOW_WATER_PERCENT: u8 = 25;
/// Many round trips to a host that answers, and under the 4.5 s that the CNI plugin waits for this router's own answer, so
/// that its user reads who did not answer.
pub const ANSWER: Duration = Duration::from_secs(4);
/// A round is some twenty bytes to each of three peers, and a heal is noticed within 15 s.
pub const GOSSIP: Duration = Duration::from_secs(10);
/// Each time costs a message to everybody: few enough to keep nothing long, many enough to be rare.
pub const CENSUS_AFTER: usize = 64;
