//! The sessions with one peer: which one seals, which ones still open, and when they end.
//!
//! Owns the control keys and the choice of the session to send under. Knows neither addresses nor messages.
//!
//! ```text
//!   we called:      response ───▶ usable ──first authentic envelope──▶ confirmed
//!   we were called: initiation ─▶ silent ──first authentic envelope──▶ confirmed
//!
//!   control seals under the newest that is usable or confirmed; data under the newest confirmed one, because only then
//!   have the peer's data threads certainly been told. All open until they are too old.
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::envelope::{HEADER_BYTES, Kind, OVERHEAD_BYTES, TAG_BYTES};

use crate::aead::{OpenError, Opener, Sealer};
use crate::handshake::Keys;
use crate::plan::{DataSession, SessionHead};

/// Who began the handshake. The one who did renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Called,
}

/// What may be sealed under a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Nothing: the call may have been a recording.
    Silent,
    /// Control envelopes: the peer has the keys.
    Usable,
    /// Everything: the peer uses them.
    Confirmed,
}

/// What an authentic envelope said about its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// It is the first one: the peer has the keys.
    First,
    /// Nothing new.
    Known,
}

/// One handshake's keys.
pub(crate) struct Session {
    pub(crate) local_index: u32,
    /// The peer's boot counter: a session with an earlier life of the peer is worth nothing.
    pub(crate) boot: u32,
    pub(crate) since: Instant,
    pub(crate) renew: Instant,
    pub(crate) data: Arc<DataSession>,
    trust: Trust,
    sealer: Sealer,
    opener: Opener,
}

/// When a session begins and who began it.
pub(crate) struct Birth {
    pub(crate) role: Role,
    pub(crate) boot: u32,
    pub(crate) since: Instant,
    pub(crate) renew: Instant,
}

impl Session {
    pub(crate) fn new(head: SessionHead, birth: &Birth, keys: Keys) -> Self {
        let sealer =
            Sealer::new(crate::aead::Suite::ChaCha20Poly1305, &keys.control_send, Kind::Control, 0, head.remote_index);
        let opener = Opener::new(crate::aead::Suite::ChaCha20Poly1305, &keys.control_receive);
        let data = Arc::new(DataSession::new(head, keys.data_send, keys.data_receive));
        let Birth { role, boot, since, renew } = *birth;
        let trust = if role == Role::Caller { Trust::Usable } else { Trust::Silent };
        Self { local_index: head.local_index, boot, since, renew, data, trust, sealer, opener }
    }

    /// A control envelope of a plaintext. `None` when the key is used up.
    pub(crate) fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let mut envelope = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
        envelope.resize(HEADER_BYTES, 0);
        envelope.extend_from_slice(plaintext);
        envelope.resize(plaintext.len() + HEADER_BYTES + TAG_BYTES, 0);
        self.sealer.seal(&mut envelope).ok()?;
        Some(envelope)
    }

    fn confirm(&mut self) -> Confirmation {
        match std::mem::replace(&mut self.trust, Trust::Confirmed) {
            Trust::Confirmed => Confirmation::Known,
            Trust::Silent | Trust::Usable => Confirmation::First,
        }
    }

    fn is_worn(&self) -> bool {
        self.sealer.is_worn()
    }
}

/// An opened control envelope.
pub(crate) struct Opened {
    pub(crate) plaintext: Vec<u8>,
    pub(crate) confirmation: Confirmation,
    /// Whether nothing later has been opened before: only then is its source the peer's newest address.
    pub(crate) newest: bool,
    pub(crate) boot: u32,
}

/// All sessions with one peer, newest first.
#[derive(Default)]
pub(crate) struct Sessions {
    list: Vec<Session>,
}

impl Sessions {
    /// Adds a session. Returns the numbers of those that made room.
    pub(crate) fn add(&mut self, session: Session) -> Vec<u32> {
        self.list.insert(0, session);
        let mut dropped = Vec::new();
        while self.list.len() > SESSIONS_MOST {
            dropped.push(self.list.remove(self.least_useful()).local_index);
        }
        dropped
    }

    /// Opens a control envelope for the session of this number.
    pub(crate) fn open(&mut self, local_index: u32, counter: u64, envelope: &mut [u8]) -> Result<Opened, OpenError> {
        let session =
            self.list.iter_mut().find(|session| session.local_index == local_index).ok_or(OpenError::Forged)?;
        let newest = session.opener.is_newest(counter);
        let plaintext = session.opener.open(envelope)?.to_vec();
        Ok(Opened { plaintext, confirmation: session.confirm(), newest, boot: session.boot })
    }

    /// The session of this number was confirmed by a data envelope.
    pub(crate) fn confirm(&mut self, local_index: u32) -> Option<(Confirmation, u32)> {
        let session = self.list.iter_mut().find(|session| session.local_index == local_index)?;
        Some((session.confirm(), session.boot))
    }

    /// Drops those too old to be used. Returns their numbers.
    pub(crate) fn expire(&mut self, refuse: Duration, now: Instant) -> Vec<u32> {
        self.drop_where(|session| now.saturating_duration_since(session.since) >= refuse)
    }

    /// Drops those with an earlier life of the peer. Returns their numbers.
    pub(crate) fn drop_before(&mut self, boot: u32) -> Vec<u32> {
        self.drop_where(|session| session.boot < boot)
    }

    /// Drops all. Returns their numbers.
    pub(crate) fn clear(&mut self) -> Vec<u32> {
        self.drop_where(|_| true)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The session for control envelopes.
    pub(crate) fn sending(&mut self) -> Option<&mut Session> {
        self.list.iter_mut().find(|session| session.trust >= Trust::Usable)
    }

    /// The same, to look at.
    pub(crate) fn current(&self) -> Option<&Session> {
        self.list.iter().find(|session| session.trust >= Trust::Usable)
    }

    /// The session for data envelopes.
    pub(crate) fn carrying(&self) -> Option<&Session> {
        self.list.iter().find(|session| session.trust == Trust::Confirmed).or_else(|| self.current())
    }

    /// Whether a new handshake is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.current().is_some_and(|session| now >= session.renew || session.is_worn())
    }

    /// When the next session is renewed or ends.
    pub(crate) fn deadline(&self, refuse: Duration) -> Option<Instant> {
        self.list.iter().map(|session| session.since + refuse).min()
    }

    /// What the data threads open under.
    pub(crate) fn data(&self) -> Vec<Arc<DataSession>> {
        self.list.iter().map(|session| Arc::clone(&session.data)).collect()
    }

    fn drop_where(&mut self, useless: impl Fn(&Session) -> bool) -> Vec<u32> {
        let dropped = self.list.iter().filter(|session| useless(session)).map(|session| session.local_index).collect();
        self.list.retain(|session| !useless(session));
        dropped
    }

    /// The one to make room: the oldest that is neither the newest nor one that seals.
    fn least_useful(&self) -> usize {
        let kept = [self.current(), self.carrying()].map(|session| session.map(|session| session.local_index));
        let mut older = self.list.iter().enumerate().skip(1);
        let useless = older.rfind(|(_, session)| !kept.contains(&Some(session.local_index)));
        useless.map_or(self.list.len().saturating_sub(1), |(position, _)| position)
    }
}

/// One to send under, one before it for what is under way, one being made.
const SESSIONS_MOST: usize = 3;

#[cfg(test)]
mod tests;
