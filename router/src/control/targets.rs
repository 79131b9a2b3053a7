//! Addresses that the operator gave, to be tried beside what members say of themselves.
//!
//! Owns the list and its place in the store; names are looked up again and again, because they move.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Control;
use super::inputs::Lookup;
use crate::cli::PeerAddress;
use crate::memory::targets_change;
use crate::storage::Change;

/// The addresses, as they were given.
#[derive(Clone, Default)]
pub(crate) struct Targets {
    stored: Vec<String>,
    given: Vec<PeerAddress>,
    /// What they were last found to mean: what the mesh was told.
    named: BTreeSet<SocketAddr>,
}

impl Targets {
    /// What the store remembers, and what this start's command line adds without storing it.
    pub(crate) fn new(stored: Vec<String>, given: Vec<PeerAddress>) -> Self {
        Self { stored, given, named: BTreeSet::new() }
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

    fn all(&self) -> Vec<PeerAddress> {
        self.stored.iter().filter_map(|text| text.parse().ok()).chain(self.given.iter().cloned()).collect()
    }

    fn change(&self) -> Change {
        targets_change(&self.stored)
    }
}

impl Control {
    /// Looks all names up in the background; the answers come back as inputs of the loop.
    pub(super) fn resolve_targets(&self) {
        let targets = self.parts.targets.all();
        tokio::spawn(resolve(targets, self.parts.lookups.clone()));
    }

    /// Looks beside the loop at which addresses the host has by now.
    pub(super) fn survey_addresses(&self) {
        let (config, lookups) = (Arc::clone(&self.about.config), self.parts.lookups.clone());
        tokio::task::spawn_blocking(move || match crate::underlay::survey(&config) {
            Ok(underlay) => drop(lookups.blocking_send(Lookup::Addresses(underlay.addresses))),
            Err(error) => tracing::warn!(%error, "the host's interfaces cannot be listed"),
        });
    }

    /// Tells the others where this router is reached from now on. A host without any address keeps those it had: they may
    /// come back.
    pub(super) fn handle_addresses(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        if !addresses.is_empty() && self.mesh.set_addresses(addresses, now) {
            tracing::info!(addresses = ?self.mesh.addresses(), "this host is reached elsewhere from now on");
        }
    }

    /// Tells the mesh which addresses are named, and which are no longer.
    pub(super) fn handle_targets(&mut self, addresses: &[SocketAddr], now: Instant) {
        let named: BTreeSet<_> = addresses.iter().copied().collect();
        for address in self.parts.targets.named.difference(&named) {
            self.mesh.forget(*address);
        }
        for address in &named {
            self.mesh.connect(*address, now);
        }
        self.parts.targets.named = named;
    }
}

async fn resolve(targets: Vec<PeerAddress>, lookups: mpsc::Sender<Lookup>) {
    let mut found = Vec::new();
    for target in targets {
        match tokio::net::lookup_host((target.host.as_str(), target.port)).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => tracing::warn!(%target, %error, "a peer's name is not known"),
        }
    }
    let _ = lookups.send(Lookup::Targets(found)).await;
}

/// How often the host's addresses are: a lease of DHCP, a cable, a VPN change them.
pub(super) const SURVEY: Duration = Duration::from_secs(5);
/// How often names are looked up again.
pub(super) const RESOLVE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
