//! Three routers in one process, whose words are handed over or not; and the words themselves.

use std::collections::BTreeSet;

use foca::Codec as _;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn identity(number: u8) -> Identity {
    Identity([number; 32])
}

/// Some routers that all know one another.
struct Ring {
    swims: Vec<Swim>,
    heard: BTreeMap<(u8, u8), Instant>,
    dead: BTreeSet<u8>,
    now: Instant,
    told: Vec<(u8, Deed)>,
    words: usize,
}

impl Ring {
    fn new(count: u8) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
        let now = Instant::now();
        let mut swims: Vec<Swim> =
            (0..count).map(|number| Swim::new(identity(number), 1, [number + 1; 8], now)).collect();
        for (number, swim) in (0u8..).zip(&mut swims) {
            (0..count).filter(|other| *other != number).for_each(|other| swim.handle_up(identity(other), 1, now));
        }
        Self { swims, heard: BTreeMap::new(), dead: BTreeSet::new(), now, told: Vec::new(), words: 0 }
    }

    /// Time passes in small steps; a word takes one of them.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            for number in
                (0u8..).take(self.swims.len()).filter(|number| !self.dead.contains(number)).collect::<Vec<_>>()
            {
                let (now, heard) = (self.now, &self.heard);
                let swim = &mut self.swims[usize::from(number)];
                swim.handle_timeout(|from| heard.get(&(number, from.0[0])).copied(), now);
                let deeds: Vec<Deed> = std::iter::from_fn(|| swim.poll_deed()).collect();
                deeds.into_iter().for_each(|deed| self.carry(number, deed));
            }
        }
    }

    fn carry(&mut self, number: u8, deed: Deed) {
        let Deed::Send { to, bytes } = deed else { return self.told.push((number, deed)) };
        self.words += 1;
        let to = to.0[0];
        if !self.dead.contains(&to) {
            self.heard.insert((to, number), self.now);
            self.swims[usize::from(to)].handle_data(identity(number), &bytes, |_| Some(1), self.now).unwrap();
        }
    }

    fn told(&self, deed: &Deed) -> BTreeSet<u8> {
        self.told.iter().filter(|(_, told)| told == deed).map(|(number, _)| *number).collect()
    }
}

#[test]
fn the_living_are_never_called_gone_and_cost_the_same_however_many() {
    let words = [3, 12].map(|count| {
        let mut ring = Ring::new(count);
        ring.run(100 * SECOND);
        let gone = ring.told.iter().any(|(_, deed)| matches!(deed, Deed::Gone(_) | Deed::Doubt(_) | Deed::DoubtAll));
        assert!(!gone, "{:?}", ring.told);
        ring.words / usize::from(count)
    });
    assert!(words.iter().all(|words| (190..=210).contains(words)), "{words:?}");
}

#[test]
fn the_dead_are_doubted_first_and_then_called_gone_by_everybody() {
    let mut ring = Ring::new(5);
    ring.run(10 * SECOND);
    ring.dead.insert(4);
    ring.run(12 * SECOND);
    let others: BTreeSet<u8> = (0..4).collect();
    assert_eq!(ring.told(&Deed::Doubt(identity(4))), others);
    assert_eq!(ring.told(&Deed::Gone(identity(4))), others);
}

#[test]
fn who_is_called_gone_and_lives_says_so_in_a_new_life() {
    let mut ring = Ring::new(4);
    ring.run(5 * SECOND);
    ring.dead.insert(3);
    ring.run(12 * SECOND);
    ring.told.clear();
    ring.dead.clear();
    ring.run(10 * SECOND);
    assert_eq!(ring.told(&Deed::Back(identity(3))), (0..3).collect());
    ring.told.clear();
    ring.run(60 * SECOND);
    assert_eq!(ring.told, []);
}

#[test]
fn anything_heard_counts_as_the_answer() {
    // 1 is deaf to the words of liveness, and is heard all the same: its frames come.
    let mut ring = Ring::new(2);
    ring.dead.insert(1);
    for _ in 0..600 {
        ring.heard.insert((0, 1), ring.now + Duration::from_millis(100));
        ring.run(SECOND / 10);
    }
    assert_eq!(ring.told.iter().filter(|(_, deed)| !matches!(deed, Deed::Back(_))).count(), 0, "{:?}", ring.told);
}

#[test]
fn who_hears_nobody_doubts_everybody() {
    let mut ring = Ring::new(6);
    ring.run(5 * SECOND);
    ring.dead.extend(1..6);
    ring.run(5 * SECOND);
    assert_eq!(ring.told(&Deed::DoubtAll), BTreeSet::from([0]));
}

/// A word of gossip from router 1 that has these to say.
fn gossip(updates: &[foca::Member<Router>]) -> Vec<u8> {
    word(foca::Message::Gossip, (1, 0), updates)
}

/// A word of router 1 to router 0 in that life of it.
fn word(message: foca::Message<Router>, life: Life, updates: &[foca::Member<Router>]) -> Vec<u8> {
    let (src, dst) = (Router { identity: identity(1), life: (1, 0) }, Router { identity: identity(0), life });
    let mut bytes = Vec::new();
    let header = foca::Header { src, src_incarnation: 0, dst, message };
    Words.encode_header(&header, &mut bytes).unwrap();
    bytes.extend(u16::try_from(updates.len()).unwrap().to_be_bytes());
    updates.iter().for_each(|update| Words.encode_member(update, &mut bytes).unwrap());
    Words::strip(&bytes)
}

#[test]
fn a_life_that_somebody_cannot_have_is_not_believed() {
    for life in [(u32::MAX, u16::MAX), (2, 0), (1, u16::MAX), (1, AHEAD + 1)] {
        let mut ring = Ring::new(4);
        ring.run(5 * SECOND);
        ring.words = 0;
        for liar in [identity(2), identity(0)] {
            let lie = gossip(&[foca::Member::alive(Router { identity: liar, life })]);
            assert_eq!(ring.swims[0].handle_data(identity(1), &lie, |_| Some(1), ring.now), Some(()));
        }
        ring.run(20 * SECOND);
        assert!(ring.words <= 4 * 2 * 21, "{life:?}: {} words", ring.words);
        assert_eq!(ring.swims.iter().map(|swim| swim.foca.identity().life).max(), Some((1, 0)), "{life:?}");
    }
}

#[test]
fn who_is_called_dead_again_and_again_contradicts_once_a_second_and_never_falls_silent() {
    for begun in [0, u16::MAX] {
        let mut ring = Ring::new(4);
        ring.run(5 * SECOND);
        let router = Router { identity: identity(0), life: (1, begun) };
        let Swim { foca, said, .. } = &mut ring.swims[0];
        foca.change_identity(router, said).unwrap_or_else(|_| assert_eq!(begun, 0));
        ring.run(5 * SECOND);
        ring.words = 0;
        for _ in 0..1000 {
            let me = *ring.swims[0].foca.identity();
            let hopeless = foca::Member::new(me, u16::MAX, foca::State::Suspect);
            let slander = [
                word(foca::Message::TurnUndead, me.life, &[]),
                word(foca::Message::Gossip, me.life, &[foca::Member::down(me)]),
                word(foca::Message::Gossip, me.life, &[hopeless]),
            ];
            for word in slander {
                assert_eq!(ring.swims[0].handle_data(identity(1), &word, |_| Some(1), ring.now), Some(()));
            }
            ring.run(Duration::from_millis(10));
        }
        let (_, renewals) = ring.swims[0].foca.identity().life;
        assert!(renewals - begun <= 10, "{renewals} lives in 10 s");
        // Each tells the news of it to three every 300 ms, as any news.
        assert!(ring.words <= 4 * (2 * 11 + 3 * 40), "{} words", ring.words);
        ring.told.clear();
        ring.dead.extend(1..4);
        ring.run(5 * SECOND);
        assert_eq!(ring.told(&Deed::DoubtAll), BTreeSet::from([0]), "it looks after nobody any more");
    }
}

#[test]
fn who_is_no_member_is_not_heard_of() {
    let mut ring = Ring::new(3);
    let known = |identity: Identity| (identity.0[0] < 3).then_some(1);
    let stranger = |number: u32, state| {
        let mut identity = [99; 32];
        identity[..4].copy_from_slice(&number.to_be_bytes().map(|byte| byte | 0x80));
        let router = Router { identity: Identity(identity), life: (1, 0) };
        foca::Member::new(router, 0, state)
    };
    let doubted = foca::Member::new(Router { identity: identity(2), life: (1, 0) }, 0, foca::State::Suspect);
    let before = ring.swims[0].foca.num_members();
    for number in 0..1000 {
        let (alive, suspect) = (stranger(number, foca::State::Alive), stranger(number, foca::State::Suspect));
        let word = gossip(&[alive, suspect, doubted.clone()]);
        assert_eq!(ring.swims[0].handle_data(identity(1), &word, known, ring.now), Some(()));
    }
    assert_eq!(ring.swims[0].foca.num_members(), before);
    assert_eq!(ring.swims[0].suspicions.keys().copied().collect::<Vec<_>>(), [identity(2)]);
    let doubts = std::iter::from_fn(|| ring.swims[0].poll_deed()).filter(|deed| matches!(deed, Deed::Doubt(_)));
    assert_eq!(doubts.collect::<Vec<_>>(), [Deed::Doubt(identity(2))], "what else the word said is believed");
    // A probe of a stranger, and a word that is longer than any, are not even read.
    let probe = [&[2][..], &gossip(&[])[1..15], &[7], &[99; 32], &[0; 6], &[0, 0]].concat();
    assert_eq!(ring.swims[0].handle_data(identity(1), &probe, known, ring.now), None);
    let long = gossip(&vec![doubted; 40]);
    assert_eq!(ring.swims[0].handle_data(identity(1), &long, known, ring.now), None);
}

fn router() -> impl Strategy<Value = Router> {
    (any::<[u8; 32]>(), any::<Life>()).prop_map(|(identity, life)| Router { identity: Identity(identity), life })
}

fn message() -> impl Strategy<Value = foca::Message<Router>> {
    use foca::Message::{
        Ack, Announce, Feed, ForwardedAck, Gossip, IndirectAck, IndirectPing, Ping, PingReq, TurnUndead,
    };
    let probe = (0..6, any::<u8>(), router()).prop_map(|(kind, probe_number, router)| match kind {
        0 => Ping(probe_number),
        1 => Ack(probe_number),
        2 => PingReq { target: router, probe_number },
        3 => IndirectPing { origin: router, probe_number },
        4 => IndirectAck { target: router, probe_number },
        _ => ForwardedAck { origin: router, probe_number },
    });
    prop_oneof![probe, Just(Announce), Just(Feed), Just(Gossip), Just(TurnUndead)]
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(
        message in message(), src in router(), dst in router(), src_incarnation: u16,
        suspects in proptest::collection::vec((router(), any::<u16>()), 0..4),
    ) {
        let header = foca::Header { src, src_incarnation, dst, message };
        let mut bytes = Vec::new();
        Words.encode_header(&header, &mut bytes).unwrap();
        prop_assert_eq!(Words.decode_header(&bytes[..]).unwrap(), header);
        bytes.extend(u16::try_from(suspects.len()).unwrap().to_be_bytes());
        for (router, incarnation) in &suspects {
            let member = foca::Member::new(*router, *incarnation, foca::State::Suspect);
            Words.encode_member(&member, &mut bytes).unwrap();
        }
        prop_assert_eq!(Words::suspicions(&Words::strip(&bytes)), suspects);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut ring = Ring::new(2);
        let _ = ring.swims[0].handle_data(identity(1), &bytes, |_| Some(1), ring.now);
    }
}
