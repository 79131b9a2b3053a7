//! Where the engines are that are newer than the system's.

use std::path::PathBuf;

/// Where `scripts/newer-engines` has unpacked them. `RADDLE_ENGINES` names another place; one that is empty shows what
/// becomes of everything that needs them.
#[must_use]
pub(crate) fn newer_engines() -> PathBuf {
    std::env::var_os("RADDLE_ENGINES").map_or_else(|| PathBuf::from("/opt/raddle-engines"), PathBuf::from)
}
