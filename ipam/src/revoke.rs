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

use wire::message::{Ask, Commit, Promise, REVOCATION_VERSION};
use wire::{Hash, Identity, Record};

use crate::config::{Quorum, Rules};
use crate::event::RequestId;
use crate::lease::PeerLabel;
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
        "{} did not answer; the revocation completes when each has, or revoke them too: raddle revoke {} {}{}",
        join(missing),
        join(victims),
        join(missing),
        second_word(victims, alive)
    )]
    Blocked {
        /// Who is to be revoked.
        victims: Vec<PeerLabel>,
        /// Who has not promised.
        missing: Vec<PeerLabel>,
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
    /// Committed, in the order in which this router heard of them.
    pub(crate) commits: BTreeMap<Hash, Commit>,
    /// Given by this router, the newest to each asker.
    pub(crate) promises: BTreeMap<Identity, (Ask, Promise)>,
    /// The newest question of each asker that this router does not answer, for it sees a victim alive.
    pub(crate) unanswered: BTreeMap<Identity, Ask>,
    /// Asked by this router.
    pub(crate) asking: BTreeMap<Hash, Asking>,
    /// Who waits for an answer.
    pub(crate) requests: Vec<Request>,
    /// Proven, but some record, member or earlier revocation they name is not here yet.
    pub(crate) incomplete: BTreeMap<Hash, (Commit, Voucher)>,
    /// Revoked, and told so since the last round.
    pub(crate) told: BTreeSet<Identity>,
    /// Not believed, and said so.
    pub(crate) doubted: BTreeSet<Hash>,
}

/// Whether somebody's question names a revocation as earlier, so that it holds whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voucher {
    Asker,
    Nobody,
}

impl Revocations {
    /// Whether a later revocation names this one as earlier.
    pub(crate) fn is_named(&self, hash: &Hash) -> bool {
        let waiting = self.incomplete.values().map(|(commit, _)| commit);
        self.commits.values().chain(waiting).any(|commit| commit.ask.earlier.contains(hash))
    }
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
}

/// A revocation this router asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) ask: Ask,
    pub(crate) promises: BTreeMap<Identity, Promise>,
    /// What the promises name: nobody takes these any more until the commit does.
    pub(crate) records: BTreeMap<Hash, Record>,
}

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
