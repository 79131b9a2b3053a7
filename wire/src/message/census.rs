//! How the directory is rid of lines that are over.
//!
//! Owns the words. Decides nothing.

use serde::{Deserialize, Serialize};

use super::LINES_MAX;
use crate::id::Identity;
use crate::record::Signature;

/// An author's word on which of its lines are not over. Where it is known, no other line of that author's up to the same number
/// is taken any more, whoever kept it and for however long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// What is signed.
    pub body: CensusBody,
    /// The author's Ed25519 signature over the encoded `body`.
    pub signature: Signature,
}

/// The signed part of a [`Census`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusBody {
    /// Whose lines.
    pub author: Identity,
    /// Up to this number.
    pub upto: u64,
    /// The numbers of those that are not over, ascending.
    pub living: Vec<u64>,
}

impl Census {
    pub(super) fn is_within_limits(&self) -> bool {
        let CensusBody { upto, living, .. } = &self.body;
        living.len() <= LINES_MAX && living.is_sorted() && living.last().is_none_or(|last| last <= upto)
    }
}
