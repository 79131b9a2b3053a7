//! MACs that somebody insists on.
//!
//! Decides which may be had. A MAC is its slot's own, and everybody can compute it; one that is not stands in the lease, and in
//! the workload's line of the directory, from which every router has it. It goes where its slot goes.

use wire::{Mac, NetworkId, Slot};

use super::Ipam;
use crate::event::Alarm;
use crate::lease::{Claim, ClaimError, LeaseKey};

impl Ipam {
    /// The MACs that are not their slots' own.
    pub fn exceptions(&self) -> impl Iterator<Item = (NetworkId, Slot, Mac)> {
        let lines = self.directory.with_macs(&self.ledger);
        lines.filter_map(|line| Some((line.network, line.slot, line.mac?)))
    }

    /// What does not depend on who has what.
    pub(super) fn check_mac(&self, claim: &Claim) -> Result<(), ClaimError> {
        let Some(mac) = claim.mac else { return Ok(()) };
        for network in &self.config.genesis.networks {
            let Some(slot) = network.slot_of_mac(mac) else { continue };
            let address = network.address(slot);
            let is_own = network.id == claim.attachment.network && claim.address == Some(address);
            return if is_own { Ok(()) } else { Err(ClaimError::MacOfAnother { mac, address }) };
        }
        if mac.is_multicast() || mac == Mac([0; 6]) || mac.0[0] == HOST_ENDS {
            return Err(ClaimError::MacUnusable { mac });
        }
        Ok(())
    }

    /// Whether nobody else has it.
    pub(super) fn ensure_mac_free(&self, claim: &Claim) -> Result<(), ClaimError> {
        let (Some(mac), key) = (claim.mac, claim.key()) else { return Ok(()) };
        let lines = self.directory.with_macs(&self.ledger);
        let others = lines.filter(|line| line.network == key.network && line.mac == Some(mac));
        match others.into_iter().find(|line| crate::directory::key_of(line) != key) {
            None => Ok(()),
            Some(line) => Err(ClaimError::MacTaken {
                mac,
                workload: line.workload.clone(),
                container_id: line.container_id.clone(),
                holder: self.members.label(line.author),
            }),
        }
    }

    /// The MAC, if it is not the slot's own.
    pub(super) fn exceptional(&self, network: NetworkId, slot: Slot, mac: Option<Mac>) -> Option<Mac> {
        let own = self.network(network)?.mac(slot);
        mac.filter(|mac| *mac != own)
    }

    /// A line has come. One MAC was given to two workloads where their hosts could not know: the lower address has it.
    pub(super) fn settle_mac(&mut self, key: &LeaseKey) {
        let Some(line) = self.directory.current(key, &self.ledger) else { return };
        let alike = |lease: &&crate::Lease| {
            line.mac.is_some() && lease.mac == line.mac && lease.attachment.network == line.network
        };
        let Some(lease) = self.leases.iter().filter(alike).find(|lease| lease.key() != *key) else { return };
        let (Some(mac), here, there) = (lease.mac, lease.workload.clone(), line.workload.clone()) else { return };
        let other = self.members.label(line.author);
        self.alarm(Alarm::SameMac { mac, here, there, other });
    }
}

/// The first byte of the MACs of the hosts' ends of the pairs, which a bridge takes for its own.
const HOST_ENDS: u8 = 0xfe;
