//! The moves of the past.
//!
//! Owns the answer of `moves`. Knows nothing of how an address moves.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The answer of `moves`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// The moves that this router has heard of and kept, from the oldest to the newest.
    pub moves: Vec<MoveView>,
}

/// One move of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveView {
    /// When this router heard of it, in seconds since the beginning of 1970, by its host's clock.
    pub at_unix_s: u64,
    /// The raddle network.
    pub network: String,
    /// The workload key.
    pub workload: String,
    /// The interface inside its container.
    pub ifname: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// The router that had it before.
    pub from: String,
    /// The router that has had it since.
    pub to: String,
    /// How often the address had changed hands by then.
    pub epoch: u64,
    /// Why it moved.
    pub why: MoveReason,
}

/// Why an address moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveReason {
    /// Its workload was started elsewhere.
    Followed,
    /// An operator had said where it was to go.
    Asked,
    /// Its workload was started elsewhere, and the container that still had it was cut off.
    TakenOver,
    /// Its host was revoked.
    Revoked,
    /// A reason that a newer router knows.
    #[serde(other)]
    Unknown,
}
