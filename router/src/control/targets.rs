//! Addresses that the operator gave, to be tried beside what members say of themselves.
//!
//! Owns the list, its place in the store, and what the names on it were last found to mean. They are looked up again and again,
//! because they move; one that cannot be looked up means what it meant, and is tried again soon. The mesh tries so many
//! addresses at a time; if there are more, they take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Control;
use super::inputs::Lookup;
use crate::cli::PeerAddress;
use crate::memory::targets_change;
use crate::storage::Change;
use crate::underlay::Underlay;

/// The addresses, as they were given.
pub(crate) struct Targets {
    stored: Vec<String>,
    given: Vec<PeerAddress>,
    /// What each was last found to mean.
    meanings: BTreeMap<PeerAddress, Vec<SocketAddr>>,
    /// Those that could not be looked up when that was last tried.
    unknown: BTreeSet<PeerAddress>,
    /// What the mesh was told.
    named: BTreeSet<SocketAddr>,
    /// How many there are to be told, all turns together.
    in_turns: usize,
    rounds: Rounds,
}

/// When names are looked up.
struct Rounds {
    /// The newest round. What an older one finds comes too late.
    newest: u64,
    /// When the next one is due; none while one is under way.
    due: Option<Instant>,
    /// When all names are to be looked up, not only those that are unknown; none = at once.
    all_due: Option<Instant>,
    /// How often all were.
    turn: usize,
}

/// What one round found.
pub(crate) struct Found {
    round: u64,
    meanings: Vec<(PeerAddress, io::Result<Vec<SocketAddr>>)>,
}

/// What the mesh is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// To be tried no more.
    forgotten: Vec<SocketAddr>,
    /// To be tried, or doubted again.
    named: Vec<SocketAddr>,
}

impl Targets {
    /// What the store remembers, and what this start's command line adds without storing it.
    pub(crate) fn new(stored: Vec<String>, given: Vec<PeerAddress>, now: Instant) -> Self {
        Self {
            stored,
            given,
            meanings: BTreeMap::new(),
            unknown: BTreeSet::new(),
            named: BTreeSet::new(),
            in_turns: 0,
            rounds: Rounds { newest: 0, due: Some(now), all_due: None, turn: 0 },
        }
    }

    /// Adds addresses; returns the change to store.
    pub(super) fn add(&mut self, addresses: &[String]) -> Change {
        for address in addresses {
            if !self.stored.contains(address) {
                self.stored.push(address.clone());
            }
        }
        self.change()
    }

    /// Takes addresses out; returns the change to store.
    pub(super) fn remove(&mut self, addresses: &[String]) -> Change {
        self.stored.retain(|known| !addresses.contains(known));
        self.given.retain(|known| !addresses.contains(&known.to_string()));
        self.change()
    }

    /// When the next round is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.rounds.due
    }

    /// Begins a round. Returns its number and what it is to look up: everything, or only what is unknown.
    fn begin(&mut self, now: Instant) -> (u64, Vec<PeerAddress>) {
        let rounds = &mut self.rounds;
        rounds.newest += 1;
        rounds.due = None;
        if rounds.all_due.is_some_and(|at| now < at) {
            return (rounds.newest, self.unknown.iter().cloned().collect());
        }
        rounds.all_due = Some(now + RESOLVE);
        rounds.turn += 1;
        (rounds.newest, self.all())
    }

    /// Takes over what a round found, unless a newer one has begun.
    fn learn(&mut self, found: Found, now: Instant) -> News {
        if found.round != self.rounds.newest {
            return News::default();
        }
        let mut fresh = BTreeSet::new();
        for (target, meaning) in found.meanings {
            match meaning {
                Ok(addresses) => {
                    self.unknown.remove(&target);
                    fresh.extend(addresses.iter().copied());
                    self.meanings.insert(target, addresses);
                }
                Err(error) => {
                    if self.unknown.insert(target.clone()) {
                        tracing::warn!(%target, %error, "a peer's name is not known");
                    }
                }
            }
        }
        let all = self.all();
        self.meanings.retain(|target, _| all.contains(target));
        self.unknown.retain(|target| all.contains(target));
        let again = (!self.unknown.is_empty()).then(|| now + AGAIN);
        self.rounds.due = Some(again.into_iter().chain(self.rounds.all_due).min().unwrap_or(now));
        let named = self.whose_turn(&all);
        let before = std::mem::replace(&mut self.named, named);
        let is_due = |address: &&SocketAddr| fresh.contains(address) || !before.contains(address);
        News {
            forgotten: before.difference(&self.named).copied().collect(),
            named: self.named.iter().filter(is_due).copied().collect(),
        }
    }

    /// As many addresses as the mesh tries, in each round of all others if there are more.
    fn whose_turn(&mut self, all: &[PeerAddress]) -> BTreeSet<SocketAddr> {
        let mut met = BTreeSet::new();
        let meant = all.iter().filter_map(|target| self.meanings.get(target)).flatten().copied();
        let addresses: Vec<_> = meant.filter(|address| met.insert(*address)).collect();
        let was = std::mem::replace(&mut self.in_turns, addresses.len());
        if addresses.len() <= mesh::ADDRESSES_MOST {
            return met;
        }
        if was <= mesh::ADDRESSES_MOST {
            tracing::warn!(
                addresses = addresses.len(),
                "more addresses are named than are tried at a time ({}): they take turns; any one member is enough",
                mesh::ADDRESSES_MOST
            );
        }
        let first = self.rounds.turn.wrapping_mul(mesh::ADDRESSES_MOST).checked_rem(addresses.len());
        addresses.into_iter().cycle().skip(first.unwrap_or_default()).take(mesh::ADDRESSES_MOST).collect()
    }

    fn all(&self) -> Vec<PeerAddress> {
        self.stored.iter().filter_map(|text| text.parse().ok()).chain(self.given.iter().cloned()).collect()
    }

    /// What names mean is asked again at once: there are others.
    fn change(&mut self) -> Change {
        self.rounds.all_due = None;
        targets_change(&self.stored)
    }
}

impl Control {
    /// Looks names up in the background; the answers come back as inputs of the loop.
    pub(super) fn resolve_targets(&mut self, now: Instant) {
        let (round, targets) = self.parts.targets.begin(now);
        tokio::spawn(resolve(round, targets, self.parts.lookups.clone()));
    }

    /// Looks beside the loop at what the host offers by now.
    pub(super) fn survey_underlay(&self) {
        let (config, lookups) = (Arc::clone(&self.about.config), self.parts.lookups.clone());
        tokio::task::spawn_blocking(move || match crate::underlay::survey(&config) {
            Ok(underlay) => drop(lookups.blocking_send(Lookup::Underlay(underlay))),
            Err(error) => tracing::warn!(%error, "the host's interfaces cannot be listed"),
        });
    }

    /// Tells the others where this router is reached from now on, and tries how much each path carries that this host's end takes
    /// by now. A host without any address keeps what it had: it may come back.
    pub(super) fn handle_underlay(&mut self, underlay: Underlay, now: Instant) {
        if underlay.found_bytes.is_some() {
            let mtu_bytes = underlay.mtu_bytes();
            if self.mesh.set_underlay_mtu(mtu_bytes, now) {
                tracing::info!(mtu_bytes, "this host's end of the underlay takes other packets from now on");
            }
            self.forwarding_changed |= self.parts.inner_mtu.set_here(wire::chunk::inner_mtu(underlay.datagram_bytes()));
        }
        if !underlay.addresses.is_empty() && self.mesh.set_addresses(underlay.addresses, now) {
            tracing::info!(addresses = ?self.mesh.addresses(), "this host is reached elsewhere from now on");
        }
    }

    /// Tells the mesh which addresses are named, and which are no longer.
    pub(super) fn handle_targets(&mut self, found: Found, now: Instant) {
        let News { forgotten, named } = self.parts.targets.learn(found, now);
        forgotten.into_iter().for_each(|address| self.mesh.forget(address));
        named.into_iter().for_each(|address| self.mesh.connect(address, now));
    }
}

async fn resolve(round: u64, targets: Vec<PeerAddress>, lookups: mpsc::Sender<Lookup>) {
    let mut meanings = Vec::with_capacity(targets.len());
    for target in targets {
        let meaning = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map(Iterator::collect);
        meanings.push((target, meaning));
    }
    let _ = lookups.send(Lookup::Targets(Found { round, meanings })).await;
}

/// How often the host's addresses are, and what its interfaces take: a lease of DHCP, a cable, a VPN change them. The thread
/// that looks is kept for twice as long, so that there is one for [`resolve`] too, however many a container may take.
pub(super) const SURVEY: Duration = Duration::from_secs(5);
/// How often names are looked up again.
const RESOLVE: Duration = Duration::from_secs(60);
/// When one that is not known is: a name server that starts with the hosts is there soon.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
