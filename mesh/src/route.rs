//! How datagrams reach a peer.
//!
//! Owns the one word for it. There is one way so far, the direct one; the envelope type for relayed ones is reserved.

use std::net::SocketAddr;

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Straight to its address.
    Direct(SocketAddr),
    /// There is none at the moment.
    None,
}
