//! Per-interface kernel settings.
//!
//! Owns how `/proc/sys/net` is laid out: what is read or written belongs to the calling thread's network namespace.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A protocol with settings for each interface.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Whether there was something to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// The kernel has no such setting, or the protocol is switched off altogether.
    Absent,
}

/// Writes one setting of one interface.
pub(crate) fn write(family: Family, interface: &str, key: &str, value: &str) -> io::Result<Written> {
    // Not `fs::write`: where there is nothing to write to, asking to create it is "permission denied".
    let opened = OpenOptions::new().write(true).open(path(family, interface, key));
    match opened.and_then(|mut file| file.write_all(value.as_bytes())) {
        Ok(()) => Ok(Written::Done),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Written::Absent),
        Err(source) => Err(source),
    }
}

fn path(family: Family, interface: &str, key: &str) -> PathBuf {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    Path::new("/proc/sys/net").join(family).join("conf").join(interface).join(key)
}

#[cfg(test)]
mod tests;
