//! Who lives, by what all routers find out together: SWIM, carried inside the sessions.
//!
//! Owns foca, its timers and its words on the wire. Knows neither sessions nor addresses, and decides nothing by itself: a
//! neighbour is given up only when its session is silent as well ([`crate::liveness`]).
//!
//! ```text
//! kind │ source: boot, 4, renewals, 2, incarnation, 2 │ destination: boot, 4, renewals, 2 │ by kind │ n, 2 │ updates, n
//! kinds with a probe number, 1: Ping 0, Ack 1; with a number and a router: PingReq 2, IndirectPing 3, IndirectAck 4,
//! ForwardedAck 5; alone: Announce 6, Feed 7, Gossip 8, TurnUndead 9
//! router   identity, 32 │ boot, 4 │ renewals, 2              update   router │ incarnation, 2 │ state
//! ```
//!
//! Who speaks and who is spoken to, the session says: only their lives are written. Loss is lived with in three ways:
//! anything authentic from the probed one counts as its answer, a probe without an answer makes this router ask by itself
//! at once, and a router that hears nobody doubts everybody rather than accuse them one by one.
//!
//! What a router says of its own life counts. Of another's it may be wrong, or lie: a life that the other cannot have is not
//! believed, since nothing that the other says of itself would be heard beside it.

mod words;

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::{Duration, Instant};

use foca::{Foca, NoCustomBroadcast, Notification, PeriodicParams, Runtime, Timer};
use wire::Identity;

use words::Words;

/// The view of one router.
pub(crate) struct Swim {
    foca: Foca<Router, Words, Dice, NoCustomBroadcast>,
    said: Said,
    probe: Option<Probe>,
    /// Probes in a row that nobody answered.
    failures: u32,
    /// The newest suspicion of each router that was heard of: it comes again and again.
    suspicions: BTreeMap<Identity, (Life, u16)>,
    /// The life of each that there was a session with, as it said itself.
    lives: BTreeMap<Identity, Life>,
}

/// A router in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) identity: Identity,
    pub(crate) life: Life,
}

/// Boot counter, and how often it had to contradict its own death since.
pub(crate) type Life = (u32, u16);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Carry this to a router, if there is a session.
    Send { to: Identity, bytes: Vec<u8> },
    /// Ask it: it does not answer, or somebody suspects it.
    Doubt(Identity),
    /// Ask everybody: nobody answers.
    DoubtAll,
    /// The others have given it up.
    Gone(Identity),
    /// Somebody hears it.
    Back(Identity),
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    router: Router,
    number: u8,
    since: Instant,
}

/// What foca asked for.
struct Said {
    now: Instant,
    deeds: VecDeque<Deed>,
    timers: BTreeMap<(Instant, u64), Timer<Router>>,
    count: u64,
    pinged: Option<(Router, u8)>,
    /// When this router last took a new life.
    renewed: Option<Instant>,
}

impl Swim {
    /// The view of a router that has met nobody.
    pub(crate) fn new(identity: Identity, boot: u32, seed: [u8; 8], now: Instant) -> Self {
        let me = Router { identity, life: (boot, 0) };
        let foca = Foca::new(me, settings(), Dice(u64::from_le_bytes(seed) | 1), Words);
        let said = Said { now, deeds: VecDeque::new(), timers: BTreeMap::new(), count: 0, pinged: None, renewed: None };
        Self { foca, said, probe: None, failures: 0, suspicions: BTreeMap::new(), lives: BTreeMap::new() }
    }

    /// There is a session with a router in this life.
    pub(crate) fn handle_up(&mut self, identity: Identity, boot: u32, now: Instant) {
        self.said.now = now;
        self.note_life(identity, (boot, 0));
        let life = self.lives.get(&identity).copied().unwrap_or_default();
        let mut router = Router { identity, life };
        let is_dead =
            |member: &&foca::Member<Router>| member.id().identity == identity && member.state() == foca::State::Down;
        let dead = self.foca.iter_membership_state().find(is_dead).map(|member| *member.id());
        // After a cut each takes the other for dead, and would wait for the other to contradict.
        let forgotten = dead.map_or(Ok(()), |dead| {
            router.life = router.life.max(dead.life);
            self.foca.handle_timer(Timer::RemoveDown(dead), &mut self.said)
        });
        if let Err(error) = forgotten {
            tracing::debug!(%error, "a router that is up after all");
        }
        self.count_in(router);
        self.note_probe();
    }

    /// Takes what a router said of those whose boot counter is `known`: others would be probed for ever, and nobody else
    /// then. Returns `None` if it is nothing we read.
    pub(crate) fn handle_data(
        &mut self,
        from: Identity,
        bytes: &[u8],
        known: impl Fn(Identity) -> Option<u32>,
        now: Instant,
    ) -> Option<()> {
        if bytes.len() > PACKET_BYTES.get() - words::ADDRESS_BYTES {
            return None;
        }
        self.said.now = now;
        let me = *self.foca.identity();
        let is_known = |identity| identity == me.identity || known(identity).is_some();
        let bytes = Words::about(is_known, |update| self.is_credible(update, &known), bytes)?;
        self.note_life(from, Words::life(&bytes)?);
        if !self.may_contradict() && Words::is_about_death(&bytes) {
            return Some(());
        }
        let suspicions = Words::suspicions(&bytes);
        let read = self.foca.handle_data(&Words::address(from, me.identity, &bytes), &mut self.said);
        self.note_probe();
        for (router, incarnation) in suspicions.into_iter().filter(|(router, _)| router.identity != me.identity) {
            let news = (router.life, incarnation);
            if self.suspicions.get(&router.identity).is_none_or(|known| *known < news) {
                self.suspicions.insert(router.identity, news);
                self.said.deeds.push_back(Deed::Doubt(router.identity));
            }
        }
        match read {
            Ok(()) => Some(()),
            Err(foca::Error::Decode(_) | foca::Error::MalformedPacket | foca::Error::DataTooBig) => None,
            Err(error) => {
                tracing::trace!(%error, "a word of liveness that does not fit");
                Some(())
            }
        }
    }

    /// Does what is due. `heard` says when something authentic last came from a router.
    pub(crate) fn handle_timeout(&mut self, heard: impl Fn(Identity) -> Option<Instant>, now: Instant) {
        self.said.now = now;
        while let Some(entry) = self.said.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            let forgotten = if let Timer::RemoveDown(router) = &timer { Some(*router) } else { None };
            match timer {
                Timer::SendIndirectProbe { .. } => self.look(&heard, Stage::Direct),
                Timer::ProbeRandomMember(_) => self.look(&heard, Stage::Last),
                Timer::ChangeSuspectToDown { .. }
                | Timer::RemoveDown(_)
                | Timer::PeriodicGossip(_)
                | Timer::PeriodicAnnounce(_)
                | Timer::PeriodicAnnounceDown(_) => {}
            }
            if let Err(error) = self.foca.handle_timer(timer, &mut self.said) {
                tracing::trace!(%error, "a deadline of liveness that does not fit");
            }
            // It has a session all the same. Both may have called each other dead in a cut that no session noticed, and then
            // neither speaks first.
            if let Some(router) = forgotten.filter(|router| heard(router.identity).is_some()) {
                self.count_in(router);
            }
            self.note_probe();
        }
    }

    /// When `handle_timeout` wants to run.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.said.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing to do.
    pub(crate) fn poll_deed(&mut self) -> Option<Deed> {
        // With nobody else left, nobody else agrees.
        let is_alone = self.foca.num_members() == 0;
        std::iter::from_fn(|| self.said.deeds.pop_front()).find(|deed| !(is_alone && matches!(deed, Deed::Gone(_))))
    }

    /// Counts a router among the living, unless it is there already.
    fn count_in(&mut self, router: Router) {
        let alive = foca::Member::alive(router);
        // Everybody meets everybody: nobody needs to be told.
        if let Err(error) = self.foca.apply_many(std::iter::once(alive), false, &mut self.said) {
            tracing::debug!(%error, "a router that is up");
        }
    }

    fn note_life(&mut self, identity: Identity, life: Life) {
        let known = self.lives.entry(identity).or_insert(life);
        *known = life.max(*known);
    }

    /// Whether what somebody says of a router may be so.
    fn is_credible(&self, update: &foca::Member<Router>, known: impl Fn(Identity) -> Option<u32>) -> bool {
        let router = *update.id();
        let me = *self.foca.identity();
        if router.identity == me.identity {
            // Of another life of ours foca would tell everybody that it is over.
            let is_final = update.state() == foca::State::Down || update.incarnation() == u16::MAX;
            return router == me && (!is_final || self.may_contradict());
        }
        let signed = known(router.identity).map(|boot| (boot, 0));
        let said = self.lives.get(&router.identity).copied();
        let last = signed.max(said);
        last.is_some_and(|(boot, renewals)| router.life <= (boot, renewals.saturating_add(AHEAD)))
    }

    /// Whether this router may take a new life. Each is told to all, and there are only so many.
    fn may_contradict(&self) -> bool {
        let (_, renewals) = self.foca.identity().life;
        let is_calm = |at| self.said.now.saturating_duration_since(at) >= CONTRADICTION;
        renewals < u16::MAX && self.said.renewed.is_none_or(is_calm)
    }

    /// Whether the probed one was heard; if so, foca is told that it answered.
    fn look(&mut self, heard: &impl Fn(Identity) -> Option<Instant>, stage: Stage) {
        let Some(Probe { router, number, since }) = self.probe else { return };
        if heard(router.identity).is_some_and(|at| at >= since) {
            (self.probe, self.failures) = (None, 0);
            let answer = Words::answer(router, *self.foca.identity(), number);
            if let Err(error) = self.foca.handle_data(&answer, &mut self.said) {
                tracing::trace!(%error, "an answer that does not fit");
            }
            return;
        }
        match stage {
            Stage::Direct => self.said.deeds.push_back(Deed::Doubt(router.identity)),
            Stage::Last => {
                self.probe = None;
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES_ALARMING {
                    self.said.deeds.push_back(Deed::DoubtAll);
                }
            }
        }
    }

    fn note_probe(&mut self) {
        if let Some((router, number)) = self.said.pinged.take() {
            self.probe = Some(Probe { router, number, since: self.said.now });
        }
    }
}

/// Where a probe stands when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Direct,
    Last,
}

impl Runtime<Router> for Said {
    fn notify(&mut self, notification: Notification<'_, Router>) {
        match notification {
            Notification::MemberUp(router) => self.deeds.push_back(Deed::Back(router.identity)),
            Notification::MemberDown(router) => self.deeds.push_back(Deed::Gone(router.identity)),
            Notification::Rename(..) | Notification::Active | Notification::Idle | Notification::Defunct => {}
            Notification::Rejoin(_) => self.renewed = Some(self.now),
        }
    }

    fn send_to(&mut self, to: Router, data: &[u8]) {
        if let Some(number) = Words::ping(data) {
            self.pinged = Some((to, number));
        }
        self.deeds.push_back(Deed::Send { to: to.identity, bytes: Words::strip(data) });
    }

    fn submit_after(&mut self, timer: Timer<Router>, after: Duration) {
        self.count += 1;
        self.timers.insert((self.now + after, self.count), timer);
    }
}

impl foca::Identity for Router {
    type Addr = Identity;

    fn renew(&self) -> Option<Self> {
        let (boot, renewals) = self.life;
        Some(Self { life: (boot, renewals.checked_add(1)?), ..*self })
    }

    fn addr(&self) -> Identity {
        self.identity
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}

/// Which router is probed next is no secret: xorshift64* (Vigna 2016), seeded.
struct Dice(u64);

impl rand_core::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let [.., a, b, c, d] = self.try_next_u64()?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Ok(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let random = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(random).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

fn settings() -> foca::Config {
    foca::Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: INDIRECT,
        max_transmissions: TRANSMISSIONS,
        suspect_to_down_after: SUSPICION,
        remove_down_after: Some(FORGET),
        max_packet_size: PACKET_BYTES,
        notify_down_members: true,
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: GOSSIP, num_members: INDIRECT }),
    }
}

/// What one router costs all others: a question and an answer a second, whatever their number.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Above the round trip of most paths; then this router asks by itself, and asks others to.
const PROBE_RTT: Duration = Duration::from_millis(400);
/// Enough that a lost word is not the end of an indirect probe.
const INDIRECT: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// Four times the decimal logarithm of a cluster of a few thousand, as SWIM's paper wants it.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(15).unwrap();
/// Time for the suspected one to contradict, and for everybody to ask it.
const SUSPICION: Duration = Duration::from_secs(3);
/// How long somebody who contradicts without a new life is not believed: longer than its death takes to be told to all. Two
/// that were cut off from each other and called each other dead watch over each other again after that long.
const FORGET: Duration = Duration::from_secs(20);
/// Between two contradictions: the news of the first has reached all by then.
const CONTRADICTION: Duration = Duration::from_secs(1);
/// How many lives somebody may have begun, by hearsay, since it spoke to this router itself: it speaks to each in turn.
const AHEAD: u16 = 16;
/// There is news seldom; then it is told to three routers this often.
const GOSSIP: Duration = Duration::from_millis(300);
/// With the sealing below what surely fits a datagram.
const PACKET_BYTES: NonZeroUsize =
    NonZeroUsize::new(crate::channel::DATAGRAM_BYTES + words::ADDRESS_BYTES - 16).unwrap();
/// Three different routers that do not answer in a row: it is more likely this one that is cut off.
const FAILURES_ALARMING: u32 = 3;

#[cfg(test)]
mod tests;
