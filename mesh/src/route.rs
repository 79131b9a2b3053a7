//! How datagrams reach a peer.
//!
//! Owns the one word for it.

use std::net::SocketAddr;

use wire::Identity;

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Straight to its address.
    Direct(SocketAddr),
    /// By way of this neighbour, which reads none of it.
    Relay(Identity),
    /// There is none at the moment.
    None,
}
