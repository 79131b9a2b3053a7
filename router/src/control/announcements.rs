//! Says again where an address lives: its container said it once, when it was attached, and somebody may not have heard.
//!
//! Owns what is still to be announced and when. Knows nothing of who listens.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hostnet::announce::{ANNOUNCE_AT_MS, Announcer};

/// What is to be announced.
pub(crate) struct Announcements {
    announcer: Announcer,
    /// In the order in which they were made; few at a time.
    due: Vec<Announcement>,
}

struct Announcement {
    at: Instant,
    mac: [u8; 6],
    addresses: Vec<IpAddr>,
}

impl Announcements {
    pub(crate) fn new(announcer: Announcer) -> Self {
        Self { announcer, due: Vec::new() }
    }

    /// Announces the addresses at each of the usual times, counted from `now`.
    pub(super) fn begin(&mut self, mac: [u8; 6], addresses: &[IpAddr], now: Instant) {
        if self.due.len() < WAITING {
            let at = |milliseconds| now + Duration::from_millis(milliseconds);
            let all = ANNOUNCE_AT_MS.map(|after| Announcement { at: at(after), mac, addresses: addresses.to_vec() });
            self.due.extend(all);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.iter().map(|announcement| announcement.at).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<_> = self.due.extract_if(.., |announcement| announcement.at <= now).collect();
        for Announcement { mac, addresses, .. } in due {
            if let Err(error) = self.announcer.announce(mac, &addresses) {
                tracing::warn!(%error, "an address was not announced");
            }
        }
    }
}

/// A burst of more than this many starts is announced by the containers alone.
const WAITING: usize = 3 * 1024;
