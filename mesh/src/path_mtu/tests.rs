//! A path that carries so much and loses so often, and what is found out about it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

const SECOND: Duration = Duration::from_secs(1);

/// One end of a path and the answers that are on their way to it.
struct Lab {
    path: PathMtu,
    now: Instant,
    /// The largest datagram that passes. None = nothing does.
    carries: Option<u16>,
    loss: f64,
    round_trip: Duration,
    rng: Rng,
    answers: BTreeMap<(Instant, u32), (u32, u16)>,
    sent: Vec<u16>,
    /// Whether the peer is sent data, a second's worth at a time.
    load: Load,
}

impl Lab {
    fn new(endpoint: &str, mtu_bytes: u16, carries: u16) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the lab only adds to it")]
        let now = Instant::now();
        let mut path = PathMtu::new(now);
        path.follow(Some(endpoint.parse().unwrap()), mtu_bytes, now);
        Self {
            path,
            now,
            carries: Some(carries),
            loss: 0.0,
            round_trip: Duration::from_millis(1),
            rng: Rng::new(&[7; 32]),
            answers: BTreeMap::new(),
            sent: Vec::new(),
            load: Load::Idle,
        }
    }

    /// Lets time pass. What is confirmed has come through at some time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut report = self.now + SECOND;
        while self.now < end {
            let answer = self.answers.keys().next().map(|(at, _)| *at);
            let report_due = (self.load == Load::Carrying).then_some(report);
            let next = [answer, self.path.deadline(), report_due, Some(end)].into_iter().flatten().min().unwrap();
            self.now = self.now.max(next);
            while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (number, bytes) = entry.remove();
                self.path.handle_answer(number, bytes, self.now);
            }
            if report_due.is_some_and(|at| at <= self.now) {
                self.path.handle_sent(1_000_000);
                report = self.now + SECOND;
            }
            self.sound();
        }
    }

    fn sound(&mut self) {
        let Some(Sounding { number, bytes }) = self.path.poll_sounding(Some(self.round_trip), self.now) else { return };
        self.sent.push(bytes);
        for sent in [bytes, 0] {
            // There and back.
            let is_lost = (0..2).any(|_| self.rng.up_to(SECOND).as_secs_f64() < self.loss);
            if !is_lost && self.carries.is_some_and(|carries| sent <= carries) {
                let unique = u32::try_from(self.answers.len()).unwrap() + number * 4;
                self.answers.insert((self.now + self.round_trip, unique), (number, sent));
            }
        }
    }

    fn bytes(&self) -> u16 {
        self.path.datagram_bytes(self.path.endpoint)
    }
}

const FOUR: &str = "192.0.2.1:6783";
const SIX: &str = "[2001:db8::1]:6783";

#[test]
fn a_path_that_carries_what_its_ends_take_costs_one_sounding() {
    for (endpoint, mtu_bytes, expected) in
        [(FOUR, 1500, 1472), (SIX, 1500, 1452), (FOUR, 9000, 8972), (SIX, 9000, 8952)]
    {
        let mut lab = Lab::new(endpoint, mtu_bytes, expected);
        assert_eq!((lab.bytes(), lab.path.settled()), (BASE_BYTES, None));
        lab.run(3600 * SECOND);
        assert_eq!((lab.bytes(), lab.path.settled(), lab.sent), (expected, Some(expected), vec![expected]));
    }
}

#[test]
fn a_narrow_middle_is_found_and_asked_about_ever_more_seldom() {
    let mut lab = Lab::new(FOUR, 9000, 1472);
    lab.run(10 * SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (1472, Some(1472)));
    let search: u32 = lab.sent.drain(..).map(u32::from).sum();
    assert!(search < 150_000, "{search}");
    lab.run(Duration::from_secs(24 * 3600));
    assert!(lab.sent.iter().all(|bytes| *bytes == 1972), "only the next step: {:?}", lab.sent);
    // A day: two of 2 KB every ten minutes, and those of the first half hour.
    assert!((280..310).contains(&lab.sent.len()), "{}", lab.sent.len());
}

#[test]
fn a_black_hole_is_noticed_while_the_path_is_used_and_only_then() {
    let mut lab = Lab::new(FOUR, 9000, 8972);
    lab.run(SECOND);
    lab.carries = Some(1472);
    lab.run(1000 * SECOND);
    assert_eq!((lab.bytes(), lab.sent.len()), (8972, 1), "nobody sends, so nobody asks");
    lab.load = Load::Carrying;
    lab.run(6 * SECOND);
    assert!(lab.bytes() <= 1472, "{}", lab.bytes());
    lab.run(10 * SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (1472, Some(1472)));
    lab.carries = Some(8972);
    lab.run(20 * SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (8972, Some(8972)));
}

#[test]
fn a_path_that_changes_again_and_again_is_trusted_ever_less() {
    let mut lab = Lab::new(FOUR, 9000, 8972);
    lab.load = Load::Carrying;
    let mut large = Vec::new();
    for _ in 0..40 {
        for carries in [8972, 1472] {
            lab.carries = Some(carries);
            lab.run(30 * SECOND);
            large.push(lab.bytes() > 1472);
        }
    }
    assert!(large[0] && large.iter().rev().take(30).filter(|large| **large).count() <= 4, "{large:?}");
}

#[test]
fn silence_says_nothing_about_size() {
    let mut lab = Lab::new(FOUR, 1500, 1472);
    lab.run(SECOND);
    lab.load = Load::Carrying;
    lab.carries = None;
    lab.run(60 * SECOND);
    assert_eq!(lab.bytes(), 1472);
    assert!(lab.sent.len() < 30, "a silent peer is asked ever more slowly: {}", lab.sent.len());
    lab.carries = Some(1472);
    lab.run(10 * SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (1472, Some(1472)));
}

#[test]
fn another_path_is_searched_anew_and_answers_about_the_old_one_count_for_nothing() {
    let mut lab = Lab::new(FOUR, 9000, 8972);
    lab.run(SECOND);
    let number = lab.path.number;
    let elsewhere = Some("192.0.2.9:6783".parse().unwrap());
    assert_eq!(lab.path.datagram_bytes(elsewhere), BASE_BYTES);
    lab.path.follow(elsewhere, 9000, lab.now);
    lab.path.handle_answer(number, 8972, lab.now);
    assert_eq!((lab.bytes(), lab.path.settled()), (BASE_BYTES, None));
    lab.carries = Some(1300);
    lab.run(15 * SECOND);
    assert_eq!(lab.path.settled(), Some(1252));
}

#[test]
fn an_end_that_takes_more_is_no_reason_to_doubt_what_came_through() {
    let mut lab = Lab::new(FOUR, 1500, 2500);
    lab.run(20 * SECOND);
    let number = lab.path.number;
    lab.path.follow(lab.path.endpoint, 9000, lab.now);
    assert_eq!((lab.bytes(), lab.path.settled()), (1472, Some(1472)));
    lab.path.handle_answer(number, 8972, lab.now);
    assert_eq!(lab.bytes(), 1472, "an answer to an earlier sounding");
    lab.run(20 * SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (1972, Some(1972)));
    lab.path.follow(lab.path.endpoint, 1400, lab.now);
    assert_eq!((lab.bytes(), lab.path.settled()), (BASE_BYTES, None));
    lab.run(SECOND);
    assert_eq!((lab.bytes(), lab.path.settled()), (1372, Some(1372)));
}

#[test]
fn a_path_below_the_base_keeps_to_what_its_end_takes() {
    let mut lab = Lab::new(SIX, 1240, 1192);
    lab.run(60 * SECOND);
    assert_eq!((lab.bytes(), lab.sent.len()), (1192, 0));
}

proptest! {
    #[test]
    fn the_largest_step_that_passes_is_found_and_never_more(
        carries in BASE_BYTES..=9300, mtu_bytes in prop_oneof![Just(1500_u16), Just(9000), 1400..=9300_u16, Just(u16::MAX)],
        ipv6 in any::<bool>(),
    ) {
        let mut lab = Lab::new(if ipv6 { SIX } else { FOUR }, mtu_bytes, carries);
        let expected = lab.path.steps().filter(|bytes| *bytes <= carries).max().unwrap_or(BASE_BYTES).max(BASE_BYTES);
        for _ in 0..150 {
            lab.run(Duration::from_millis(100));
            prop_assert!(lab.bytes() <= carries);
        }
        prop_assert_eq!((lab.bytes(), lab.path.settled()), (expected, Some(expected)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn loss_costs_time_and_never_correctness(
        carries in BASE_BYTES..=9300, seed in any::<[u8; 32]>(), loss in 0.0..0.3_f64, round_trip in 1..400_u64,
    ) {
        let mut lab = Lab::new(FOUR, 9000, carries);
        let expected = lab.path.steps().filter(|bytes| *bytes <= carries).max().unwrap_or(BASE_BYTES);
        (lab.rng, lab.loss, lab.round_trip, lab.load) =
            (Rng::new(&seed), loss, Duration::from_millis(round_trip), Load::Carrying);
        for _ in 0..120 {
            lab.run(6 * SECOND);
            prop_assert!(lab.bytes() <= carries);
        }
        lab.loss = 0.0;
        lab.run(3600 * SECOND);
        prop_assert_eq!((lab.bytes(), lab.path.settled()), (expected, Some(expected)));
    }
}
