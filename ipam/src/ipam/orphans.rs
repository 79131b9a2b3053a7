//! What a revocation leaves behind: addresses that wait for their workloads with the heir, and ports that are cut off.
//!
//! Decides neither who is revoked nor who inherits.

use std::time::Instant;

use wire::Identity;
use wire::message::{Came, Why};

use super::{Health, Ipam};
use crate::config::Hold;
use crate::directory::key_of;
use crate::event::Event;
use crate::lease::{Attachment, Lease, LeaseState, Place, Stickiness};

impl Ipam {
    /// Keeps the victims' addresses that this host inherits for the workloads that had them.
    pub(super) fn hold_for_orphans(&mut self, victim: Identity, now: Instant) {
        let lines: Vec<_> = self.directory.lines_of(victim).cloned().collect();
        for line in lines {
            let elsewhere = self.directory.current(&key_of(&line), &self.ledger).is_some();
            let used =
                self.leases.of_key(&key_of(&line)).is_some() || self.leases.of_slot(line.network, line.slot).is_some();
            let assignable = self.network(line.network).is_some_and(|network| network.is_assignable(line.slot));
            let Some(holding) = self.ledger.owner(line.network, line.slot) else { continue };
            if elsewhere || used || !assignable || !self.is_mine(line.network, line.slot) {
                continue;
            }
            let hold = Hold::from_seconds(line.hold_s);
            self.space_of(line.network).forget(line.slot);
            let lease = Lease {
                attachment: Attachment {
                    network: line.network,
                    container_id: line.container_id,
                    ifname: line.ifname,
                    owner: String::new(),
                },
                workload: line.workload,
                stickiness: Stickiness::Sticky,
                slot: line.slot,
                epoch: holding.epoch,
                mac: line.mac,
                hold,
                state: LeaseState::held(hold, now),
                since: now,
                place: Place::default(),
            };
            self.keep_lease_that_came(lease, Some(Came { from: victim, why: Why::Revoked }));
        }
    }

    pub(super) fn become_revoked(&mut self, now: Instant) {
        self.course.health = self.course.health.max(Health::Revoked);
        let active: Vec<_> = self.leases.iter().filter(|lease| lease.state == LeaseState::Active).cloned().collect();
        for lease in active {
            self.fence(lease, now);
        }
        self.outbox.event(Event::RevokedHere);
    }
}
