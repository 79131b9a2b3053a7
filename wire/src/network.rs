//! A network's pool: slot ⇄ IPv4 address, IPv6 address and MAC.
//!
//! Owns the arithmetic that lets one record cover both families and a moved container keep its MAC.
//! Knows nothing of who owns a slot.
//!
//! ```text
//!   slot 0            the pool's own address, never given out
//!   slot 1            the gateway, the same on every host
//!   slot 2 … n-2      containers (and hosts that expose themselves)
//!   slot n-1          the broadcast address, never given out
//!
//!   MAC   | 0x02 | hi6(network) << 2 | lo8(network) | slot, 4 bytes, big endian |
//! ```

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::id::{Mac, NetworkId, Slot};

/// One address pool under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its number on the wire and in MACs.
    pub id: NetworkId,
    /// Its name in configurations, at most 63 bytes.
    pub name: String,
    /// Its IPv4 addresses. They count the slots.
    pub pool: Pool,
    /// Its IPv6 addresses, if it has any: one for each slot.
    pub pool6: Option<Pool6>,
}

/// An IPv4 prefix of 8 to 28 bits whose host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The pool's own address: slot 0.
    pub base: Ipv4Addr,
    /// Prefix length in bits.
    pub prefix: u8,
}

/// An IPv6 prefix of at most 96 bits whose host bits are zero, so that every slot has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool6 {
    /// The pool's own address: slot 0.
    pub base: Ipv6Addr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl Network {
    /// How many slots the pool has, the two that are never given out and the gateway included.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.pool.slots()
    }

    /// Whether a container may have this slot.
    #[must_use]
    pub fn is_assignable(&self, slot: Slot) -> bool {
        slot > Slot::GATEWAY && slot.0 < self.slots().saturating_sub(1)
    }

    /// The slot's IPv4 address. `slot` must be inside the pool; beyond it the arithmetic wraps.
    #[must_use]
    pub fn address(&self, slot: Slot) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.pool.base.to_bits().wrapping_add(slot.0))
    }

    /// The slot's IPv6 address, if the network has IPv6.
    #[must_use]
    pub fn address6(&self, slot: Slot) -> Option<Ipv6Addr> {
        self.pool6.map(|pool| Ipv6Addr::from_bits(pool.base.to_bits() | u128::from(slot.0)))
    }

    /// The slot's MAC: locally administered, unicast.
    #[must_use]
    pub fn mac(&self, slot: Slot) -> Mac {
        let [_, _, high, low] = self.id.0.to_be_bytes();
        let [a, b, c, d] = slot.0.to_be_bytes();
        Mac([0x02 | (high & 0x3f) << 2, low, a, b, c, d])
    }

    /// The slot of an IPv4 address, if it is in the pool.
    #[must_use]
    pub fn slot_of(&self, address: Ipv4Addr) -> Option<Slot> {
        let offset = address.to_bits().checked_sub(self.pool.base.to_bits())?;
        (offset < self.slots()).then_some(Slot(offset))
    }

    /// The slot of an IPv6 address, if the network has IPv6 and the address is one of its slots'.
    #[must_use]
    pub fn slot_of6(&self, address: Ipv6Addr) -> Option<Slot> {
        let offset = address.to_bits().checked_sub(self.pool6?.base.to_bits())?;
        let offset = u32::try_from(offset).ok()?;
        (offset < self.slots()).then_some(Slot(offset))
    }

    /// The slot that a MAC names, if it is one of this network's.
    #[must_use]
    pub fn slot_of_mac(&self, mac: Mac) -> Option<Slot> {
        let [_, _, a, b, c, d] = mac.0;
        let slot = Slot(u32::from_be_bytes([a, b, c, d]));
        (slot.0 < self.slots() && self.mac(slot) == mac).then_some(slot)
    }

    /// Says what is wrong with a network that came from outside.
    ///
    /// # Errors
    /// One [`NetworkError`] for the first rule it breaks.
    pub fn validate(&self) -> Result<(), NetworkError> {
        if self.id > NetworkId::MAX {
            return Err(NetworkError::IdTooLarge { id: self.id });
        }
        if self.name.is_empty() || self.name.len() > 63 {
            return Err(NetworkError::Name { name: self.name.chars().take(80).collect() });
        }
        let Pool { base, prefix } = self.pool;
        if !(8..=28).contains(&prefix) || base.to_bits() & (self.pool.slots() - 1) != 0 {
            return Err(NetworkError::Pool { base, prefix });
        }
        if let Some(Pool6 { base, prefix }) = self.pool6 {
            let host_bits = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            if !(8..=96).contains(&prefix) || base.to_bits() & host_bits != 0 {
                return Err(NetworkError::Pool6 { base, prefix });
            }
        }
        Ok(())
    }
}

impl Pool {
    /// How many addresses the prefix has; at least one.
    #[must_use]
    pub fn slots(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0).saturating_add(1)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Display for Pool6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Why a network that came from outside is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The number does not fit a MAC.
    #[error("network number {id} is above {}", NetworkId::MAX)]
    IdTooLarge {
        /// The number.
        id: NetworkId,
    },
    /// The name is empty or longer than 63 bytes.
    #[error("network name {name:?} must have 1 to 63 bytes")]
    Name {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// Not a prefix of 8 to 28 bits, or host bits are set.
    #[error("{base}/{prefix} is not an IPv4 pool: 8 to 28 prefix bits, all others zero")]
    Pool {
        /// The address.
        base: Ipv4Addr,
        /// The prefix length.
        prefix: u8,
    },
    /// Not a prefix of 8 to 96 bits, or host bits are set.
    #[error("{base}/{prefix} is not an IPv6 pool: 8 to 96 prefix bits, all others zero")]
    Pool6 {
        /// The address.
        base: Ipv6Addr,
        /// The prefix length.
        prefix: u8,
    },
}

#[cfg(test)]
mod tests;
