//! Decides what an unauthenticated message may cost: mac1, then a budget for each source, then a cookie under load — all
//! before any Diffie-Hellman.
//!
//! Owns the budgets and the cookie secret. Knows neither sessions nor members.
//!
//! ```text
//!   message ──mac1 wrong──▶ Drop
//!      │ no valid mac2, and load high, too many sources or this one's budget spent ──▶ Challenge (stateless, smaller
//!      │                                                                               than the question)
//!      │ budget of a source that has shown its cookie, or everybody's, is spent ──▶ Drop
//!      ▼
//!     Pass
//! ```
//!
//! Anybody can write a member's address on a datagram: what has shown no cookie spends a budget of its own, and never
//! that of the host that is really there. The last of everybody's budget is for members.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use wire::envelope::Kind;
use wire::{ClusterId, Identity};

use crate::config::GateLimits;
use crate::digest::{equal, hash, mac16};
use crate::rng::Rng;

/// The end of every handshake message: mac1, then mac2.
pub(crate) const MACS_BYTES: usize = 32;
/// A cookie reply: prefix, index of the one who asked, nonce, sealed cookie.
pub(crate) const COOKIE_REPLY_BYTES: usize = 4 + 4 + 24 + 16 + 16;

/// What may be done with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look at it.
    Pass,
    /// Do not.
    Drop,
    /// Do not; send this back instead.
    Challenge(Vec<u8>),
}

/// Whether an address is one of a member's: then it is charged alone, or one host could shut out its whole LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Known,
    Unknown,
}

/// The gate of one router.
pub(crate) struct Gate {
    limits: GateLimits,
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// Who asks, and whether it has shown that it can hear answers there.
    sources: BTreeMap<(IpAddr, bool), Budget>,
    /// Members that pass on others' calls: charged as a source is, each alone.
    relays: BTreeMap<Identity, Budget>,
    total: Budget,
    secret: [u8; 32],
    secret_since: Instant,
}

impl Gate {
    pub(crate) fn new(
        cluster: &ClusterId,
        noise_public: &[u8; 32],
        limits: GateLimits,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        let total = Budget::full(limits.total_per_second, now);
        let (mac1_key, cookie_key) = (mac1_key(cluster, noise_public), cookie_key(cluster, noise_public));
        Self {
            limits,
            mac1_key,
            cookie_key,
            sources: BTreeMap::new(),
            relays: BTreeMap::new(),
            total,
            secret: rng.bytes(),
            secret_since: now,
        }
    }

    /// Whether a handshake message has a valid mac1. Enough for a response: its owner expects it, and expects few.
    pub(crate) fn recognises(&self, message: &[u8]) -> bool {
        split(message).is_some_and(|(body, mac1, _)| equal(&mac16(&self.mac1_key, &[body]), mac1))
    }

    /// Judges an initiation that [`Self::recognises`]: its last 32 bytes are mac1 and mac2.
    pub(crate) fn judge(
        &mut self,
        from: SocketAddr,
        source: Source,
        message: &[u8],
        rng: &mut Rng,
        now: Instant,
    ) -> Verdict {
        let Some((_, &mac1, mac2)) = split(message) else {
            return Verdict::Drop;
        };
        let proven = self.has_cookie(from, message, mac2, rng, now);
        let asker = (charged(from, source), proven);
        if !proven && (self.is_loaded(asker, now) || !self.has_budget(asker, now)) {
            return self.challenge(from, message, &mac1, rng);
        }
        if self.spend(asker, source, now) { Verdict::Pass } else { Verdict::Drop }
    }

    /// Judges somebody on a stream: its carrier has shown already that it can hear answers.
    pub(crate) fn admits_stranger(&mut self, from: SocketAddr, source: Source, now: Instant) -> bool {
        self.spend((charged(from, source), true), source, now)
    }

    /// Judges an initiation that [`Self::recognises`] and a member has passed on. There is no challenge: the member has a
    /// session, and answers for what it passes on with its own budget.
    pub(crate) fn admits_relayed(&mut self, relay: Identity, now: Instant) -> bool {
        let (rate, burst, total) =
            (self.limits.source_per_second, self.limits.source_burst, self.limits.total_per_second);
        let budget = self.relays.entry(relay).or_insert_with(|| Budget::full(burst, now));
        budget.spend(rate, burst, now) && self.total.spend(total, total, now)
    }

    fn has_budget(&mut self, asker: (IpAddr, bool), now: Instant) -> bool {
        let (rate, burst) = (self.limits.source_per_second, self.limits.source_burst);
        self.sources.get_mut(&asker).is_none_or(|budget| budget.has(1.0, rate, burst, now))
    }

    /// Charges a message to the one who asks, then to everybody.
    fn spend(&mut self, asker: (IpAddr, bool), source: Source, now: Instant) -> bool {
        let (rate, burst, total) =
            (self.limits.source_per_second, self.limits.source_burst, self.limits.total_per_second);
        let kept = match (source, asker) {
            (Source::Known, (_, true)) => 0.0,
            (Source::Known, (_, false)) | (Source::Unknown, _) => f64::from(total) * KEPT_FOR_MEMBERS,
        };
        let budget = self.sources.entry(asker).or_insert_with(|| Budget::full(burst, now));
        budget.spend(rate, burst, now)
            && self.total.has(kept + 1.0, total, total, now)
            && self.total.spend(total, total, now)
    }

    /// Whether half of everybody's budget is spent, or there is no room to count one more source.
    fn is_loaded(&mut self, asker: (IpAddr, bool), now: Instant) -> bool {
        let (rate, burst, most) = (self.limits.source_per_second, self.limits.source_burst, self.limits.sources);
        if self.sources.len() >= most && !self.sources.contains_key(&asker) {
            self.sources.retain(|_, budget| !budget.has(f64::from(burst), rate, burst, now));
            if self.sources.len() >= most {
                return true;
            }
        }
        let total = self.limits.total_per_second;
        self.total.refill(total, total, now);
        self.total.tokens < f64::from(total) / 2.0
    }

    fn has_cookie(&mut self, from: SocketAddr, message: &[u8], mac2: &[u8; 16], rng: &mut Rng, now: Instant) -> bool {
        if now.saturating_duration_since(self.secret_since) > COOKIE_LIFE {
            (self.secret, self.secret_since) = (rng.bytes(), now);
        }
        let covered = message.get(..message.len().saturating_sub(16)).unwrap_or_default();
        equal(&mac16(&self.cookie(from), &[covered]), mac2)
    }

    fn cookie(&self, from: SocketAddr) -> [u8; 16] {
        let port = from.port().to_be_bytes();
        match from.ip() {
            IpAddr::V4(address) => mac16(&self.secret, &[&address.octets(), &port]),
            IpAddr::V6(address) => mac16(&self.secret, &[&address.octets(), &port]),
        }
    }

    fn challenge(&self, from: SocketAddr, message: &[u8], mac1: &[u8; 16], rng: &mut Rng) -> Verdict {
        let nonce: [u8; 24] = rng.bytes();
        let payload = Payload { msg: &self.cookie(from), aad: mac1 };
        let Ok(sealed) = XChaCha20Poly1305::new(&self.cookie_key.into()).encrypt(&nonce.into(), payload) else {
            return Verdict::Drop;
        };
        let index = message.get(4..8).unwrap_or_default();
        Verdict::Challenge([&Kind::Cookie.prefix()[..], index, &nonce, &sealed].concat())
    }
}

/// Adds mac1, and mac2 if there is a cookie.
pub(crate) fn seal_macs(message: &mut Vec<u8>, mac1_key: &[u8; 32], cookie: Option<&[u8; 16]>) -> [u8; 16] {
    let mac1 = mac16(mac1_key, &[message]);
    message.extend_from_slice(&mac1);
    let mac2 = cookie.map_or([0; 16], |cookie| mac16(cookie, &[message]));
    message.extend_from_slice(&mac2);
    mac1
}

/// The index a cookie reply is for.
pub(crate) fn cookie_reply_index(reply: &[u8]) -> Option<u32> {
    (reply.len() == COOKIE_REPLY_BYTES).then_some(())?;
    Some(u32::from_be_bytes(reply.get(4..8)?.try_into().ok()?))
}

/// Opens a cookie reply to a message with this mac1 to the holder of a handshake key.
pub(crate) fn open_cookie(
    reply: &[u8],
    cluster: &ClusterId,
    noise_public: &[u8; 32],
    mac1: &[u8; 16],
) -> Option<[u8; 16]> {
    let (nonce, sealed) = reply.get(8..)?.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new(&cookie_key(cluster, noise_public).into());
    cipher.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: mac1 }).ok()?.try_into().ok()
}

/// What mac1 of messages to the holder of a handshake key is keyed with.
pub(crate) fn mac1_key(cluster: &ClusterId, noise_public: &[u8; 32]) -> [u8; 32] {
    hash(&[b"raddle mac1 1---", &cluster.0, noise_public])
}

fn cookie_key(cluster: &ClusterId, noise_public: &[u8; 32]) -> [u8; 32] {
    hash(&[b"raddle cookie 1-", &cluster.0, noise_public])
}

/// To what a message is charged.
pub(crate) fn charged(from: SocketAddr, source: Source) -> IpAddr {
    match source {
        Source::Known => from.ip(),
        Source::Unknown => block_of(from.ip()),
    }
}

/// What is charged together: an IPv4 address, an IPv6 /64 (one subscriber has at least that much).
fn block_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// Body, mac1 and mac2 of a handshake message.
fn split(message: &[u8]) -> Option<(&[u8], &[u8; 16], &[u8; 16])> {
    let (rest, mac2) = message.split_last_chunk::<16>()?;
    let (body, mac1) = rest.split_last_chunk::<16>()?;
    Some((body, mac1, mac2))
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    tokens: f64,
    since: Instant,
}

impl Budget {
    pub(crate) fn full(burst: u32, now: Instant) -> Self {
        Self { tokens: f64::from(burst), since: now }
    }

    fn refill(&mut self, per_second: u32, burst: u32, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        self.tokens = (self.tokens + elapsed * f64::from(per_second)).min(f64::from(burst));
        self.since = now;
    }

    pub(crate) fn spend(&mut self, per_second: u32, burst: u32, now: Instant) -> bool {
        let enough = self.has(1.0, per_second, burst, now);
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    fn has(&mut self, tokens: f64, per_second: u32, burst: u32, now: Instant) -> bool {
        self.refill(per_second, burst, now);
        self.tokens >= tokens
    }
}

/// How much of everybody's budget strangers leave untouched.
const KEPT_FOR_MEMBERS: f64 = 0.25;
/// WireGuard's figure: a cookie is good for one roundtrip and a few retries, not for a day.
const COOKIE_LIFE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
