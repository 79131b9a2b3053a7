//! Makes the host and the ledger agree: after a start, after a plugin that found nobody, when a slot is lost, and now and then.
//!
//! Decides which ports are opened and which leases have outlived their containers. Knows nothing of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use control_api::spool::{self, Spooled};
use hostnet::link::{self, Link, LinkState};
use hostnet::veth::{self, Port};
use ipam::{Attachment, LeaseState};

use super::Control;
use super::waiting::Waiting;

impl Control {
    /// After a start: leases without a container are released, ports without a lease are fenced (invariant I3).
    pub(super) fn reconcile(&mut self, now: Instant) {
        self.replay_spool(now);
        let links = match link::list() {
            Ok(links) => links,
            Err(error) => {
                return tracing::error!(%error, "the host's interfaces cannot be listed; its ports stay as they are");
            }
        };
        let bridge = self.bridge_of(&links);
        let leased: BTreeSet<&str> = self.ipam.leases().map(|lease| lease.place.host_interface.as_str()).collect();
        for port in links.iter().filter(|link| link.controller.is_some() && link.controller == bridge) {
            if port.name != self.about.tap && !leased.contains(port.name.as_str()) {
                tracing::warn!(interface = port.name, "fenced: the ledger has no lease for this port");
                fence(&port.name);
            }
        }
    }

    /// Releases what nobody has asked to be released, and makes each port what its lease says: the word that opened or blocked
    /// it may have been lost, or have come before the port was there. The bridge and the tap follow their ports.
    pub(super) fn look_at_ports(&mut self, now: Instant) {
        match link::list() {
            Ok(links) => {
                self.release_orphans(&links, now);
                self.set_ports(&links);
                self.look_at_mtu(&links);
            }
            Err(error) => tracing::warn!(%error, "the host's interfaces cannot be listed; its ports stay as they are"),
        }
    }

    fn release_orphans(&mut self, links: &[Link], now: Instant) {
        // It would be refused, and asked for again as soon as it is not.
        if self.ipam.health() == ipam::Health::ReadOnly {
            return;
        }
        let names: BTreeSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let stale: Vec<Attachment> =
            self.ipam.leases().filter(|lease| is_orphan(lease, &names)).map(|lease| lease.attachment.clone()).collect();
        for attachment in stale {
            let Attachment { container_id, ifname, .. } = &attachment;
            tracing::info!(container_id, ifname, "released: its container is gone, and nobody said so");
            self.release_quietly(attachment, now);
        }
    }

    /// Releases on the router's own account.
    pub(super) fn release_quietly(&mut self, attachment: Attachment, now: Instant) {
        let request = self.wait(Waiting::Nobody);
        self.ipam.release(request, &attachment, now);
    }

    fn set_ports(&self, links: &[Link]) {
        let bridge = self.bridge_of(links);
        let ports = links.iter().filter(|link| link.controller.is_some() && link.controller == bridge);
        let states: BTreeMap<&str, LinkState> = ports.map(|link| (link.name.as_str(), link.state)).collect();
        for lease in self.ipam.leases() {
            match what_to_do(lease, &states) {
                Some(Port::Open) => self.open_port(lease),
                Some(Port::Fenced) => self.fence_port(lease),
                None => {}
            }
        }
    }

    fn bridge_of(&self, links: &[Link]) -> Option<u32> {
        links.iter().find(|link| link.name == self.about.bridge).map(|link| link.index)
    }

    /// Carries out the releases that the plugin left while nobody answered.
    pub(super) fn replay_spool(&mut self, now: Instant) {
        let pending = match spool::pending(&self.about.spool) {
            Ok(pending) => pending,
            Err(error) => return tracing::error!(%error, "spooled releases cannot be read"),
        };
        for path in pending.unreadable {
            tracing::warn!(path = %path.display(), "not a release that this router understands; left where it is");
        }
        let under_way = |spooled: &Spooled| {
            self.waiting.values().any(|waiting| matches!(waiting, Waiting::Spool(other) if other == spooled))
        };
        // A release that is not durable yet is still in the spool. Carried out twice, it would take the lease that its
        // container was given in between.
        let releases: Vec<_> = pending.releases.into_iter().filter(|spooled| !under_way(spooled)).collect();
        for spooled in releases {
            match self.attachment_anywhere(&spooled.release.attachment) {
                Some(attachment) => {
                    let request = self.wait(Waiting::Spool(spooled));
                    self.ipam.release(request, &attachment, now);
                }
                None => finish(spooled),
            }
        }
    }

    /// Blocks the port of a lease whose slot is another host's.
    pub(super) fn fence_port(&self, lease: &ipam::Lease) {
        let interface = &lease.place.host_interface;
        tracing::warn!(interface, workload = lease.name(), "fenced: its address is another host's");
        fence(interface);
    }

    /// Opens the port of a lease whose slot has come back.
    pub(super) fn open_port(&self, lease: &ipam::Lease) {
        let interface = &lease.place.host_interface;
        tracing::warn!(interface, workload = lease.name(), "opened: its address is this host's again");
        let Some(network) = self.ipam.network(lease.attachment.network) else { return };
        let mac = lease.mac_on(network);
        if let Err(error) = veth::open(interface, mac.0) {
            tracing::error!(interface, %error, "a port cannot be opened");
        }
    }
}

/// Whether a container has it, as far as is known: then it has a port, or will have one.
fn has_port(lease: &ipam::Lease) -> bool {
    !matches!(lease.state, LeaseState::Held { .. })
}

/// A lease is an orphan when neither its interface nor its namespace is there: one whose ADD is under way has a namespace.
/// Also one that was fenced: its workload could not start here again.
fn is_orphan(lease: &ipam::Lease, names: &BTreeSet<&str>) -> bool {
    has_port(lease) && !names.contains(lease.place.host_interface.as_str()) && has_no_container(lease)
}

/// What becomes of a lease's port, if it is there and is not what it is to be.
fn what_to_do(lease: &ipam::Lease, ports: &BTreeMap<&str, LinkState>) -> Option<Port> {
    let is_down = *ports.get(lease.place.host_interface.as_str())? == LinkState::Down;
    match lease.state {
        LeaseState::Active if is_down => Some(Port::Open),
        LeaseState::Fenced if !is_down => Some(Port::Fenced),
        LeaseState::Active | LeaseState::Fenced | LeaseState::Held { .. } => None,
    }
}

/// Whether nothing is left of a lease's container: its end of the pair lives in a namespace that is gone.
pub(super) fn has_no_container(lease: &ipam::Lease) -> bool {
    lease.place.netns.as_deref().is_none_or(|netns| hostnet::netns::is_gone(Path::new(netns)))
}

/// Removes a release that is durable from the spool.
pub(super) fn finish(spooled: Spooled) {
    if let Err(error) = spooled.done() {
        tracing::warn!(%error, "a release stays in the spool; it will be repeated");
    }
}

fn fence(interface: &str) {
    if let Err(error) = veth::fence(interface) {
        tracing::error!(interface, %error, "a port cannot be fenced");
    }
}

#[cfg(test)]
mod tests;
