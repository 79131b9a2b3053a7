//! How a router comes into being: as the first of a cluster, or as a member of one that exists.
//!
//! Owns the order in which a data directory is filled: keys first, then the store, which gets its name when it is whole. What is
//! interrupted anywhere is no router at all, and can be begun again with the same keys. Knows nothing of running one.

use std::net::Ipv6Addr;
use std::time::Instant;

use ed25519_dalek::SigningKey;
use hostnet::link::Prefix;
use mesh::{Member, Secret};
use wire::{Certificate, Genesis, Network, NetworkId, PeerName, Pool, Pool6, Title};

use crate::cli::PoolChoice6;
use crate::datadir::{DataDir, DataDirError, SecretFile};
use crate::storage::{Change, Storage, StorageError};
use crate::{memory, random};

/// The keys of a router that is being made.
pub(crate) struct Keys {
    pub(crate) signing: Secret,
    pub(crate) noise: Secret,
}

impl Keys {
    /// Those that an interrupted attempt left, or fresh ones; on the disk when this returns.
    pub(crate) fn prepare(data_dir: &DataDir) -> Result<Self, DataDirError> {
        let key = |file| {
            if !data_dir.has_secret(file) {
                data_dir.write_secret(file, &Secret::new(random()))?;
            }
            data_dir.read_secret(file)
        };
        Ok(Self { signing: key(SecretFile::Signing)?, noise: key(SecretFile::Noise)? })
    }

    /// The signing key as the ledger wants it.
    pub(crate) fn ledger_key(&self) -> SigningKey {
        SigningKey::from_bytes(self.signing.bytes())
    }
}

/// What `init` decides.
pub(crate) struct Founding {
    pub(crate) name: PeerName,
    pub(crate) pool: Pool,
    pub(crate) pool6: Option<PoolChoice6>,
    pub(crate) block_slots: u32,
}

/// What a member is made of, whoever certified it.
pub(crate) struct Membership {
    pub(crate) genesis: Genesis,
    pub(crate) certificate: Certificate,
    pub(crate) members: Vec<Member>,
    pub(crate) ledger: Vec<ipam::Write>,
    /// The key that the cluster's password was stretched to.
    pub(crate) psk: Option<Secret>,
}

/// Begins a cluster. The authority's key signs one certificate and is forgotten: every later one is a member's to give.
pub(crate) fn found(founding: &Founding, keys: &Keys) -> Membership {
    let authority = Secret::new(random());
    let network = Network {
        id: NetworkId::DEFAULT,
        name: control_api::DEFAULT_NETWORK.to_owned(),
        pool: founding.pool,
        pool6: founding.pool6.map(chosen_pool6),
    };
    let first = keys.signing.identity();
    let genesis = Genesis {
        networks: vec![network],
        block_slots: founding.block_slots,
        first,
        authority: authority.identity().0,
        nonce: random(),
    };
    let title = Title {
        identity: first,
        noise_key: keys.noise.noise_public(),
        name: founding.name.clone(),
        generation: mesh::FIRST_GENERATION,
        issuer: authority.identity(),
    };
    let certificate = mesh::issue_certificate(title, &keys.signing, &authority);
    let ledger = ipam::found(&ipam::Config::new(keys.ledger_key(), genesis.clone()));
    Membership { genesis, certificate, members: Vec::new(), ledger, psk: None }
}

/// Refuses a pool that the host already reaches by some other way than a bridge that an earlier router left.
pub(crate) fn refuse_overlap(pool: Pool, pool6: Option<PoolChoice6>, bridge: &str) -> Result<(), FoundError> {
    let mut prefixes = vec![Prefix { address: pool.base.into(), length: pool.prefix }];
    if let Some(PoolChoice6::Given(pool6)) = pool6 {
        prefixes.push(Prefix { address: pool6.base.into(), length: pool6.prefix });
    }
    for pool in prefixes {
        let overlap =
            hostnet::route::overlapping_route(pool, Some(bridge)).map_err(|source| FoundError::Routes { source })?;
        if let Some(overlap) = overlap {
            let hostnet::route::Overlap { route, interface } = overlap;
            return Err(FoundError::Overlap { pool, route, interface });
        }
    }
    Ok(())
}

/// Fills a data directory that has its keys. Where this fails, there is no store in it.
pub(crate) fn settle(data_dir: &DataDir, membership: Membership) -> Result<(), FoundError> {
    let _alone = data_dir.lock()?;
    data_dir.refuse_a_second()?;
    // What an attempt that was killed has left.
    data_dir.clear();
    let filled = fill(data_dir, membership);
    if filled.is_err() {
        data_dir.clear();
    }
    filled
}

fn fill(data_dir: &DataDir, membership: Membership) -> Result<(), FoundError> {
    let Membership { genesis, certificate, members, ledger, psk } = membership;
    if let Some(psk) = psk {
        data_dir.write_secret(SecretFile::Psk, &psk)?;
    }
    let store = data_dir.unfinished_store_path();
    let storage = Storage::create(&store)?;
    let mut changes: Vec<Change> = ledger.into_iter().map(memory::ledger_change).collect();
    changes.extend(members.iter().map(memory::member_change));
    changes.push(memory::genesis_change(&genesis));
    changes.push(memory::certificate_change(&certificate));
    changes.push(memory::stamp_change(&DataDir::stamp(&store)?));
    storage.commit(&changes)?;
    drop(storage);
    data_dir.finish_store()?;
    Ok(())
}

/// The ledger's rows of a joiner, out of what its sponsor sent.
pub(crate) fn adopt(keys: &Keys, genesis: &Genesis, snapshot: &[u8]) -> Result<Vec<ipam::Write>, FoundError> {
    let config = ipam::Config::new(keys.ledger_key(), genesis.clone());
    ipam::adopt_snapshot(&config, snapshot, Instant::now()).map_err(|source| FoundError::Snapshot { source })
}

fn chosen_pool6(choice: PoolChoice6) -> Pool6 {
    match choice {
        PoolChoice6::Given(pool6) => pool6,
        // RFC 4193 §3.2.2: fd00::/8 and 40 random bits; the subnet is 0.
        PoolChoice6::Random => {
            let [a, b, c, d, e]: [u8; 5] = random();
            let base = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            Pool6 { base, prefix: 64 }
        }
    }
}

/// Why no router came into being. The data directory is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the pool {pool} overlaps the route to {route} through {interface}; choose another one with --pool")]
    Overlap { pool: Prefix, route: Prefix, interface: String },
    #[error("the host's routes cannot be read: {source}")]
    Routes { source: hostnet::NetlinkError },
    #[error("the sponsor's ledger cannot be used: {source}")]
    Snapshot { source: ipam::SnapshotError },
}

/// What a password is stretched to (Argon2id, RFC 9106): 64 MiB and three passes make a guess cost a tenth of a second.
pub(crate) fn stretch(password: &str, cluster: wire::ClusterId) -> Result<Secret, argon2::Error> {
    let params = argon2::Params::new(64 * 1024, 3, 1, Some(32))?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = zeroize::Zeroizing::new([0; 32]);
    argon2.hash_password_into(password.as_bytes(), &cluster.0, key.as_mut())?;
    Ok(Secret::new(*key))
}
