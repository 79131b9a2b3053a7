//! Which way a peer is sent to: straight, or by way of a neighbour that reaches it.
//!
//! Owns the trials of all ways to one peer, the choice between them, and when neighbours are asked whether they know one.
//! Knows no address, no key and no other peer but by its identity.
//!
//! A direct way that is proven is used, whatever a relay could do. Without one, the relay with the shortest round trip is, of
//! those that reach the peer directly if there are any; a shorter one must be so by a third to take over. Where nothing is
//! proven, nothing changes.

use std::time::{Duration, Instant};

use wire::Identity;
use wire::envelope::Course;

use crate::gossip::Reach;
use crate::path_mtu::BASE_BYTES;
use crate::seekers::Seekers;
use crate::trial::Trial;

/// One way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Straight to its address.
    Direct,
    /// By way of this neighbour.
    Relay(Identity),
}

/// All ways to one peer.
#[derive(Debug)]
pub(crate) struct Ways {
    direct: Trial,
    relays: Vec<Relay>,
    /// What is sent on. None before anything was proven.
    used: Option<Way>,
    switched: Option<Instant>,
    busy_until: Option<Instant>,
    seek: Seek,
    number: u32,
    /// Who asked for a way to this peer by us.
    pub(crate) seekers: Seekers,
    silence: Silence,
    /// The neighbour that reaches the peer by two relays, and when it said so.
    far: Option<(Identity, Instant)>,
}

/// What it says about the direct way that it is not answered on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Nothing: since then the peer was heard nowhere else either.
    Peer,
    /// That it is broken: a relay led to the peer.
    Way,
}

#[derive(Debug)]
struct Relay {
    identity: Identity,
    /// Whether it reaches the peer straight. Until it says so, it may not.
    course: Course,
    /// The largest datagram it can pass on.
    datagram_bytes: u16,
    trial: Trial,
}

/// Why a relay is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It has led to the peer.
    Proven,
    /// It may lead there.
    Hoped,
}

/// When neighbours are asked next.
#[derive(Debug, Clone, Copy)]
struct Seek {
    next: Instant,
    pause: Duration,
}

impl Ways {
    /// No way is known.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            direct: Trial::new(now),
            relays: Vec::new(),
            used: None,
            switched: None,
            busy_until: None,
            seek: Seek { next: now + SEEK_FIRST, pause: SEEK_FIRST },
            number: 0,
            seekers: Seekers::default(),
            silence: Silence::Peer,
            far: None,
        }
    }

    /// A handshake went through on this way, which is therefore used. Returns whether that is another than before.
    pub(crate) fn prove(&mut self, way: Way, now: Instant) -> bool {
        let calm = self.calm(way, now);
        self.far = None;
        self.add(way, u16::MAX, Claim::Proven, now);
        if way != Way::Direct {
            self.direct.fail(now);
        }
        if let Some(trial) = self.trial(way) {
            trial.prove(calm, now);
        }
        self.note_silence(way);
        let changed = self.used.replace(way) != Some(way);
        if changed {
            self.switched = Some(now);
            self.wake(now);
        }
        changed
    }

    /// The peer is lost: nothing is proven any more. The relays that led to it may still do.
    pub(crate) fn lose(&mut self, now: Instant) {
        self.direct.fail(now);
        self.relays.iter_mut().for_each(|relay| relay.trial.fail(now));
        self.seekers.forget_told();
        self.used = None;
        self.seek = Seek { next: now + SEEK_FIRST, pause: SEEK_FIRST };
    }

    /// A relay is lost. Returns whether it was the way that is used.
    pub(crate) fn lose_relay(&mut self, relay: Identity, now: Instant) -> bool {
        self.relays.retain(|known| known.identity != relay);
        let lost = self.used == Some(Way::Relay(relay));
        if lost {
            self.relays.iter_mut().for_each(|relay| relay.trial.hasten(now));
            self.direct.hasten(now);
            self.seek = Seek { next: now, pause: SEEK_FIRST };
        }
        lost
    }

    /// A neighbour says how it reaches the peer. Returns whether that is a new way.
    pub(crate) fn handle_reach(&mut self, relay: Identity, reach: &Reach, now: Instant) -> bool {
        let datagram_bytes = reach.datagram_bytes.max(LEAST_BYTES);
        let is_new = self.add(Way::Relay(relay), datagram_bytes, Claim::Hoped, now);
        if let Some(known) = self.relays.iter_mut().find(|known| known.identity == relay) {
            known.course = reach.course;
        }
        is_new
    }

    /// A neighbour says that it needs two relays to reach the peer, so that it is none.
    pub(crate) fn handle_far(&mut self, neighbour: Identity, now: Instant) {
        self.far = Some((neighbour, now));
    }

    /// The neighbour that has lately said so.
    pub(crate) fn far_by(&self, now: Instant) -> Option<Identity> {
        let said = self.far.filter(|(_, at)| now.saturating_duration_since(*at) < FAR);
        said.map(|(neighbour, _)| neighbour)
    }

    /// The relay that is used, if it needs one itself.
    pub(crate) fn far_relay(&self) -> Option<Identity> {
        let Some(Way::Relay(identity)) = self.used else { return None };
        self.relay(identity).filter(|relay| relay.is_far()).map(|_| identity)
    }

    /// Something authentic came this way. By a relay: there is that way, and the peer may not have a direct one.
    pub(crate) fn handle_heard(&mut self, way: Way, now: Instant) {
        if let Way::Relay(_) = way {
            self.add(way, u16::MAX, Claim::Hoped, now);
            if self.used == Some(Way::Direct) {
                self.direct.hasten(now);
            }
        } else if self.direct.is_failing() {
            // It is open one way at least.
            self.direct.hasten(now + HEARD_PAUSE);
        }
    }

    /// There is reason to doubt the way that is used.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if let Some(trial) = self.used.and_then(|way| self.trial(way)) {
            trial.hasten(now + HEARD_PAUSE);
        }
    }

    /// Frames go to the peer: a broken way is to be noticed soon.
    pub(crate) fn handle_traffic(&mut self, now: Instant) {
        if !self.is_busy(now) {
            self.doubt(now);
        }
        self.busy_until = Some(now + BUSY_FOR);
    }

    /// An answer came this way. Returns whether it was to a question asked on it.
    pub(crate) fn handle_answer(&mut self, way: Way, number: u32, now: Instant) -> bool {
        let calm = self.calm(way, now);
        let is_doubtful = way == Way::Direct && self.silence == Silence::Way;
        let trust = if is_doubtful { DIRECT_TRUST } else { Duration::ZERO };
        let answered = self.trial(way).is_some_and(|trial| trial.handle_answer(number, trust, calm, now));
        if answered {
            self.note_silence(way);
        }
        answered
    }

    /// The way has just led to the peer.
    fn note_silence(&mut self, way: Way) {
        if self.direct.is_proven() {
            self.silence = Silence::Peer;
        } else if way != Way::Direct {
            self.silence = Silence::Way;
        }
    }

    /// There is news of the peer: if it does not come to be reached by itself, somebody may know a way.
    pub(crate) fn handle_news(&mut self, now: Instant) {
        self.seek = Seek { next: now + SEEK_FIRST, pause: SEEK_FIRST };
    }

    /// The next question that is due, and on which way.
    pub(crate) fn poll_check(&mut self, now: Instant) -> Option<(Way, u32)> {
        let number = self.number.wrapping_add(1);
        let was_proven = self.direct.is_proven();
        if self.direct.poll_question(number, now) {
            self.number = number;
            if was_proven && !self.direct.is_proven() {
                // What was known of relays is old; what they say now counts.
                self.relays.iter_mut().for_each(|relay| relay.trial.fail(now));
                self.seek = Seek { next: now, pause: SEEK_FIRST };
            }
            return Some((Way::Direct, number));
        }
        if self.direct.is_proven() {
            return None;
        }
        let relay = self
            .relays
            .iter_mut()
            .find_map(|relay| relay.trial.poll_question(number, now).then_some(relay.identity))?;
        self.number = number;
        Some((Way::Relay(relay), number))
    }

    /// Whether neighbours are to be asked for a way now.
    pub(crate) fn poll_seek(&mut self, now: Instant) -> bool {
        if self.direct.is_proven() || now < self.seek.next {
            return false;
        }
        let most = if self.used.is_some() { SEEK_MOST } else { SEEK_ABSENT };
        self.seek = Seek { next: now + self.seek.pause, pause: (self.seek.pause * 2).min(most) };
        true
    }

    /// Nobody hears the peer, so nobody is asked for it until somebody does.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.seek = Seek { next: now + SEEK_ABSENT, pause: SEEK_ABSENT };
        self.seekers.forget();
        self.far = None;
    }

    /// Whether nobody is asked for the peer.
    pub(crate) fn is_resting(&self) -> bool {
        self.seek.pause == SEEK_ABSENT
    }

    /// Somebody hears the peer: asking may help again.
    pub(crate) fn wake(&mut self, now: Instant) {
        if self.seek.pause > SEEK_MOST {
            self.handle_news(now);
        }
    }

    /// How many neighbours are worth asking: a few first, because mostly everybody or nobody knows a way.
    pub(crate) fn asked(&self) -> usize {
        let rounds = self.seek.pause.as_secs() / SEEK_FIRST.as_secs();
        usize::try_from(rounds).unwrap_or(ASKED_MOST).saturating_mul(ASKED_FIRST / 2).clamp(ASKED_FIRST, ASKED_MOST)
    }

    /// Whether it would still help to know a relay.
    pub(crate) fn wants_relay(&self) -> bool {
        !self.direct.is_proven()
    }

    /// Asks nobody before then.
    pub(crate) fn put_off_seeking(&mut self, until: Instant) {
        self.seek.next = self.seek.next.max(until);
    }

    /// Takes the best way. Returns it if that is a change; never more than one in [`DWELL`].
    pub(crate) fn choose(&mut self, now: Instant) -> Option<Way> {
        let wanted = self.wanted(now).filter(|wanted| Some(*wanted) != self.used)?;
        if self.dwells_until().is_some_and(|until| now < until) {
            return None;
        }
        (self.used, self.switched) = (Some(wanted), Some(now));
        Some(wanted)
    }

    /// What is sent on.
    pub(crate) fn used(&self) -> Option<Way> {
        self.used
    }

    /// Whether datagrams go by way of a relay.
    pub(crate) fn is_relayed(&self) -> bool {
        matches!(self.used, Some(Way::Relay(_)))
    }

    /// Whether the direct way leads there and back.
    pub(crate) fn is_direct(&self) -> bool {
        self.used == Some(Way::Direct) && self.direct.is_proven()
    }

    /// The relay that is used, if it reaches the peer directly.
    pub(crate) fn only_relay(&self) -> Option<Identity> {
        let Some(Way::Relay(identity)) = self.used else { return None };
        self.relay(identity).filter(|relay| relay.course == Course::Direct && relay.trial.is_proven())?;
        Some(identity)
    }

    /// Whether nothing says that the direct way leads there.
    pub(crate) fn is_failing(&self) -> bool {
        self.direct.is_failing()
    }

    /// Whether the way that is used is there, and nothing says that it is closed.
    pub(crate) fn is_open(&self) -> bool {
        match self.used {
            Some(Way::Relay(identity)) => self.relay(identity).is_some_and(|relay| !relay.trial.is_failing()),
            Some(Way::Direct) | None => !self.direct.is_failing(),
        }
    }

    /// The round trip of what is used.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        match self.used? {
            Way::Direct => self.direct.round_trip(),
            Way::Relay(identity) => self.relay(identity)?.trial.round_trip(),
        }
    }

    /// The largest datagram a relay can pass on.
    pub(crate) fn relay_bytes(&self, relay: Identity) -> u16 {
        self.relay(relay).map_or(u16::MAX, |relay| relay.datagram_bytes)
    }

    /// On which way to call, the n-th time. Every way gets its turn; what is used has the first, else the direct one: who has
    /// just been found by a relay may only have just been started.
    pub(crate) fn call(&self, tries: u32) -> Way {
        let turn = usize::try_from(tries / 2).unwrap_or_default();
        let relay = turn.checked_rem(self.relays.len()).and_then(|turn| self.relays.get(turn));
        let Some(relay) = relay.map(|relay| Way::Relay(relay.identity)) else { return Way::Direct };
        let first = self.used.unwrap_or(Way::Direct);
        let second = if first == Way::Direct { relay } else { Way::Direct };
        if tries.is_multiple_of(2) { first } else { second }
    }

    /// Whether this neighbour is known as a relay.
    pub(crate) fn knows(&self, relay: Identity) -> bool {
        self.relay(relay).is_some()
    }

    /// How many relays are known.
    pub(crate) fn relays(&self) -> usize {
        self.relays.len()
    }

    /// When something is due; of a peer that is not up, only neighbours are asked.
    pub(crate) fn deadline(&self, is_up: bool, now: Instant) -> Option<Instant> {
        let seek = Some(self.seek.next).filter(|_| !self.direct.is_proven());
        if !is_up {
            return seek;
        }
        let relays = self.relays.iter().filter(|_| !self.direct.is_proven()).map(|relay| relay.trial.deadline());
        let switch = self.wanted(now).filter(|wanted| Some(*wanted) != self.used);
        let switch = switch.map(|_| self.dwells_until().unwrap_or(now));
        relays.chain([self.direct.deadline()]).chain(seek).chain(switch).min()
    }

    fn wanted(&self, now: Instant) -> Option<Way> {
        if self.direct.is_proven() {
            return Some(Way::Direct);
        }
        let proven = self.relays.iter().filter(|relay| relay.trial.is_proven());
        let Some(best) = proven.min_by_key(|relay| (relay.is_far(), relay.trial.round_trip(), relay.identity)) else {
            return self.used;
        };
        let Some(Way::Relay(current)) = self.used else { return Some(Way::Relay(best.identity)) };
        let Some(current) = self.relay(current).filter(|current| current.trial.is_proven()) else {
            return Some(Way::Relay(best.identity));
        };
        let is_settled = self.switched.is_none_or(|at| now.saturating_duration_since(at) >= RELAY_DWELL);
        let of = |relay: &Relay| relay.trial.round_trip().unwrap_or(Duration::MAX);
        let is_quicker = of(best).saturating_mul(3) < of(current).saturating_mul(2);
        let is_better = (best.is_far(), !is_quicker) < (current.is_far(), true);
        Some(Way::Relay(if is_settled && is_better { best.identity } else { current.identity }))
    }

    fn dwells_until(&self) -> Option<Instant> {
        self.used.and(self.switched).map(|switched| switched + DWELL)
    }

    fn add(&mut self, way: Way, datagram_bytes: u16, claim: Claim, now: Instant) -> bool {
        let Way::Relay(identity) = way else { return false };
        if let Some(known) = self.relays.iter_mut().find(|relay| relay.identity == identity) {
            known.datagram_bytes = if datagram_bytes == u16::MAX { known.datagram_bytes } else { datagram_bytes };
            return false;
        }
        if self.relays.len() >= RELAYS_MOST {
            // The worst goes: one that is not used, and rather one that does not lead there. Who is only hoped for takes
            // the place of nobody whose answer may be on its way: they would take turns, and none would ever be proven.
            let used = self.used;
            let spare = self.relays.iter().enumerate().filter(|(_, relay)| {
                Some(Way::Relay(relay.identity)) != used && (claim == Claim::Proven || relay.trial.is_in_vain(now))
            });
            let worst = spare.max_by_key(|(_, relay)| (!relay.trial.is_proven(), relay.trial.round_trip()));
            let Some((position, _)) = worst else { return false };
            self.relays.remove(position);
        }
        self.relays.push(Relay { identity, course: Course::Relayed, datagram_bytes, trial: Trial::new(now) });
        true
    }

    fn relay(&self, identity: Identity) -> Option<&Relay> {
        self.relays.iter().find(|relay| relay.identity == identity)
    }

    fn trial(&mut self, way: Way) -> Option<&mut Trial> {
        match way {
            Way::Direct => Some(&mut self.direct),
            Way::Relay(identity) => {
                self.relays.iter_mut().find(|relay| relay.identity == identity).map(|relay| &mut relay.trial)
            }
        }
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }

    fn calm(&self, way: Way, now: Instant) -> Duration {
        match way {
            _ if self.is_busy(now) => BUSY,
            Way::Direct => CALM,
            Way::Relay(_) => RELAY_CALM,
        }
    }
}

impl Relay {
    /// Whether it needs a relay itself.
    fn is_far(&self) -> bool {
        self.course == Course::Relayed
    }
}

/// At most one change of the way in this long, whatever happens.
const DWELL: Duration = Duration::from_secs(1);
/// A shorter relay takes over no sooner than this after the last change.
const RELAY_DWELL: Duration = Duration::from_secs(10);
/// For so long must a direct way be answered on, after it has failed, to be used again: longer than a link that comes and
/// goes every two seconds stays.
const DIRECT_TRUST: Duration = Duration::from_secs(3);
/// How often a way that carries frames is tried: a second or two after it broke, another one is looked for.
const BUSY: Duration = Duration::from_secs(2);
/// How often a direct way that carries none is. Whoever probes the peer over it notices before that it is broken.
const CALM: Duration = Duration::from_secs(300);
/// How often a relay that carries none is: there are few.
const RELAY_CALM: Duration = Duration::from_secs(20);
/// How long after the last frame a way counts as busy.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// Something has just come on the way: there is hope, but no hurry.
const HEARD_PAUSE: Duration = Duration::from_millis(100);
/// A peer that answers directly has done so by then.
pub(crate) const SEEK_FIRST: Duration = Duration::from_secs(1);
/// How often neighbours are asked in the end: this long a better relay may go unnoticed. One that comes to reach a peer it
/// was asked for says so at once.
const SEEK_MOST: Duration = Duration::from_secs(30);
/// The same for a peer that nobody has said to be there: who comes to reach it, or hears that it has started, says so.
const SEEK_ABSENT: Duration = Duration::from_secs(300);
/// Two rounds of asking.
const FAR: Duration = Duration::from_secs(600);
/// All of a small cluster, and then twice as many each time.
const ASKED_FIRST: usize = 8;
const ASKED_MOST: usize = 64;
/// What every relay can pass on, also by another: the least that a path carries, without the words to two of them. Who says
/// less would have each frame cut to crumbs.
const LEAST_BYTES: u16 = BASE_BYTES - 2 * 40;
/// Enough to choose from.
const RELAYS_MOST: usize = 4;

#[cfg(test)]
mod tests;
