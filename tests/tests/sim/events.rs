//! What the ledgers tell their hosts, and what is noted of it.

use anyhow::{Context as _, Result, ensure};
use ipam::{ClaimError, Event, Lease, RequestId};

use crate::{
    host::{Running, attachment},
    rules::Kept,
    world::{Asked, Faults, World},
};

/// What happened in a run, to see that something did.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) given: usize,
    pub(crate) refused: usize,
    pub(crate) moved: usize,
    pub(crate) crashes: usize,
    /// Containers that lost their address to another while they ran.
    pub(crate) cut_off: usize,
    /// Moves that an operator asked for.
    pub(crate) said: usize,
    /// Workloads that came back to another address than the one held for them.
    pub(crate) strayed: usize,
    /// Races for a name, or an address, that somebody won.
    pub(crate) raced: usize,
    pub(crate) revoked: usize,
    /// The last revocation that could not be carried out, and where.
    pub(crate) blocked: Option<(usize, ipam::RevokeError)>,
    pub(crate) lost: usize,
    pub(crate) restored: usize,
    /// Lines of the directory that were over and went.
    pub(crate) forgotten: usize,
}

impl World {
    /// What a host does about what its ledger says.
    pub(crate) fn react(&mut self, number: usize, event: Event) -> Result<()> {
        match event {
            Event::Claimed { request, result } => self.answer(number, request, result)?,
            Event::Fenced { lease } => self.cut_off(number, lease.attachment.container_id),
            Event::Unfenced { lease } => self.let_in(number, lease.attachment.container_id)?,
            Event::JoinGranted { identity, snapshot } => drop(self.snapshots.insert(identity, snapshot)),
            Event::Alarm(alarm) => self.alarms.push((number, alarm)),
            Event::RevokeDone { result: Ok(_), .. } => self.told.revoked += 1,
            Event::RevokeDone { result: Err(error), .. } => self.told.blocked = Some((number, error)),
            Event::Revoked { identities } => {
                let fresh: Vec<_> = identities.into_iter().filter(|one| !self.rules.is_revoked(*one)).collect();
                fresh.iter().for_each(|one| self.rules.note_revoked(*one, &self.hosts, self.now));
            }
            Event::Refused { identities } => {
                let host = self.hosts.get(number).context("no such host")?;
                self.rules.note_promised(number, &identities, host.ipam.as_ref().context("dead")?);
            }
            Event::Released { .. }
            | Event::Invited { .. }
            | Event::RevokedHere
            | Event::MembersNamed { .. }
            | Event::RevocationAsked { .. }
            | Event::TableChanged => {}
        }
        Ok(())
    }

    fn answer(&mut self, number: usize, request: RequestId, result: Result<Lease, ClaimError>) -> Result<()> {
        // Not asked any more: its plugin went with the router that died.
        let Some(Asked { container, .. }) = self.asked.remove(&request) else { return Ok(()) };
        let Ok(lease) = result else {
            self.told.refused += 1;
            return Ok(());
        };
        let running = Running { slot: lease.slot, workload: lease.workload.clone() };
        let kept = self.rules.ensure_free(number, &running, &self.hosts, self.now)?;
        if self.faults == Faults::None && !self.has_healed {
            self.rules.ensure_alone(number, &running, &self.hosts)?;
        }
        self.told.strayed += usize::from(kept == Kept::Another);
        self.told.moved += usize::from(kept == Kept::Same);
        self.told.given += 1;
        let host = self.hosts.get_mut(number).context("no such host")?;
        // I10.
        ensure!(!host.is_full, "host {number} gives what it cannot write down: {lease:?}");
        ensure!(lease.attachment == attachment(&container), "an answer to somebody else's question: {lease:?}");
        host.running.insert(container, running);
        Ok(())
    }

    /// Whoever is cut off is heard nowhere from now on.
    fn cut_off(&mut self, number: usize, container: String) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        let Some(running) = host.running.remove(&container) else { return };
        self.rules.note_stopped(host.identity(), &running, self.now);
        self.told.cut_off += 1;
        host.cut_off.insert(container, running);
    }

    fn let_in(&mut self, number: usize, container: String) -> Result<()> {
        let host = self.hosts.get_mut(number).context("no such host")?;
        let Some(running) = host.cut_off.remove(&container) else { return Ok(()) };
        self.rules.ensure_free(number, &running, &self.hosts, self.now)?;
        self.hosts.get_mut(number).context("no such host")?.running.insert(container, running);
        Ok(())
    }
}
