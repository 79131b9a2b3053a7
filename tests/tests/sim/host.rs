//! One simulated host: a real ledger, a disk that holds what was synced, and the containers that run there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use ipam::{Attachment, Claim, Config, Hold, Ipam, LeaseState, Place, Table, Write};
use wire::message::Handover;
use wire::{Genesis, Identity, Network, NetworkId, Pool, Slot};

/// A host, running or dead.
pub(crate) struct Host {
    pub(crate) config: Config,
    /// None while it is dead.
    pub(crate) ipam: Option<Ipam>,
    pub(crate) disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Whether its disk takes nothing.
    pub(crate) is_full: bool,
    /// Containers that run here, with the slot they were given; they outlive their router.
    pub(crate) running: BTreeMap<String, Running>,
    /// Containers that run and were cut off: their address is another's.
    pub(crate) cut_off: BTreeMap<String, Running>,
    /// Containers that ended while the router was dead: their releases wait in the spool.
    pub(crate) spool: Vec<String>,
    /// Hosts this one has a session with.
    pub(crate) sessions: BTreeSet<usize>,
}

/// A container that has an address.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) slot: Slot,
    pub(crate) workload: String,
}

impl Host {
    pub(crate) fn new(config: Config, stored: &[Write], now: Instant) -> Result<Self> {
        let mut host = Self {
            config,
            ipam: None,
            disk: BTreeMap::new(),
            is_full: false,
            running: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            spool: Vec::new(),
            sessions: BTreeSet::new(),
        };
        host.sync(stored);
        host.start(now)?;
        Ok(host)
    }

    pub(crate) fn identity(&self) -> Identity {
        self.config.identity
    }

    /// Starts the router on what the disk holds.
    pub(crate) fn start(&mut self, now: Instant) -> Result<()> {
        let ipam = Ipam::new(self.config.clone(), &rows(&self.disk), now);
        self.ipam = Some(ipam.context("a router that does not start on its own disk")?);
        Ok(())
    }

    /// What a router does at its start: ports whose address is another's, or another container's of the workload, are fenced.
    pub(crate) fn fence_lost(&mut self) -> Vec<Running> {
        let Some(ipam) = &self.ipam else { return Vec::new() };
        let is_lost = |container: &String, running: &mut Running| match ipam.lease_of(&attachment(container)) {
            Some(lease) => lease.state == LeaseState::Fenced,
            None => ipam.leases().any(|lease| (lease.slot, &lease.workload) == (running.slot, &running.workload)),
        };
        let lost: Vec<_> = self.running.extract_if(.., is_lost).collect();
        self.cut_off.extend(lost.iter().cloned());
        lost.into_iter().map(|(_, running)| running).collect()
    }

    /// Makes a batch durable.
    pub(crate) fn sync(&mut self, batch: &[Write]) {
        for write in batch {
            let key = (write.table, write.key.clone());
            match &write.value {
                Some(value) => self.disk.insert(key, value.clone()),
                None => self.disk.remove(&key),
            };
        }
    }
}

/// Everything a disk holds.
pub(crate) fn rows(disk: &BTreeMap<(Table, Vec<u8>), Vec<u8>>) -> Vec<Write> {
    disk.iter()
        .map(|((table, key), value)| Write { table: *table, key: key.clone(), value: Some(value.clone()) })
        .collect()
}

/// The signing key of the host with this number.
pub(crate) fn signing_key(number: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(number).unwrap_or(u8::MAX).wrapping_add(1); 32])
}

/// A small pool in small blocks: space runs short, and gifts are asked for all the time.
pub(crate) fn genesis() -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 25 };
    let network = Network { id: NetworkId::DEFAULT, name: String::from("raddle"), pool, pool6: None };
    let first = Identity(signing_key(0).verifying_key().to_bytes());
    Genesis { networks: vec![network], block_slots: 8, first, authority: [9; 32], nonce: [7; 16] }
}

pub(crate) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: NetworkId::DEFAULT,
        container_id: container.to_owned(),
        ifname: String::from("eth0"),
        owner: String::new(),
    }
}

pub(crate) fn claim(container: &str, workload: Option<String>, handover: Handover) -> Claim {
    let attachment = attachment(container);
    let hold = workload.as_deref().is_some_and(is_brief).then_some(Hold::For(Duration::ZERO));
    Claim { attachment, workload, address: None, hold, mac: None, handover, place: Place::default() }
}

/// Whether a workload's address is held for nobody: its name ends with its container.
pub(crate) fn is_brief(workload: &str) -> bool {
    BRIEF.contains(&workload)
}

/// Enough for names to end all the time.
const BRIEF: [&str; 2] = ["work-6", "work-7"];
