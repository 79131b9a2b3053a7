//! Has the host pass packets on between its interfaces.
//!
//! Owns what has to be kept as it was when that begins. Never switches it off again: others may have come to rely on it.

use std::fs;
use std::io;
use std::path::Path;

use crate::sysctl;
pub use crate::sysctl::Family;

/// Switches forwarding on for all interfaces of the calling thread's network namespace. Where it is on, nothing changes.
///
/// The kernel needs it for all of them: it asks the interface that a packet came in by, and answers come in by another.
///
/// # Errors
/// [`ForwardError`].
pub fn switch_on(family: Family) -> Result<(), ForwardError> {
    let wrong = |source| ForwardError { family, source };
    if sysctl::read(family, ALL, KEY).map_err(wrong)?.as_deref() == Some("1") {
        return Ok(());
    }
    if matches!(family, Family::V6) {
        keep_listening_to_routers().map_err(wrong)?;
    }
    match sysctl::write(family, ALL, KEY, "1").map_err(wrong)? {
        sysctl::Written::Done => Ok(()),
        sysctl::Written::Absent => Err(wrong(io::ErrorKind::NotFound.into())),
    }
}

/// A host that forwards IPv6 no longer takes its own routes from router advertisements, unless it is told to go on
/// ("2", ip-sysctl). Whoever did so far goes on.
fn keep_listening_to_routers() -> io::Result<()> {
    for entry in fs::read_dir(Path::new(sysctl::ROOT).join("ipv6/conf"))? {
        let name = entry?.file_name();
        // What is meant for interfaces that come later was never a word to any that is there.
        let Some(interface) = name.to_str().filter(|name| ![ALL, DEFAULT].contains(name)) else { continue };
        let of = |key| sysctl::read(Family::V6, interface, key);
        if of("accept_ra")?.as_deref() == Some("1") && of(KEY)?.as_deref() == Some("0") {
            sysctl::write(Family::V6, interface, "accept_ra", "2")?;
        }
    }
    Ok(())
}

/// The settings of all interfaces at once.
const ALL: &str = "all";

/// What an interface begins with.
const DEFAULT: &str = "default";

const KEY: &str = "forwarding";

/// The host passes nothing on.
#[derive(Debug, thiserror::Error)]
#[error("the host's forwarding of {family} cannot be switched on")]
pub struct ForwardError {
    /// Of which protocol.
    pub family: Family,
    /// What the kernel said.
    pub source: io::Error,
}
