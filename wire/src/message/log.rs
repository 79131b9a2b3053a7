//! How far a router's log has come.
//!
//! Owns the words. A number that falls is a store that went back in time, and so is one that was written in another life.

use serde::{Deserialize, Serialize};

use crate::id::Identity;
use crate::record::Signature;

/// A router's word on how often its store was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// What is signed.
    pub body: LogBody,
    /// The author's Ed25519 signature over the encoded `body`.
    pub signature: Signature,
}

/// The signed part of a [`LogHead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBody {
    /// Whose log.
    pub author: Identity,
    /// Batches its store holds for good.
    pub number: u64,
    /// Which of the author's starts the last of them was written after.
    pub life: u64,
}
