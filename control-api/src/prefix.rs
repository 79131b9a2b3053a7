//! An address with the length of its network's prefix: `10.32.0.5/12`.
//!
//! Owns how it is written. Knows nothing of pools.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An interface's address and how many of its leading bits name the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefixed<A> {
    /// The interface's own address, host bits and all.
    pub address: A,
    /// Prefix length in bits, at most 32 or 128.
    pub prefix: u8,
}

/// A family of addresses.
pub trait Family: Copy + FromStr + fmt::Display + Into<IpAddr> {
    /// How many bits an address has.
    const BITS: u8;
}

impl Family for Ipv4Addr {
    const BITS: u8 = 32;
}

impl Family for Ipv6Addr {
    const BITS: u8 = 128;
}

impl<A: Family> fmt::Display for Prefixed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<A: Family> FromStr for Prefixed<A> {
    type Err = PrefixedError;

    fn from_str(text: &str) -> Result<Self, PrefixedError> {
        let wrong = || PrefixedError { text: text.chars().take(80).collect(), bits: A::BITS };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        // `u8::from_str` would take "+12".
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|&bits: &u8| digits && bits <= A::BITS).ok_or_else(wrong)?;
        Ok(Self { address, prefix })
    }
}

impl<A: Family> Serialize for Prefixed<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, A: Family> Deserialize<'de> for Prefixed<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that is not an address with a prefix length.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address with a prefix length of 0 to {bits} bits")]
pub struct PrefixedError {
    /// The text, cut to 80 characters.
    pub text: String,
    /// How many bits an address of the family has.
    pub bits: u8,
}

#[cfg(test)]
mod tests;
