//! Per-interface kernel settings.
//!
//! Owns how `/proc/sys/net` is laid out: what is read or written belongs to the calling thread's network namespace.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A protocol with settings for each interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
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

/// Reads one setting of one interface; none where the kernel has no such setting.
pub(crate) fn read(family: Family, interface: &str, key: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(path(family, interface, key)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source),
    }
}

fn path(family: Family, interface: &str, key: &str) -> PathBuf {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    Path::new(ROOT).join(family).join("conf").join(interface).join(key)
}

/// Where the settings are.
pub(crate) const ROOT: &str = "/proc/sys/net";

#[cfg(test)]
mod tests;
