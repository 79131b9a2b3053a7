//! When a revocation is decided (invariant I6).
//!
//! Decides who must promise, and whether a commit proves that everybody did. Knows nothing of what the victims owned.
//!
//! ```text
//!   asker ── Ask ─────▶ member     refuses the victims' later records, durably, and lists those it holds
//!         ◀── Promise ──
//!         ── Commit ──▶ everybody  the victims' records are those listed, and no others; their ranges go to the heirs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wire::message::{ASSEMBLED_BYTES_MAX, Ask, Commit, Promise, REVOCATION_VERSION};
use wire::{Hash, Identity};

use crate::config::{Quorum, Rules};
use crate::gathering::Gathering;
use crate::lease::{PeerLabel, RequestId};
use crate::seal::{hash_of, is_signed_by, verify};

/// Why an identity is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// Nobody by that name or identity was ever admitted.
    #[error("no router {who:?} was ever admitted")]
    Unknown {
        /// What was asked for.
        who: String,
    },
    /// A router does not revoke itself.
    #[error("a router does not revoke itself; ask another one")]
    Itself,
    /// The revocation completes when these have promised, or are revoked in the same step.
    #[error(
        "{}; the revocation completes when each has, or revoke them too: raddle revoke {} {}{}",
        why_missing(missing, unproven),
        join(victims),
        join(missing),
        second_word(victims, alive)
    )]
    Blocked {
        /// Who is to be revoked.
        victims: Vec<PeerLabel>,
        /// Who has not promised.
        missing: Vec<PeerLabel>,
        /// Which of them answered, and named records or routers that it does not show.
        unproven: Vec<PeerLabel>,
        /// Which of the victims is connected: whoever else sees it waits for a second router to ask.
        alive: Vec<PeerLabel>,
    },
    /// Another router asks for the same, and more: what it hears decides.
    #[error(
        "{asker} asks to revoke {} too; the revocation completes when its question is answered: see there who did not \
         answer",
        join(victims)
    )]
    AskedElsewhere {
        /// Who is to be revoked.
        victims: Vec<PeerLabel>,
        /// Who asks.
        asker: PeerLabel,
    },
    /// What it would have to name is more than a message holds.
    #[error(
        "too much to name: a revocation of {} names {records} records, and one among {routers} routers holds {most}",
        join(victims)
    )]
    TooMuch {
        /// Who is to be revoked.
        victims: Vec<PeerLabel>,
        /// Records by or to them.
        records: usize,
        /// Who is asked.
        routers: usize,
        /// How many could be named.
        most: usize,
    },
    /// The store cannot be written.
    #[error("the store cannot be written")]
    ReadOnly,
    /// This router's store was restored from a copy.
    #[error("this router's store was restored from a copy; ask another one")]
    RolledBackHere,
    /// This router was revoked.
    #[error("this router was revoked itself")]
    RevokedHere,
}

fn join(labels: &[PeerLabel]) -> String {
    labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn why_missing(missing: &[PeerLabel], unproven: &[PeerLabel]) -> String {
    let silent: Vec<_> = missing.iter().filter(|label| !unproven.contains(label)).cloned().collect();
    let silent = (!silent.is_empty()).then(|| format!("{} did not answer", join(&silent)));
    let unproven = (!unproven.is_empty())
        .then(|| format!("{} answered with records or routers that it has not shown", join(unproven)));
    let why: Vec<_> = silent.into_iter().chain(unproven).collect();
    if why.is_empty() { "not every promise is carried out yet".to_owned() } else { why.join("; ") }
}

fn second_word(victims: &[PeerLabel], alive: &[PeerLabel]) -> String {
    match alive {
        [] => String::new(),
        alive => format!(
            "; {} answers, and whoever sees that wants a second router to ask: run 'raddle revoke {}' on another one too",
            join(alive),
            join(victims)
        ),
    }
}

/// Revocations under way and done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Revocations {
    /// Committed. In which order this router heard of them is in the store alone.
    pub(crate) commits: BTreeMap<Hash, Commit>,
    /// The newest question of each asker that this router does not answer yet, for it sees a victim alive, or has not heard of
    /// every revocation that was before.
    pub(crate) unanswered: BTreeMap<Identity, Ask>,
    /// Asked by this router.
    pub(crate) asking: BTreeMap<Hash, Asking>,
    /// Who waits for an answer.
    pub(crate) requests: Vec<Request>,
    /// Proven, but some record, member or earlier revocation they name is not here yet.
    pub(crate) incomplete: BTreeMap<Hash, Incomplete>,
    /// Revoked, and told so since the last round.
    pub(crate) told: BTreeSet<Identity>,
    /// Not believed, and said so.
    pub(crate) doubted: BTreeSet<Hash>,
}

/// Whether a revocation holds whoever asked for it: somebody's question names it as earlier, or he tells it in place of his
/// promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voucher {
    Member,
    Nobody,
}

impl Revocations {
    /// Whether this router knows what was decided, whatever it thinks of it.
    pub(crate) fn has_heard_of(&self, hash: &Hash) -> bool {
        self.commits.contains_key(hash) || self.incomplete.contains_key(hash) || self.doubted.contains(hash)
    }
}

/// A revocation that is decided and cannot be carried out yet.
#[derive(Debug, Clone)]
pub(crate) struct Incomplete {
    pub(crate) commit: Commit,
    pub(crate) decision: Decision,
    pub(crate) voucher: Voucher,
    pub(crate) gathering: Gathering,
}

/// Somebody waits for some identities to be revoked, by whichever question.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) victims: Vec<Identity>,
    pub(crate) until: Instant,
}

/// A revocation that somebody asks for and that is not decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub asker: PeerLabel,
    /// Who is to be revoked.
    pub victims: Vec<PeerLabel>,
    /// Whether this router has promised.
    pub answer: Answer,
}

/// What this router says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It refuses the victims from now on.
    Promised,
    /// It sees one of them alive, and waits for a second router to ask.
    Waits,
    /// It does not know yet of every revocation that was before.
    Behind,
}

/// A revocation this router asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) ask: Ask,
    pub(crate) promises: BTreeMap<Identity, Promise>,
    /// Those that name what is not here yet: they do not count before.
    pub(crate) unproven: BTreeMap<Identity, Promise>,
    /// What the promises name: nobody takes these any more until the commit does.
    pub(crate) gathering: Gathering,
}

impl Asking {
    pub(crate) fn new(ask: Ask, own: Promise) -> Self {
        let promises = BTreeMap::from([(own.body.promiser, own)]);
        Self { ask, promises, unproven: BTreeMap::new(), gathering: Gathering::default() }
    }

    /// Whether somebody's promise names the record of this hash.
    pub(crate) fn is_named(&self, hash: &Hash) -> bool {
        let mut promises = self.promises.values().chain(self.unproven.values());
        promises.any(|promise| promise.body.beyond.binary_search(hash).is_ok())
    }
}

/// Bytes that a commit's names take, of records, earlier revocations and routers: each router once among the members, and
/// with its promise. What promisers add of their own comes on top.
pub(crate) fn bytes_of_names(ask: &Ask) -> usize {
    let names = ask.victims.len() + ask.earlier.len() + ask.known.len();
    names * HASH_BYTES + ask.members.len() * (HASH_BYTES + PROMISE_BYTES)
}

/// How many records a question could name.
pub(crate) fn records_at_most(ask: &Ask) -> usize {
    let others = bytes_of_names(ask) - ask.known.len() * HASH_BYTES;
    COMMIT_BYTES_MAX.saturating_sub(others) / HASH_BYTES
}

/// A hash, or an identity.
const HASH_BYTES: usize = 32;
/// A promise that adds nothing: question, promiser, two lengths and the signature.
const PROMISE_BYTES: usize = 32 + 32 + 2 + 64;
/// What is sent along with a question, a promise or a decision, of records or of earlier revocations: a convenience for the
/// usual case, in which these are few. Who lacks more asks for it.
pub(crate) const ALONG_BYTES: usize = 256 << 10;
/// The longest commit, so that it can be sent with that.
pub(crate) const COMMIT_BYTES_MAX: usize = ASSEMBLED_BYTES_MAX - 2 * ALONG_BYTES;

/// Revocations whose records are still on the way: more at once is nobody's honest work.
pub(crate) const INCOMPLETE_MAX: usize = 16;

/// Doubts told: an operator has looked by then, or never will.
pub(crate) const DOUBTED_MAX: usize = 64;

/// What a proven commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) victims: BTreeSet<Identity>,
    /// The heirs are of these.
    pub(crate) members: BTreeSet<Identity>,
    /// Every record by or to a victim that counts.
    pub(crate) records: BTreeSet<Hash>,
}

pub(crate) fn hash_of_ask(ask: &Ask) -> Hash {
    hash_of(REVOCATION_VERSION, ask)
}

/// Of the question: one revocation is one, whoever's promises came in first.
pub(crate) fn hash_of_commit(commit: &Commit) -> Hash {
    hash_of(REVOCATION_VERSION, &("raddle commit", &commit.ask))
}

/// Whether the promise is its promiser's word on that question.
pub(crate) fn is_promise_on(promise: &Promise, ask: &Hash) -> bool {
    let body = &promise.body;
    body.ask == *ask && is_signed_by(verify, body.promiser, REVOCATION_VERSION, body, &promise.signature)
}

/// Who has to promise, by what the asker and the promisers know.
pub(crate) fn electorate<'a>(ask: &Ask, promises: impl Iterator<Item = &'a Promise>) -> BTreeSet<Identity> {
    let told = promises.flat_map(|promise| promise.body.members.iter());
    let everybody = ask.members.iter().chain(told).copied();
    everybody.filter(|member| !ask.victims.contains(member)).collect()
}

/// Who of them has not; empty = decided.
pub(crate) fn missing<'a>(
    ask: &Ask,
    promises: impl Iterator<Item = &'a Promise> + Clone,
    rules: Rules,
) -> BTreeSet<Identity> {
    let electorate = electorate(ask, promises.clone());
    let promised: BTreeSet<_> = promises.map(|promise| promise.body.promiser).collect();
    let enough = match rules.quorum {
        Quorum::All => electorate.len(),
        Quorum::Majority => electorate.len() / 2 + 1,
    };
    if promised.intersection(&electorate).count() >= enough {
        return BTreeSet::new();
    }
    electorate.difference(&promised).copied().collect()
}

/// What a commit says, if its promises prove it: the asker's own is among them, so no question is decided by nobody.
pub(crate) fn prove(commit: &Commit, rules: Rules) -> Option<Decision> {
    let Commit { ask, promises } = commit;
    let question = hash_of_ask(ask);
    let proven = promises.iter().all(|promise| is_promise_on(promise, &question));
    let members = electorate(ask, promises.iter());
    let has_asked = promises.iter().any(|promise| promise.body.promiser == ask.asker) && members.contains(&ask.asker);
    if !proven || !has_asked || !missing(ask, promises.iter(), rules).is_empty() {
        return None;
    }
    let beyond = promises.iter().flat_map(|promise| promise.body.beyond.iter());
    Some(Decision {
        victims: ask.victims.iter().copied().collect(),
        members,
        records: ask.known.iter().chain(beyond).copied().collect(),
    })
}

#[cfg(test)]
mod tests;
