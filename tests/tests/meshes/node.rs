//! One simulated host: a real mesh and a real ledger, glued together as the router does it, and a disk that holds what was
//! synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use ipam::{Ipam, Table, Write};
use mesh::{Credentials, Member, Mesh, Secret, issue_certificate};
use wire::{Genesis, Identity, Network, NetworkId, PeerName, Pool, Title};

use crate::cheap;

/// What handshakes and signatures are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// What a router has.
    Real,
    /// See [`cheap`].
    Cheap,
}

/// A host, running or dead.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) identity: Identity,
    /// None while it is dead.
    pub(crate) running: Option<Running>,
    pub(crate) disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Shared with all hosts that know the same.
    pub(crate) members: BTreeMap<Identity, Arc<Member>>,
    credentials: Credentials,
    config: mesh::Config,
    ledger: ipam::Config,
    boots: u32,
    /// When it started or died last.
    pub(crate) since: Instant,
}

/// What dies with the process.
pub(crate) struct Running {
    pub(crate) mesh: Mesh,
    pub(crate) ipam: Ipam,
    pub(crate) connected: BTreeSet<Identity>,
    /// The earliest wake-up that is in the queue.
    pub(crate) wake: Option<Instant>,
}

impl Node {
    pub(crate) fn new(number: usize, arithmetic: Arithmetic, now: Instant) -> Result<Self> {
        let credentials = credentials(number, arithmetic)?;
        let identity = credentials.certificate.title.identity;
        let mut ledger = ipam::Config::new(SigningKey::from_bytes(credentials.signing_key.bytes()), genesis());
        let (disk, members) = (BTreeMap::new(), BTreeMap::new());
        let mut config = mesh::Config { addresses: vec![address(number)], ..mesh::Config::default() };
        if arithmetic == Arithmetic::Cheap {
            (config.primitives, ledger.verify) = (cheap::primitives(), cheap::verify);
        }
        let (running, boots, since) = (None, 0, now);
        Ok(Self { number, identity, running, disk, members, credentials, config, ledger, boots, since })
    }

    pub(crate) fn ledger_config(&self) -> &ipam::Config {
        &self.ledger
    }

    /// What a sponsor would have written down about it.
    pub(crate) fn member(&self, issuer: Option<&Member>, now: Instant) -> Result<Member> {
        let config = self.config.clone();
        let mesh = Mesh::new(config, self.credentials.clone(), issuer.cloned().into_iter().collect(), 0, [0; 32], now);
        mesh.members()
            .into_iter()
            .find(|member| member.identity() == self.identity)
            .context("a mesh without its own member")
    }

    /// Starts the router on what the disk holds.
    pub(crate) fn start(&mut self, seed: u64, now: Instant) -> Result<()> {
        self.boots += 1;
        let config = self.config.clone();
        let members: Vec<Member> = self.members.values().map(|member| Member::clone(member)).collect();
        let mut bytes = [0; 32];
        let parts = [seed, self.number as u64, u64::from(self.boots), 1].map(u64::to_le_bytes);
        bytes.iter_mut().zip(parts.as_flattened()).for_each(|(byte, part)| *byte = *part);
        let mut mesh = Mesh::new(config, self.credentials.clone(), members, self.boots, bytes, now);
        self.ledger.seed = seed.wrapping_mul(31).wrapping_add(self.number as u64);
        let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| Write {
            table: *table,
            key: key.clone(),
            value: Some(value.clone()),
        };
        let rows: Vec<_> = self.disk.iter().map(row).collect();
        let mut ipam =
            Ipam::new(self.ledger.clone(), &rows, now).context("a router that does not start on its own disk")?;
        mesh.distrust_only(ipam.refused().collect());
        for member in self.members.values() {
            ipam.admit(member.identity(), Some(member.name().clone()), now);
        }
        self.running = Some(Running { mesh, ipam, connected: BTreeSet::new(), wake: None });
        self.since = now;
        Ok(())
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

fn secret(number: usize, salt: u8) -> Secret {
    let mut bytes = [salt; 32];
    // X25519 ignores some bits of the first and the last byte.
    bytes.iter_mut().skip(8).zip((number as u64).to_le_bytes()).for_each(|(byte, part)| *byte = part);
    Secret::new(bytes)
}

fn name(number: usize) -> Result<PeerName> {
    Ok(format!("host{number}").parse()?)
}

fn credentials(number: usize, arithmetic: Arithmetic) -> Result<Credentials> {
    let (signing_key, noise_key) = (secret(number, 1), secret(number, 2));
    let issuer = if number == 0 { secret(0, 9) } else { secret(0, 1) };
    let title = Title {
        identity: signing_key.identity(),
        noise_key: match arithmetic {
            Arithmetic::Real => noise_key.noise_public(),
            Arithmetic::Cheap => cheap::noise_public(&noise_key),
        },
        name: name(number)?,
        generation: 1,
        issuer: issuer.identity(),
    };
    Ok(Credentials {
        certificate: issue_certificate(title, &signing_key, &issuer),
        signing_key,
        noise_key,
        genesis: genesis(),
    })
}

/// A pool with room for a block for everybody.
fn genesis() -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 12 };
    let network = Network { id: NetworkId::DEFAULT, name: String::from("raddle"), pool, pool6: None };
    Genesis {
        networks: vec![network],
        block_slots: 64,
        first: secret(0, 1).identity(),
        authority: secret(0, 9).identity().0,
        nonce: [7; 16],
    }
}

pub(crate) fn address(number: usize) -> SocketAddr {
    let [.., high, low] = (number as u64 + 1).to_be_bytes();
    SocketAddr::from(([172, 16, high, low], 6783))
}

/// Whose address it is.
pub(crate) fn number_at(address: SocketAddr) -> Option<usize> {
    let std::net::IpAddr::V4(ip) = address.ip() else { return None };
    let [_, _, high, low] = ip.octets();
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}
