//! Pools and block sizes as people write them.
//!
//! Owns the reading; what a pool may be is `wire`'s to say.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use control_api::{Prefixed, PrefixedError};
use wire::{Network, NetworkError, NetworkId, Pool, Pool6};

/// Where containers' IPv6 addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolChoice6 {
    /// A random unique local prefix (RFC 4193), made once by `init`.
    Random,
    /// This one.
    Given(Pool6),
}

impl FromStr for PoolChoice6 {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        if text == "auto" {
            return Ok(Self::Random);
        }
        let Prefixed { address, prefix } = text.parse::<Prefixed<Ipv6Addr>>()?;
        let pool6 = Pool6 { base: address, prefix };
        checked(ANY_POOL, Some(pool6))?;
        Ok(Self::Given(pool6))
    }
}

/// Reads an IPv4 pool.
pub(super) fn parse_pool(text: &str) -> Result<Pool, PoolError> {
    let Prefixed { address, prefix } = text.parse::<Prefixed<Ipv4Addr>>()?;
    let pool = Pool { base: address, prefix };
    checked(pool, None)?;
    Ok(pool)
}

/// Reads how many addresses a block has.
pub(super) fn parse_block_size(text: &str) -> Result<u32, BlockSizeError> {
    let size = text.parse().ok().filter(|size: &u32| size.is_power_of_two() && BLOCK_SIZES.contains(size));
    size.ok_or_else(|| BlockSizeError { text: text.chars().take(80).collect() })
}

/// Text that is not a pool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    #[error(transparent)]
    Text(#[from] PrefixedError),
    #[error(transparent)]
    Pool(#[from] NetworkError),
}

/// Text that is not a block size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a power of two from 4 to 65536")]
pub(super) struct BlockSizeError {
    text: String,
}

fn checked(pool: Pool, pool6: Option<Pool6>) -> Result<(), NetworkError> {
    Network { id: NetworkId::DEFAULT, name: control_api::DEFAULT_NETWORK.to_owned(), pool, pool6 }.validate()
}

/// The pool of a cluster that is not told otherwise.
pub(super) const DEFAULT_POOL: Pool = Pool { base: Ipv4Addr::new(10, 32, 0, 0), prefix: 12 };

/// Enough for the containers of most hosts, and few enough that a pool is enough for many.
pub(super) const DEFAULT_BLOCK_SIZE: u32 = 64;

/// Stands in for the pool where only the IPv6 one is being read.
const ANY_POOL: Pool = Pool { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 8 };

/// Below 4 the two ends of the pool and the gateway eat a whole block; a block of 65536 is a host with a /16 of its own.
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4..=65_536;

#[cfg(test)]
mod tests;
