//! Addresses and interface names as people write them.
//!
//! Owns what may be left out and what takes its place. Resolves no name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where routers listen unless they are told otherwise, UDP and TCP: the registered port of this protocol's ancestor, open in
/// its users' firewalls.
pub(crate) const DEFAULT_PORT: u16 = 6783;

/// Where another router may be: a host name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerAddress {
    /// A name to be resolved, or an address; IPv6 without brackets.
    pub(crate) host: String,
    /// The port, [`DEFAULT_PORT`] unless given.
    pub(crate) port: u16,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError { text: text.chars().take(80).collect(), reason };
        let (host, port) = split_port(text).map_err(wrong)?;
        let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        let numeric = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let known = host.parse::<IpAddr>().is_ok() || scoped(host).is_some();
        let fits = name && !numeric && (1..=253).contains(&host.len()) && !host.starts_with(['-', '.']);
        if !known && !fits {
            return Err(wrong("not a host name or an address"));
        }
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) })
    }
}

/// An address of this host, and perhaps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UnderlayAddress {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port, if one was given.
    pub(crate) port: Option<u16>,
}

impl UnderlayAddress {
    /// With this port unless one was given.
    pub(crate) fn or_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl FromStr for UnderlayAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError { text: text.chars().take(80).collect(), reason };
        let (host, port) = split_port(text).map_err(wrong)?;
        let ip = host.parse().map_err(|_| wrong("not an address (names are not looked up here)"))?;
        Ok(Self { ip, port })
    }
}

/// Text that is not an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}; write HOST, HOST:PORT, V6 or [V6]:PORT")]
pub(crate) struct AddressError {
    text: String,
    reason: &'static str,
}

/// Checks the name of a network interface.
pub(super) fn parse_interface(text: &str) -> Result<String, InterfaceNameError> {
    // The kernel's rule (dev_valid_name), and nothing that a shell or a table would take for something else.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sound = (1..=15).contains(&text.len()) && text.bytes().all(allowed);
    if !sound || text.starts_with(['-', '.']) {
        return Err(InterfaceNameError { text: text.chars().take(80).collect() });
    }
    Ok(text.to_owned())
}

/// Text that cannot name an interface.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an interface name: 1 to 15 letters, digits, '-', '_' or '.', not beginning with '-' or '.'")]
pub(super) struct InterfaceNameError {
    text: String,
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        if host.parse::<Ipv6Addr>().is_err() && scoped(host).is_none() {
            return Err("not an IPv6 address in the brackets");
        }
        let port = match after.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if after.is_empty() => None,
            None => return Err("something else than a port follows the bracket"),
        };
        return Ok((host, port));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(parse_port(port)?))),
        Some(_) | None => Ok((text, None)),
    }
}

/// `fe80::1%eth0`: an IPv6 address that needs its interface said.
fn scoped(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%')?;
    parse_interface(zone).ok()?;
    address.parse().ok()
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0).ok_or("the port is not a number from 1 to 65535")
}

#[cfg(test)]
mod tests;
