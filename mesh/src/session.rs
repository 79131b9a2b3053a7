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
use crate::config::SessionTimes;
use crate::handshake::Keys;
use crate::plan::{DataSession, SessionHead};
use crate::sums::Salt;

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
    pub(crate) life: Life,
    pub(crate) data: Arc<DataSession>,
    trust: Trust,
    sealer: Sealer,
    opener: Opener,
    /// What rosters are compared under.
    pub(crate) salt: Salt,
}

/// Who began a session, with which life of the peer, and how long it lasts.
pub(crate) struct Birth {
    pub(crate) role: Role,
    pub(crate) boot: u32,
    pub(crate) life: Life,
}

/// When a session is renewed and when it ends: late while it carries no frames, soon from the first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) renew: Instant,
    pub(crate) refuse: Instant,
    /// The same, if it carries frames.
    renew_used: Instant,
    refuse_used: Instant,
    /// Between being renewed and ending.
    grace: Duration,
}

impl Life {
    /// From now on. `draw`, from 0 to 1, spreads the renewals of many sessions; the one who was called leaves the caller its
    /// chance.
    pub(crate) fn new(times: &SessionTimes, role: Role, draw: f64, now: Instant) -> Self {
        let grace = times.refuse.saturating_sub(times.renew);
        let patience = if role == Role::Caller { Duration::ZERO } else { grace / 2 };
        let used = times.renew.saturating_sub(times.jitter) + (times.jitter * 2).mul_f64(draw);
        let idle = times.idle - (times.idle / 4).mul_f64(draw);
        let late = if role == Role::Caller { Duration::ZERO } else { times.jitter };
        Self {
            renew: now + if role == Role::Caller { idle } else { times.idle + patience },
            refuse: now + times.idle + grace,
            renew_used: now + used + patience + late,
            refuse_used: now + times.refuse,
            grace,
        }
    }

    /// It carries frames. One that is old by then has as long for its renewal as any other.
    fn use_up(&mut self, now: Instant) {
        self.renew = self.renew.min(self.renew_used.max(now));
        self.refuse = self.refuse.min(self.refuse_used.max(self.renew + self.grace));
    }
}

impl Session {
    pub(crate) fn new(head: SessionHead, birth: &Birth, keys: Keys) -> Self {
        let sealer = Sealer::lean(&keys.control_send, Kind::Control, 0, head.remote_index);
        let opener = Opener::lean(&keys.control_receive);
        let data = Arc::new(DataSession::new(head, keys.data_send, keys.data_receive));
        let Birth { role, boot, life } = *birth;
        let trust = if role == Role::Caller { Trust::Usable } else { Trust::Silent };
        Self { local_index: head.local_index, boot, life, data, trust, sealer, opener, salt: keys.salt }
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
    /// Whether nothing later has been opened before, in the session in use: only then is its source the peer's newest
    /// address.
    pub(crate) newest: bool,
    pub(crate) boot: u32,
    /// The session's.
    pub(crate) salt: Salt,
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
        let latest = session.opener.is_newest(counter);
        let plaintext = session.opener.open(envelope)?.to_vec();
        let (confirmation, boot, salt) = (session.confirm(), session.boot, session.salt);
        Ok(Opened { plaintext, confirmation, newest: latest && self.is_carrying(local_index), boot, salt })
    }

    /// The session of this number was confirmed by a data envelope.
    pub(crate) fn confirm(&mut self, local_index: u32) -> Option<Opened> {
        let session = self.list.iter_mut().find(|session| session.local_index == local_index)?;
        let (confirmation, boot, salt) = (session.confirm(), session.boot, session.salt);
        Some(Opened { plaintext: Vec::new(), confirmation, newest: self.is_carrying(local_index), boot, salt })
    }

    /// Whether it is this session by which the peer is to be found: what was sent under an older one may have been kept
    /// back, and be sent again from elsewhere.
    fn is_carrying(&self, local_index: u32) -> bool {
        self.carrying().is_some_and(|session| session.local_index == local_index)
    }

    /// Drops those too old to be used. Returns their numbers.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<u32> {
        self.drop_where(|session| now >= session.life.refuse)
    }

    /// Frames went or came.
    pub(crate) fn use_up(&mut self, now: Instant) {
        self.list.iter_mut().for_each(|session| session.life.use_up(now));
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
        self.current().is_some_and(|session| now >= session.life.renew || session.is_worn())
    }

    /// When the next session ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.list.iter().map(|session| session.life.refuse).min()
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
