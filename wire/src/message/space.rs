//! How a router asks for room, and how one says that it has some.
//!
//! Owns the words. Knows nothing of who has any.

use serde::{Deserialize, Serialize};

use crate::id::NetworkId;

/// A request for address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRequest {
    /// The pool.
    pub network: NetworkId,
    /// How many blocks the asker knows to be its own: an owner who knows of more repeats its gift instead of giving again.
    pub have: u32,
    /// How much it needs it.
    pub need: Need,
}

/// How much a block is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Need {
    /// To keep one ahead.
    Spare,
    /// A container waits for an address.
    Waiting,
}

/// What a router could give of one pool, by its own word: a hint whom to ask, and nothing rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Room {
    /// The pool.
    pub network: NetworkId,
    /// So many blocks.
    pub blocks: u32,
}
