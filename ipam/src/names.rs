//! Who is the registrar of a name, and what a registrar remembers.
//!
//! Decides which of several hosts that start one workload at once may. Knows nothing of addresses or messages.
//!
//! Every name orders all routers in a way of its own. Its registrar is the first in that order whom a claimant is connected
//! to, itself included: claimants that see the same routers ask the same one, and the names are spread over all. A pledge is
//! kept in memory only, for the moment between the question and the line in the directory that the claimant publishes: what
//! is lost with it costs one name that is started twice, never an address.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::message::{Name, NameVerdict};
use wire::{Hash, Identity};

use crate::lease::LeaseKey;
use crate::seal::hash_of;

/// Names promised to claimants whose line in the directory has not come yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pledges {
    by_key: BTreeMap<LeaseKey, Pledge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pledge {
    question: Question,
    until: Instant,
}

/// What a claimant asks of a registrar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) claimant: Identity,
    /// Tells it from the claimant's earlier ones.
    pub(crate) attempt: u64,
    /// The number of the claimant's next line: the one it publishes if it may has this or a higher one.
    pub(crate) number: u64,
}

/// Longer than a claim may take altogether (4 s) and its line to arrive; a claimant that died keeps a name for no longer.
const PLEDGE: Duration = Duration::from_secs(8);
/// Far more than all hosts start within [`PLEDGE`]; few enough that nobody fills the memory.
const PLEDGES_MAX: usize = 65_536;
/// The version of what a rank is the hash of: routers must agree on it.
const RANK_VERSION: u8 = 1;

/// The place of a router in the order of a name: the lowest is its registrar.
pub(crate) fn rank(key: &LeaseKey, router: Identity) -> Hash {
    hash_of(RANK_VERSION, &(key.network, &key.workload, &key.ifname, router))
}

impl Pledges {
    /// Gives a name to whoever asks first.
    pub(crate) fn give(&mut self, key: &LeaseKey, question: Question, now: Instant) -> NameVerdict {
        let earlier = self.by_key.get(key).filter(|pledge| pledge.until > now).map(|pledge| pledge.question);
        let Question { claimant, attempt, number } = question;
        let question = match earlier {
            Some(earlier) if earlier.claimant != claimant => return NameVerdict::Claimed { by: earlier.claimant },
            // An old question that comes again must not bring the claimant's old withdrawal, or old line, back to life.
            Some(earlier) => {
                Question { claimant, attempt: attempt.max(earlier.attempt), number: number.max(earlier.number) }
            }
            None => question,
        };
        if self.by_key.len() >= PLEDGES_MAX {
            self.by_key.retain(|_, pledge| pledge.until > now);
        }
        if self.by_key.len() < PLEDGES_MAX {
            self.by_key.insert(key.clone(), Pledge { question, until: now + PLEDGE });
        }
        NameVerdict::Granted
    }

    /// The claimant does not need it any more.
    pub(crate) fn take_back(&mut self, key: &LeaseKey, claimant: Identity, attempt: u64) {
        let is_it = |question: Question| question.claimant == claimant && question.attempt == attempt;
        if self.by_key.get(key).is_some_and(|pledge| is_it(pledge.question)) {
            self.by_key.remove(key);
        }
    }

    /// The claimant's own line has come and says more. What it said before it asked may come as late.
    pub(crate) fn fulfil(&mut self, key: &LeaseKey, author: Identity, number: u64) {
        let is_it = |question: Question| question.claimant == author && question.number <= number;
        if self.by_key.get(key).is_some_and(|pledge| is_it(pledge.question)) {
            self.by_key.remove(key);
        }
    }

    /// Forgets those that are over.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.by_key.retain(|_, pledge| pledge.until > now);
    }
}

impl From<Name> for LeaseKey {
    fn from(Name { network, workload, ifname }: Name) -> Self {
        Self { network, workload, ifname }
    }
}

impl From<LeaseKey> for Name {
    fn from(LeaseKey { network, workload, ifname }: LeaseKey) -> Self {
        Self { network, workload, ifname }
    }
}
