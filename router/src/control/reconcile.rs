//! Makes the host and the ledger agree: after a start, after a plugin that found nobody, and when a slot is lost.
//!
//! Decides which ports are opened and which leases have outlived their containers. Knows nothing of addresses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use control_api::spool::{self, Spooled};
use hostnet::link::{self, Link};
use hostnet::veth;
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
        let bridge = links.iter().find(|link| link.name == self.about.bridge).map(|link| link.index);
        self.release_orphans(&links, now);
        let leased: BTreeSet<&str> = self.ipam.leases().map(|lease| lease.place.host_interface.as_str()).collect();
        for port in links.iter().filter(|link| link.controller.is_some() && link.controller == bridge) {
            if port.name != self.about.tap && !leased.contains(port.name.as_str()) {
                tracing::warn!(interface = port.name, "fenced: the ledger has no lease for this port");
                fence(&port.name);
            }
        }
        let fenced = self.ipam.leases().filter(|lease| lease.state == LeaseState::Fenced);
        fenced.for_each(|lease| fence(&lease.place.host_interface));
    }

    /// Releases what nobody has asked to be released: the host went down, or whoever should have asked was killed.
    pub(super) fn look_for_orphans(&mut self, now: Instant) {
        // To ask for the interfaces costs more than to look at the namespaces, and mostly there is no need.
        if self.ipam.leases().any(|lease| lease.state == LeaseState::Active && has_no_container(lease)) {
            match link::list() {
                Ok(links) => self.release_orphans(&links, now),
                Err(error) => tracing::warn!(%error, "the host's interfaces cannot be listed; no lease is released"),
            }
        }
    }

    /// A lease is an orphan when neither its interface nor its namespace is there: one whose ADD is under way has a namespace.
    fn release_orphans(&mut self, links: &[Link], now: Instant) {
        let names: BTreeSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let active = self.ipam.leases().filter(|lease| lease.state == LeaseState::Active);
        let stale: Vec<Attachment> = active
            .filter(|lease| !names.contains(lease.place.host_interface.as_str()) && has_no_container(lease))
            .map(|lease| lease.attachment.clone())
            .collect();
        for attachment in stale {
            let Attachment { container_id, ifname, .. } = &attachment;
            tracing::info!(container_id, ifname, "released: its container is gone, and nobody said so");
            self.release_quietly(attachment, now);
        }
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
        let mac = lease.mac.unwrap_or_else(|| network.mac(lease.slot));
        if let Err(error) = veth::open(interface, mac.0) {
            tracing::error!(interface, %error, "a port cannot be opened");
        }
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
