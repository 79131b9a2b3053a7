//! How this router was started: the command line made definite, once.
//!
//! Owns the defaults that depend on the host. Knows nothing of what the store remembers.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use mesh::aead::Suite;
use wire::{PeerName, PeerNameError};
use zeroize::Zeroizing;

use crate::cli::{Cipher, DEFAULT_PORT, Globals, PeerAddress, RouterArgs, SecretError, UnderlayAddress, read_password};

/// What the router daemon runs with.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) control_socket: PathBuf,
    pub(crate) listen: Listen,
    /// Where other routers are told to reach this one; empty = at its interfaces' addresses.
    pub(crate) advertise: Vec<UnderlayAddress>,
    pub(crate) peers: Vec<PeerAddress>,
    pub(crate) bridge: String,
    pub(crate) tap: String,
    pub(crate) queues: u8,
    /// How data may be sealed, best first.
    pub(crate) suites: Vec<Suite>,
    /// The MTU of new containers; none = what the smallest path carries, followed as it changes.
    pub(crate) mtu_bytes: Option<u16>,
    pub(crate) password: Option<Zeroizing<String>>,
    /// Where it came from, to be read again.
    pub(crate) password_file: Option<PathBuf>,
    /// What a router that is made by password is called; none = the host's name.
    pub(crate) name: Option<PeerName>,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Everywhere: `[::]`, or `0.0.0.0` where the host has no IPv6.
    Anywhere { port: u16 },
    /// At this address and no other.
    At(SocketAddr),
}

impl Listen {
    /// What to bind. `[::]` falls back to `0.0.0.0` by itself.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Anywhere { port } => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            Self::At(address) => address,
        }
    }

    /// The port, UDP and TCP.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Anywhere { port } => port,
            Self::At(address) => address.port(),
        }
    }
}

impl TryFrom<(&Globals, &RouterArgs)> for Config {
    type Error = SecretError;

    fn try_from((globals, args): (&Globals, &RouterArgs)) -> Result<Self, SecretError> {
        let listen = match args.listen {
            Some(address) if address.ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                Listen::Anywhere { port: address.or_port(DEFAULT_PORT).port() }
            }
            Some(address) => Listen::At(address.or_port(DEFAULT_PORT)),
            None => Listen::Anywhere { port: DEFAULT_PORT },
        };
        Ok(Self {
            data_dir: globals.data_dir.clone(),
            control_socket: globals.control_socket.clone(),
            listen,
            advertise: args.advertise.clone(),
            peers: args.peers.clone(),
            bridge: args.bridge.clone(),
            tap: args.tap.clone(),
            queues: args.queues.unwrap_or_else(queues),
            suites: suites(args.cipher),
            mtu_bytes: args.mtu,
            name: args.name.clone(),
            password_file: args.password_file.clone(),
            password: args.password_file.as_deref().map(read_password).transpose()?,
        })
    }
}

/// The host's name, the default for the router's.
pub(crate) fn host_name() -> Result<PeerName, PeerNameError> {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().parse()
}

/// ChaCha20-Poly1305 is always among them, so any two routers have one in common.
fn suites(cipher: Cipher) -> Vec<Suite> {
    match cipher {
        Cipher::Auto => Suite::supported().to_vec(),
        Cipher::Aes256Gcm => vec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
        Cipher::ChaCha20Poly1305 => vec![Suite::ChaCha20Poly1305],
    }
}

/// One data thread for each processor, at most [`QUEUES`].
fn queues() -> u8 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u8::try_from(processors).unwrap_or(QUEUES).min(QUEUES)
}

/// More threads than this serve no network card that one tap can keep up with.
const QUEUES: u8 = 4;
