//! The one clock that survives a restart of the router: time since the machine booted.
//!
//! Wall clocks jump; nothing here asks one. What was due before a reboot counts as past.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on this boot of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootTime {
    boot_id: String,
    since_boot: Duration,
}

impl BootTime {
    /// This moment, suspended time included.
    pub(crate) fn now() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = uptime.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
        Self { boot_id, since_boot: Duration::try_from_secs_f64(seconds).unwrap_or_default() }
    }

    /// The moment `after` this one.
    pub(crate) fn plus(&self, after: Duration) -> Self {
        Self { boot_id: self.boot_id.clone(), since_boot: self.since_boot.saturating_add(after) }
    }

    /// Whether the moment has come. Moments of an earlier boot have.
    pub(crate) fn is_past(&self, now: &Self) -> bool {
        self.boot_id != now.boot_id || self.since_boot <= now.since_boot
    }

    /// How long until the moment; zero when it is past.
    pub(crate) fn remaining(&self, now: &Self) -> Duration {
        if self.is_past(now) { Duration::ZERO } else { self.since_boot.saturating_sub(now.since_boot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_passes_once_and_a_reboot_passes_all() {
        let now = BootTime { boot_id: "a".to_owned(), since_boot: Duration::from_secs(100) };
        let later = now.plus(Duration::from_secs(5));
        assert!(!later.is_past(&now) && later.remaining(&now) == Duration::from_secs(5));
        assert!(later.is_past(&now.plus(Duration::from_secs(5))));
        let rebooted = BootTime { boot_id: "b".to_owned(), since_boot: Duration::ZERO };
        assert!(later.is_past(&rebooted));
    }

    #[test]
    fn this_machine_has_been_up_for_a_while() {
        assert!(BootTime::now().since_boot > Duration::ZERO);
    }
}
