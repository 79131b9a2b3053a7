//! How a workload's address came to the host that has it.
//!
//! Owns the words. Decides nothing.

use serde::{Deserialize, Serialize};

use crate::id::Identity;

/// The last move of an address, as whoever has it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Came {
    /// Who had it before.
    pub from: Identity,
    /// Why it left.
    pub why: Why,
}

/// Why an address left its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Why {
    /// Its workload was started elsewhere.
    Followed,
    /// An operator had said where it was to go.
    Asked,
    /// Its workload was started elsewhere, and the container that still had it was cut off.
    TakenOver,
    /// Its host was revoked.
    Revoked,
}
