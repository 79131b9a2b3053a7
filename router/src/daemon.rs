//! Starts the router: every resource in an order in which a refusal leaves nothing behind.
//!
//! Owns start-up. Knows nothing of what happens once the control loop runs.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use hostnet::announce::Announcer;
use hostnet::link::Prefix;
use hostnet::{bridge, route, tap, udp};
use mesh::{Credentials, Mesh, Secret};
use switch::BroadcastRate;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wire::{Genesis, Network, NetworkId, Slot};

use crate::api::ControlSocket;
use crate::config::Config;
use crate::control::{
    About, Announcements, Control, Guarding, InnerMtu, Inputs, Parts, Signals, Storing, Targets, Tokens,
};
use crate::data::{self, DataConfig};
use crate::datadir::{DataDir, SecretFile};
use crate::found::{Keys, stretch};
use crate::memory::{Memory, RecallError, boots_change};
use crate::storage::{Storage, StorageError};
use crate::streams::Streams;
use crate::underlay::{self, Underlay};
use crate::{join, random};

/// Runs the router until it is told to stop.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let data_dir = DataDir::create(&config.data_dir)?;
    let is_new = !data_dir.has_store();
    if is_new {
        join::by_password(config, &data_dir)?;
    }
    let storage = Storage::open(&data_dir.store_path()).map_err(|error| with_remedy(&error))?;
    let memory = Memory::recall(&storage).map_err(|error| match error {
        RecallError::Storage(error) => with_remedy(&error),
        RecallError::Damaged { .. } | RecallError::Incomplete => error.into(),
    })?;
    let keys = own_keys(&data_dir, &memory)?;
    let sockets = bind(config)?;
    let underlay = underlay::survey(config).context("the host's interfaces cannot be listed")?;
    let edge = Edge::make(config, &memory.genesis, &underlay)?;
    let boots = memory.boots.saturating_add(1);
    storage.commit(&[boots_change(boots)]).map_err(|error| with_remedy(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let start = Start { config, data_dir: &data_dir, storage, memory, keys, boots };
        let (mut control, inputs) = start.assemble(sockets, &underlay, edge)?;
        if !is_new {
            control.doubt_password();
        }
        control.run(inputs).await;
        Ok(())
    });
    // A name server that does not answer keeps nobody from stopping.
    runtime.shutdown_background();
    ended
}

/// What is wrong with the store, and what the operator does about it.
fn with_remedy(error: &StorageError) -> anyhow::Error {
    anyhow!("{error}; {}", error.ailment().remedy())
}

/// The keys, if they and the store still belong to each other and to this disk (invariant I3).
fn own_keys(data_dir: &DataDir, memory: &Memory) -> anyhow::Result<Keys> {
    let title = &memory.certificate.title;
    let noise = data_dir.settle_noise_key(&title.noise_key)?;
    let keys = Keys { signing: data_dir.read_secret(SecretFile::Signing)?, noise };
    ensure!(
        keys.signing.identity() == title.identity && keys.noise.noise_public() == title.noise_key,
        "the keys in {} do not belong to its store; restore the right ones, or join again with an empty --data-dir",
        data_dir.path().display(),
    );
    ensure!(
        memory.stamp == DataDir::stamp(&data_dir.store_path())?,
        "{} is a copy: its store was made on another machine or as another file. An identity is one with its disk, or \
         addresses would be held twice. Join again as a new router with an empty --data-dir; if the original is gone for \
         good, run 'raddle revoke {}' on another router",
        data_dir.path().display(),
        title.name,
    );
    Ok(keys)
}

/// The sockets of the underlay.
struct Sockets {
    group: udp::UdpGroup,
    tcp: std::net::TcpListener,
}

fn bind(config: &Config) -> anyhow::Result<Sockets> {
    let queues = NonZeroU8::new(config.queues).unwrap_or(NonZeroU8::MIN);
    let listen = config.listen.address();
    let group = udp::bind_group(listen, queues)?;
    let tcp = std::net::TcpListener::bind(group.local);
    let tcp =
        tcp.with_context(|| format!("cannot listen on TCP {}; choose another port with --listen", group.local))?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets { group, tcp })
}

/// The bridge and the tap.
struct Edge {
    taps: Vec<tap::TapQueue>,
    inner_mtu: InnerMtu,
}

impl Edge {
    fn make(config: &Config, genesis: &Genesis, underlay: &Underlay) -> anyhow::Result<Self> {
        let network = default_network(genesis)?;
        let inner_mtu = InnerMtu::new(config.mtu_bytes, wire::chunk::inner_mtu(underlay.datagram_bytes()));
        let mtu_bytes = inner_mtu.bytes();
        // The kernel takes IPv6 from an interface that carries less.
        ensure!(
            network.pool6.is_none() || mtu_bytes >= IPV6_MTU,
            "--mtu {mtu_bytes} is too small for IPv6, which this cluster has: {IPV6_MTU} at least"
        );
        let addresses = gateway_addresses(network);
        for prefix in &addresses {
            let overlap =
                route::overlapping_route(*prefix, Some(&config.bridge)).context("the host's routes cannot be read")?;
            if let Some(route::Overlap { route, interface }) = overlap {
                let pools = crate::control::pools(&genesis.networks);
                anyhow::bail!(
                    "the pool {pools} overlaps the host's route to {route} through {interface}; remove that route, or found \
                     the cluster with another pool (raddle init --pool)"
                );
            }
        }
        // The tap first: a router that runs on this bridge already has it, and keeps its bridge as it is.
        let queues = NonZeroU8::new(config.queues).unwrap_or(NonZeroU8::MIN);
        let tap = tap::open(&config.tap, queues)?;
        let wanted =
            bridge::Bridge { name: config.bridge.clone(), mac: network.mac(Slot::GATEWAY).0, mtu_bytes, addresses };
        bridge::ensure(&wanted)?;
        bridge::enslave_tap(&config.bridge, &config.tap, mtu_bytes)?;
        bridge::set_mtu(&config.bridge, mtu_bytes)?;
        Ok(Self { taps: tap.queues, inner_mtu })
    }
}

/// The gateway is the same on every host.
fn gateway_addresses(network: &Network) -> Vec<Prefix> {
    let ipv4 = Prefix { address: network.address(Slot::GATEWAY).into(), length: network.pool.prefix };
    let ipv6 = network.pool6.zip(network.address6(Slot::GATEWAY));
    let ipv6 = ipv6.map(|(pool, address)| Prefix { address: address.into(), length: pool.prefix });
    std::iter::once(ipv4).chain(ipv6).collect()
}

fn default_network(genesis: &Genesis) -> anyhow::Result<&Network> {
    let network = genesis.networks.iter().find(|network| network.id == NetworkId::DEFAULT);
    network.context("the cluster has no default network: it was founded by a newer version")
}

/// What is known before the first packet.
struct Start<'a> {
    config: &'a Config,
    data_dir: &'a DataDir,
    storage: Storage,
    memory: Memory,
    keys: Keys,
    boots: u32,
}

impl Start<'_> {
    fn assemble(self, sockets: Sockets, underlay: &Underlay, edge: Edge) -> anyhow::Result<(Control, Inputs)> {
        let psk = self.psk()?;
        let now = Instant::now();
        let Start { config, data_dir, storage, memory, keys, boots } = self;
        let title = memory.certificate.title.clone();
        let cluster = mesh::cluster_id(&memory.genesis);
        let ipam = ledger(&memory, &keys, now)?;
        let networks = memory.genesis.networks.clone();
        let credentials = Credentials {
            certificate: memory.certificate.clone(),
            signing_key: keys.signing,
            noise_key: keys.noise,
            genesis: memory.genesis,
        };
        let members = standing(memory.members, &ipam);
        let mut mesh = Mesh::new(mesh_config(config, underlay), credentials, members, boots, random(), now);
        mesh.distrust_only(ipam.refused().collect());
        if ipam.health() == ipam::Health::Revoked {
            mesh.revoke(title.identity, now);
        }
        let Sockets { group, tcp } = sockets;
        let broadcasts = BroadcastRate::default();
        let (data, reports) =
            data::start(DataConfig { network: NetworkId::DEFAULT, taps: edge.taps, sockets: group.data, broadcasts })?;
        let udp = Arc::new(UdpSocket::from_std(group.control)?);
        let (stream_events, streams) = mpsc::channel(INPUTS);
        let (call, calls) = mpsc::channel(INPUTS);
        let (looking, lookups) = mpsc::channel(INPUTS);
        let (storing, stored) = mpsc::channel(1);
        tokio::spawn(Streams::accept(TcpListener::from_std(tcp)?, stream_events.clone()));
        tokio::spawn(ControlSocket::bind(&config.control_socket)?.serve(call));
        let parts = Parts {
            storing: Storing::start(storage, storing)?,
            data,
            streams: Streams::new(stream_events),
            udp: Arc::clone(&udp),
            tokens: Tokens::new(memory.tokens, psk),
            targets: Targets::new(memory.targets, config.peers.clone(), now),
            announcements: Announcements::new(Announcer::open(&config.bridge)?),
            guarding: Guarding::new(hostnet::edge::Edge::new(&config.bridge, group.local.port()), now),
            inner_mtu: edge.inner_mtu,
            lookups: looking,
        };
        let about = About {
            identity: title.identity,
            name: title.name,
            cluster,
            networks,
            listen: group.local,
            bridge: config.bridge.clone(),
            tap: config.tap.clone(),
            spool: data_dir.spool_path(),
            config: lasting(config),
            started: now,
        };
        let inputs = Inputs::new(calls, streams, reports, lookups, stored, udp, signals()?);
        Ok((Control::new(mesh, ipam, memory.certificate, parts, about), inputs))
    }

    /// The key of the cluster's password: what was kept of it, or what is made of one that is given for the first time.
    fn psk(&self) -> anyhow::Result<Option<Secret>> {
        if self.data_dir.has_secret(SecretFile::Psk) {
            return Ok(Some(self.data_dir.read_secret(SecretFile::Psk)?));
        }
        let Some(password) = &self.config.password else { return Ok(None) };
        let psk = stretch(password, mesh::cluster_id(&self.memory.genesis)).map_err(io::Error::other)?;
        self.data_dir.keep_secret(SecretFile::Psk, &psk)?;
        Ok(Some(psk))
    }
}

/// What the system may say to the router.
fn signals() -> io::Result<Signals> {
    Ok(Signals {
        stop: [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?],
        again: signal(SignalKind::hangup())?,
    })
}

/// What is kept of the configuration while the router runs: no password.
fn lasting(config: &Config) -> Arc<Config> {
    Arc::new(Config { password: None, ..config.clone() })
}

/// The ledger as the store left it, knowing every member there is.
fn ledger(memory: &Memory, keys: &Keys, now: Instant) -> anyhow::Result<ipam::Ipam> {
    let seed = u64::from_le_bytes(random());
    let config = ipam::Config { seed, ..ipam::Config::new(keys.ledger_key(), memory.genesis.clone()) };
    let mut ipam = ipam::Ipam::new(config, &memory.ledger, now)?;
    let others = memory.members.iter().map(|member| &member.certificate.title);
    for title in others.chain([&memory.certificate.title]) {
        ipam.admit(title.identity, Some(title.name.clone()), now);
    }
    Ok(ipam)
}

/// The members, each as the ledger knows it: revoked or not.
fn standing(members: Vec<mesh::Member>, ledger: &ipam::Ipam) -> Vec<mesh::Member> {
    let revoked: BTreeSet<_> =
        ledger.members().filter(|(_, _, revoked)| *revoked).map(|(identity, ..)| identity).collect();
    members.into_iter().map(|member| mesh::Member { revoked: revoked.contains(&member.identity()), ..member }).collect()
}

fn mesh_config(config: &Config, underlay: &Underlay) -> mesh::Config {
    mesh::Config {
        addresses: underlay.addresses.clone(),
        queues: config.queues,
        suites: config.suites.clone(),
        underlay_mtu_bytes: underlay.mtu_bytes(),
        ..mesh::Config::default()
    }
}

/// What every interface with IPv6 carries at least (RFC 8200 section 5).
const IPV6_MTU: u32 = 1280;
/// Inputs that may wait for the control loop.
const INPUTS: usize = 1024;
