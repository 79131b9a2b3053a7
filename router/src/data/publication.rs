//! The slot through which control hands forwarding to the data threads: newest wins, nobody waits.
//!
//! Owns the newest value and its version. A reader looks at one atomic number for each batch and takes the lock only when
//! that has changed, which is a few times a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Forwarding;

/// The newest forwarding.
#[derive(Default)]
pub(super) struct Publication {
    version: AtomicU64,
    newest: Mutex<Option<Forwarding>>,
}

impl Publication {
    /// Replaces the newest.
    pub(super) fn publish(&self, forwarding: Forwarding) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(forwarding);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The newest, if it is not the one of version `seen`, which then becomes its version.
    pub(super) fn newer(&self, seen: &mut u64) -> Option<Forwarding> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        // What the lock holds may be newer still; then the next look finds the same again, which harms nobody.
        *seen = version;
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
