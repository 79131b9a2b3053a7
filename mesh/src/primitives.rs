//! What handshakes and members' signatures are computed with.
//!
//! Owns the one set that a router has. Knows no message. A value, as the clock and the randomness are, because what a thousand
//! routers compute at a start is too much for one process: a simulation of them brings a set of its own.

use snow::resolvers::{BoxedCryptoResolver, DefaultResolver};
use wire::Verify;

use crate::identity::verify;

/// A set of primitives.
#[derive(Debug, Clone, Copy)]
pub struct Primitives {
    /// Diffie-Hellman, cipher and hash of handshakes. Its generator is not asked: randomness is the mesh's seed.
    pub noise: fn() -> BoxedCryptoResolver,
    /// How members' signatures are checked.
    pub verify: Verify,
}

impl Default for Primitives {
    /// X25519, ChaCha20-Poly1305, BLAKE2s; Ed25519.
    fn default() -> Self {
        Self { noise: || Box::new(DefaultResolver), verify }
    }
}
