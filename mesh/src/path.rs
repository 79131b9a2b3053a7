//! Where a peer may be, and where it is.
//!
//! Owns the order in which addresses are tried. Knows no session: its owner says which datagrams were authentic.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use wire::Addresses;

use crate::path_mtu::PathMtu;

/// The addresses of one peer.
#[derive(Debug)]
pub(crate) struct Path {
    /// Where the newest authentic datagram came from.
    endpoint: Option<SocketAddr>,
    /// Where it says it listens.
    listed: Addresses,
    /// Where another peer sees it.
    seen: Option<SocketAddr>,
    /// Which candidate is next.
    turn: usize,
    /// How large its datagrams may be.
    pub(crate) mtu: PathMtu,
}

impl Path {
    pub(crate) fn new(now: Instant) -> Self {
        Self { endpoint: None, listed: Addresses::new(), seen: None, turn: 0, mtu: PathMtu::new(now) }
    }

    /// Follows the peer. Returns whether that was a change.
    pub(crate) fn follow(&mut self, address: SocketAddr) -> bool {
        self.endpoint.replace(address) != Some(address)
    }

    /// Takes over what the peer says of itself. Returns whether that was news.
    pub(crate) fn list(&mut self, addresses: &[SocketAddr]) -> bool {
        let listed: Addresses = addresses.iter().copied().map(plain).collect();
        self.turn = 0;
        std::mem::replace(&mut self.listed, listed) != self.listed
    }

    /// Takes over where another peer sees it. Returns whether that was news.
    pub(crate) fn hint(&mut self, address: SocketAddr) -> bool {
        self.seen.replace(plain(address)) != Some(plain(address))
    }

    /// Begins again with the best address.
    pub(crate) fn restart(&mut self) {
        self.turn = 0;
    }

    /// Where the peer is.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// The next address to try: the known endpoint, what is listed, where it was seen, what an operator named; in turn.
    pub(crate) fn next(&mut self, named: &[SocketAddr]) -> Option<SocketAddr> {
        let candidates = self.candidates(named);
        let address = candidates.get(self.turn.checked_rem(candidates.len())?).copied();
        self.turn = self.turn.wrapping_add(1);
        address
    }

    /// How many addresses there are to try.
    pub(crate) fn choices(&self, named: &[SocketAddr]) -> usize {
        self.candidates(named).len()
    }

    /// The `attempt`-th address to dial over TCP: the listening address on the host where the peer is, then all others.
    pub(crate) fn dial(&self, attempt: u32, named: &[SocketAddr]) -> Option<SocketAddr> {
        let here = self.endpoint.map(|endpoint| endpoint.ip());
        let mut candidates = self.candidates(named);
        candidates.sort_by_key(|address| (Some(address.ip()) != here, !self.listed.contains(address)));
        let attempt = usize::try_from(attempt).unwrap_or_default();
        candidates.get(attempt.checked_rem(candidates.len())?).copied()
    }

    /// The largest UDP payload on the path.
    pub(crate) fn datagram_bytes(&self) -> u16 {
        self.mtu.datagram_bytes(self.endpoint)
    }

    /// Whether the peer is somewhere it does not know of: behind a NAT, or on its way.
    pub(crate) fn is_translated(&self) -> bool {
        self.endpoint.is_some_and(|endpoint| !self.listed.contains(&endpoint))
    }

    /// The hosts where the peer is, or may be.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.endpoint.iter().chain(&self.listed).map(SocketAddr::ip)
    }

    /// Whether this is where the peer is, or where it says it listens.
    pub(crate) fn leads_to(&self, address: SocketAddr) -> bool {
        self.endpoint.iter().chain(&self.listed).any(|known| *known == address)
    }

    /// Every address to try.
    pub(crate) fn candidates(&self, named: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut candidates = Vec::new();
        for address in self.endpoint.iter().chain(&self.listed).chain(&self.seen).chain(named) {
            if !candidates.contains(address) && is_callable(*address) {
                candidates.push(*address);
            }
        }
        candidates
    }
}

/// An IPv4 address that a dual-stack socket shows as IPv6, as what it is.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(address, |ip| SocketAddr::from((ip, address.port()))),
        IpAddr::V4(_) => address,
    }
}

/// What a router may be told to send to: no wildcard, no group, no port 0.
fn is_callable(address: SocketAddr) -> bool {
    !(address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0)
}

#[cfg(test)]
mod tests;
