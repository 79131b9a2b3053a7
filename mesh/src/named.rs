//! The addresses an operator named without saying whose they are, and the routers of other clusters that were met over it.
//!
//! Owns when whoever is at such an address is asked for its cluster, and that a log hears of the answer once. Knows no peer
//! and no stream. Nothing here is proven, so nothing follows from it but a line in a log.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use wire::ClusterId;

use crate::member::ADDRESSES_MOST;

/// The named addresses.
#[derive(Debug, Default)]
pub(crate) struct Named {
    addresses: Vec<SocketAddr>,
    /// When those are to be asked who they are.
    asks: BTreeMap<SocketAddr, Instant>,
    /// The other clusters that a log has heard of.
    said: BTreeMap<SocketAddr, ClusterId>,
}

impl Named {
    /// Adds an address, or doubts again who is there. Returns whether it is new.
    pub(crate) fn add(&mut self, address: SocketAddr, now: Instant) -> bool {
        let is_new = !self.addresses.contains(&address);
        if is_new {
            if self.addresses.len() >= ADDRESSES_MOST {
                return false;
            }
            self.addresses.push(address);
        }
        self.asks.entry(address).or_insert(now + PATIENCE);
        is_new
    }

    /// Forgets an address.
    pub(crate) fn remove(&mut self, address: SocketAddr) {
        self.addresses.retain(|named| *named != address);
        self.asks.remove(&address);
        self.said.remove(&address);
    }

    /// All of them, in the order they were named.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next address to ask, unless a member has answered there. Each is asked once for each time it was named.
    pub(crate) fn poll_ask(&mut self, now: Instant) -> Option<SocketAddr> {
        let due = self.asks.iter().find(|(_, at)| **at <= now).map(|(address, _)| *address)?;
        self.asks.remove(&due);
        Some(due)
    }

    /// When `poll_ask` has something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asks.values().min().copied()
    }

    /// Notes which other cluster is at an address, `None` = ours. Returns whether a log is to hear of it.
    pub(crate) fn note(&mut self, address: SocketAddr, other: Option<ClusterId>) -> bool {
        match other.filter(|_| self.addresses.contains(&address)) {
            Some(cluster) => self.said.insert(address, cluster) != Some(cluster),
            None => {
                self.said.remove(&address);
                false
            }
        }
    }
}

/// Who came from another cluster and asked.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    noted: BTreeMap<IpAddr, Instant>,
}

impl Callers {
    /// Notes a caller. Returns whether a log is to hear of it: each host once in a while, and few hosts at a time.
    pub(crate) fn note(&mut self, host: IpAddr, now: Instant) -> bool {
        self.noted.retain(|_, since| now.saturating_duration_since(*since) < MEMORY);
        if self.noted.len() >= CALLERS_MOST || self.noted.contains_key(&host) {
            return false;
        }
        self.noted.insert(host, now);
        true
    }
}

/// How long a member has to answer at a named address before whoever is there is asked: a handshake that lost two datagrams.
const PATIENCE: Duration = Duration::from_secs(2);
/// A router that is pointed at the wrong cluster asks again and again; an operator who looks an hour later finds a line.
const MEMORY: Duration = Duration::from_secs(3600);
/// Lines that strangers can put into a log in that time.
const CALLERS_MOST: usize = 64;

#[cfg(test)]
mod tests;
