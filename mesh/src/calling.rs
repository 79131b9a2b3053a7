//! When a peer is called, and which calls are unanswered.
//!
//! Owns the rhythm of retries. Knows no address and no key.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::PeerTimes;
use crate::handshake::Call;

/// The calls to one peer.
#[derive(Default)]
pub(crate) struct Calling {
    open: VecDeque<Call>,
    tries: u32,
    next: Option<Instant>,
    last: Option<Instant>,
}

impl Calling {
    /// Whether so few calls were made that the next one comes soon.
    pub(crate) fn is_new(&self) -> bool {
        self.tries < 8
    }

    /// Whether a call is due. The first one always is.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// How many have been made since the last that was answered.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// When the next one is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Notes a call that was made. The pause grows after every address had its turn, and is
    /// stretched by a random part so that two sides do not keep step. Returns the number of a forgotten one.
    pub(crate) fn handle_called(
        &mut self,
        call: Call,
        choices: usize,
        times: &PeerTimes,
        stretch: f64,
        now: Instant,
    ) -> Option<u32> {
        let rounds =
            i32::try_from(usize::try_from(self.tries).unwrap_or_default() / choices.max(1)).unwrap_or(i32::MAX).min(30);
        let pause = times.retry.mul_f64(PAUSE_GROWTH.powi(rounds)).min(times.retry_most);
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now + pause.mul_f64(1.0 + stretch));
        self.last = Some(now);
        self.open.push_back(call);
        if self.open.len() > CALLS_MOST { self.open.pop_front().map(|call| call.index) } else { None }
    }

    /// There is nobody to call until something changes; look again later.
    pub(crate) fn pause(&mut self, pause: Duration, now: Instant) {
        self.next = Some(now + pause);
    }

    /// Calls again at once: there is a new address, a cookie, or a reason to hurry.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.tries = 0;
        self.next = Some(now);
    }

    /// The next call is now. The one after comes no sooner for it: others decide how often there is a reason.
    pub(crate) fn prompt(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// The call of this number.
    pub(crate) fn take(&mut self, index: u32) -> Option<Call> {
        let position = self.open.iter().position(|call| call.index == index)?;
        self.open.remove(position)
    }

    /// Puts back a call whose answer was none.
    pub(crate) fn put_back(&mut self, call: Call) {
        self.open.push_back(call);
    }

    /// The mac1 of the call of this number, which a cookie reply is bound to, and whether it showed a cookie itself.
    pub(crate) fn shown(&self, index: u32) -> Option<([u8; 16], bool)> {
        self.open.iter().find(|call| call.index == index).map(|call| (call.mac1, call.has_cookie))
    }

    /// No call is needed any more. Returns the numbers of those that are forgotten.
    pub(crate) fn stop(&mut self) -> Vec<u32> {
        (self.tries, self.next) = (0, None);
        self.give_up()
    }

    /// Nobody will answer what is open. Returns the numbers of those calls.
    pub(crate) fn give_up(&mut self) -> Vec<u32> {
        self.open.drain(..).map(|call| call.index).collect()
    }

    /// Whether a call is so young that its answer may be under way.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        !self.open.is_empty() && self.last.is_some_and(|last| now.saturating_duration_since(last) < FRESH)
    }
}

/// Gentle: an address that answers at the third attempt costs less than two seconds.
const PAUSE_GROWTH: f64 = 1.5;
/// An answer may come after the next call was made, when the round trip is longer than the pause.
const CALLS_MOST: usize = 3;
/// Shorter than the first pause, so that two who ignore each other's calls do so once.
const FRESH: Duration = Duration::from_millis(150);
