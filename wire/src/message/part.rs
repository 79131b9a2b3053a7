//! How a message that is too long for one envelope travels.
//!
//! Owns the words. Knows nothing of what is in them.

use serde::{Deserialize, Serialize};

/// A piece of a message. Pieces follow one another on a stream, and one that does not follow ends the attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Tells this message from the sender's others.
    pub message: u64,
    /// Counts from 0.
    pub number: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}
