//! Socket addresses as the kernel writes them (`sockaddr_in`, `sockaddr_in6`).
//!
//! Owns their layout, in plain bytes. Knows no socket. A dual-stack socket receives IPv4 addresses as mapped ones and sends
//! to either form.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// One socket address. Aligned as `sockaddr_storage` is.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; 28],
}

impl Name {
    /// Bytes there are for an address: those of `sockaddr_in6`, the longer one.
    pub(super) const ROOM: libc::socklen_t = 28;

    /// Room for the kernel to write to.
    pub(super) fn empty() -> Self {
        Self { bytes: [0; 28] }
    }

    /// The address, IPv4 if it is a mapped one. `None` when the kernel wrote none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let [f0, f1, p0, p1, rest @ ..] = self.bytes;
        let port = u16::from_be_bytes([p0, p1]);
        match i32::from(u16::from_ne_bytes([f0, f1])) {
            libc::AF_INET => Some(SocketAddr::from((Ipv4Addr::from(*rest.first_chunk::<4>()?), port))),
            libc::AF_INET6 => {
                let address = Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?);
                let scope = u32::from_ne_bytes(*rest.get(20..)?.first_chunk::<4>()?);
                Some(match address.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::from((v4, port)),
                    None => SocketAddrV6::new(address, port, 0, scope).into(),
                })
            }
            _ => None,
        }
    }

    /// Bytes of the address.
    pub(super) fn length(&self) -> libc::socklen_t {
        let [f0, f1, ..] = self.bytes;
        if i32::from(u16::from_ne_bytes([f0, f1])) == libc::AF_INET { 16 } else { Self::ROOM }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.bytes.as_mut_ptr().cast()
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Self {
        let mut name = Self::empty();
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // Address families are small positive numbers in a 16-bit field.
        name.bytes[..2].copy_from_slice(&u16::try_from(family).unwrap_or_default().to_ne_bytes());
        name.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => name.bytes[4..8].copy_from_slice(&v4.ip().octets()),
            SocketAddr::V6(v6) => {
                name.bytes[8..24].copy_from_slice(&v6.ip().octets());
                name.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            }
        }
        name
    }
}
