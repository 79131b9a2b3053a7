//! The choice of a way: laws over any history, and the cases that matter.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the test only adds to it")]
    Instant::now()
}

fn relay(number: u8) -> Identity {
    Identity([number; 32])
}

fn reach(millis: u64) -> Reach {
    Reach { round_trip: Duration::from_millis(millis), datagram_bytes: 1400, course: Course::Direct, address: None }
}

#[test]
fn a_relay_says_no_less_than_any_can_pass_on() {
    let mut ways = Ways::new(start());
    for said in [0, 70, 1119] {
        ways.handle_reach(relay(1), &Reach { datagram_bytes: said, ..reach(5) }, start());
        assert_eq!(ways.relay_bytes(relay(1)), 1120);
    }
    ways.handle_reach(relay(1), &reach(5), start());
    assert_eq!(ways.relay_bytes(relay(1)), 1400);
}

/// Which ways are open at some time: the direct one, and each relay with its round trip in milliseconds.
#[derive(Debug, Clone)]
struct Sky {
    seconds: u64,
    direct: bool,
    relays: [Option<u64>; 3],
}

fn skies() -> impl Strategy<Value = Vec<Sky>> {
    let relay = proptest::option::of(1..200_u64);
    let sky = (1..20_u64, any::<bool>(), [relay.clone(), relay.clone(), relay]);
    vec(sky.prop_map(|(seconds, direct, relays)| Sky { seconds, direct, relays }), 1..12)
}

/// Lives through it in steps of 10 ms; every answer comes after its round trip. Returns when which way was taken.
fn live(ways: &mut Ways, skies: &[Sky], mut now: Instant) -> (Instant, Vec<(Instant, Way)>) {
    let mut under_way: Vec<(Instant, Way, u32)> = Vec::new();
    let mut taken = Vec::new();
    for sky in skies {
        for _ in 0..sky.seconds * 100 {
            if ways.poll_seek(now) {
                for (number, millis) in (0_u8..).zip(sky.relays).filter_map(|(number, open)| Some((number, open?))) {
                    ways.handle_reach(relay(number), &reach(millis), now);
                }
            }
            while let Some((way, number)) = ways.poll_check(now) {
                let millis = match way {
                    Way::Direct => sky.direct.then_some(5),
                    Way::Relay(identity) => sky.relays[usize::from(identity.0[0])],
                };
                under_way.extend(millis.map(|millis| (now + Duration::from_millis(millis), way, number)));
            }
            let due = under_way.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
            for (_, way, number) in due {
                ways.handle_answer(way, number, now);
            }
            taken.extend(ways.choose(now).map(|way| (now, way)));
            now += SECOND / 100;
        }
    }
    (now, taken)
}

proptest! {
    #[test]
    fn never_two_changes_in_a_second(skies in skies()) {
        let now = start();
        let mut ways = Ways::new(now);
        ways.prove(Way::Direct, now);
        let (_, taken) = live(&mut ways, &skies, now);
        for pair in taken.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= SECOND, "{taken:?}");
        }
    }

    #[test]
    fn what_stays_open_is_found_and_the_direct_way_is_preferred(skies in skies(), last in skies()) {
        let now = start();
        let mut ways = Ways::new(now);
        ways.prove(Way::Direct, now);
        let (now, _) = live(&mut ways, &skies, now);
        let Some(sky) = last.last().cloned() else { return Ok(()) };
        let (_, _) = live(&mut ways, &[Sky { seconds: 400, ..sky.clone() }], now);
        match ways.used() {
            Some(Way::Direct) => prop_assert!(sky.direct || sky.relays.iter().all(Option::is_none), "{sky:?}"),
            Some(Way::Relay(identity)) => {
                prop_assert!(!sky.direct, "{sky:?}");
                let used = sky.relays[usize::from(identity.0[0])];
                let best = sky.relays.iter().flatten().min();
                // One that is shorter by less than a third is left alone; round trips are smoothed.
                prop_assert!(best.is_none() || used.is_some_and(|used| used * 2 <= best.map_or(0, |best| best * 3) + 20), "{sky:?} {used:?}");
            }
            None => prop_assert!(false),
        }
    }

    #[test]
    fn a_deadline_is_never_idle(skies in skies()) {
        // Whoever sleeps until the deadline says asks what was due, and no deadline stays in the past.
        let now = start();
        let mut ways = Ways::new(now);
        let (mut at, end) = (now, now + Duration::from_secs(skies.iter().map(|sky| sky.seconds).sum()));
        let mut steps = 0;
        while let Some(due) = ways.deadline(true, at).filter(|due| *due < end) {
            at = due.max(at);
            let (mut asked, sought) = (0, ways.poll_seek(at));
            while let Some((way, number)) = ways.poll_check(at) {
                asked += 1;
                if skies[0].direct {
                    ways.handle_answer(way, number, at);
                }
            }
            let chosen = ways.choose(at);
            prop_assert!(asked > 0 || sought || chosen.is_some() || ways.deadline(true, at).is_some_and(|next| next > at));
            steps += 1;
            prop_assert!(steps < 20_000);
        }
    }
}

#[test]
fn a_direct_way_that_opens_is_taken_within_ten_seconds() {
    let now = start();
    let mut ways = Ways::new(now);
    ways.prove(Way::Relay(relay(0)), now);
    let closed = Sky { seconds: 33, direct: false, relays: [Some(1), None, None] };
    let (now, _) = live(&mut ways, std::slice::from_ref(&closed), now);
    assert_eq!(ways.used(), Some(Way::Relay(relay(0))));
    let (_, taken) = live(&mut ways, &[Sky { direct: true, ..closed }], now);
    assert!(matches!(taken[..], [(at, Way::Direct)] if at - now <= 8 * SECOND), "{taken:?}");
}

#[test]
fn calls_take_every_way_in_turn() {
    let now = start();
    let mut ways = Ways::new(now);
    assert_eq!(ways.call(0), Way::Direct);
    ways.handle_reach(relay(1), &reach(1), now);
    ways.handle_reach(relay(2), &reach(1), now);
    let called: Vec<_> = (0..4).map(|tries| ways.call(tries)).collect();
    assert_eq!(called, [Way::Direct, Way::Relay(relay(1)), Way::Direct, Way::Relay(relay(2))]);
    ways.prove(Way::Relay(relay(2)), now);
    assert_eq!([ways.call(0), ways.call(1)], [Way::Relay(relay(2)), Way::Direct]);
}

#[test]
fn a_peer_that_was_silent_on_all_ways_goes_on_where_it_was() {
    let now = start();
    let mut ways = Ways::new(now);
    ways.prove(Way::Direct, now);
    ways.doubt(now);
    // It is stopped for a while, and whoever reaches it says so as soon as it is not.
    let stopped = Sky { seconds: 5, direct: false, relays: [None; 3] };
    let (now, _) = live(&mut ways, &[stopped], now);
    assert!(ways.is_failing());
    let (_, taken) = live(&mut ways, &[Sky { seconds: 60, direct: true, relays: [Some(30), None, None] }], now);
    assert!(ways.is_direct() && taken.is_empty(), "{taken:?}");
}

#[test]
fn a_direct_way_that_broke_while_a_relay_led_there_must_hold_to_be_believed() {
    let now = start();
    let mut ways = Ways::new(now);
    ways.prove(Way::Direct, now);
    ways.doubt(now);
    let relays = [Some(5), None, None];
    let (now, taken) = live(&mut ways, &[Sky { seconds: 10, direct: false, relays }], now);
    assert!(matches!(taken[..], [(_, Way::Relay(_))]), "{taken:?}");
    let (now, taken) = live(&mut ways, &[Sky { seconds: 2, direct: true, relays }], now);
    assert!(taken.is_empty(), "{taken:?}");
    let (_, taken) = live(&mut ways, &[Sky { seconds: 10, direct: true, relays }], now);
    assert!(matches!(taken[..], [(_, Way::Direct)]), "{taken:?}");
}

#[test]
fn an_absent_peer_is_sought_ever_more_seldom_until_there_is_news() {
    let mut now = start();
    let mut ways = Ways::new(now);
    let sought = |ways: &mut Ways, seconds: u64, now: &mut Instant| {
        let end = *now + Duration::from_secs(seconds);
        let mut times = 0;
        while let Some(due) = ways.deadline(false, *now).filter(|due| *due < end) {
            *now = due;
            times += u32::from(ways.poll_seek(due));
        }
        *now = end;
        times
    };
    assert_eq!(sought(&mut ways, 600, &mut now), 10);
    assert!(sought(&mut ways, 3600, &mut now) <= 13);
    ways.handle_news(now);
    assert_eq!(sought(&mut ways, 10, &mut now), 4);
}

#[test]
fn the_worst_relay_makes_room() {
    let now = start();
    let mut ways = Ways::new(now);
    for number in 0..4 {
        assert!(ways.handle_reach(relay(number), &reach(1), now));
    }
    ways.prove(Way::Relay(relay(2)), now);
    while ways.poll_check(now).is_some() {}
    let now = now + SECOND;
    assert!(ways.handle_reach(relay(9), &reach(1), now));
    assert!(!ways.handle_reach(relay(9), &reach(1), now), "it is known");
    assert_eq!((ways.relays(), ways.used()), (4, Some(Way::Relay(relay(2)))));
    assert_eq!(ways.relay_bytes(relay(9)), 1400);
    assert!(ways.lose_relay(relay(2), now));
    assert!(!ways.lose_relay(relay(2), now) || ways.used() == Some(Way::Relay(relay(2))));
}

#[test]
fn relays_do_not_take_each_others_place_while_they_are_asked() {
    let mut now = start();
    let mut ends = [Ways::new(now), Ways::new(now)];
    // Each end was told of other relays, and all of them lead there and back within two milliseconds.
    for (end, told) in ends.iter_mut().zip([[0, 1, 2, 3], [4, 5, 6, 7]]) {
        for number in told {
            assert!(end.handle_reach(relay(number), &reach(1), now));
        }
    }
    let mut questions: Vec<(usize, Way, u32)> = Vec::new();
    let (mut answers, mut asked) = (Vec::new(), 0);
    for _ in 0..1000 {
        for (from, way, number) in std::mem::take(&mut answers) {
            let end: &mut Ways = &mut ends[from];
            end.handle_heard(way, now);
            end.handle_answer(way, number, now);
        }
        for (from, way, number) in std::mem::take(&mut questions) {
            ends[1 - from].handle_heard(way, now);
            answers.push((from, way, number));
        }
        for (from, end) in ends.iter_mut().enumerate() {
            end.choose(now);
            while let Some((way, number)) = end.poll_check(now) {
                asked += 1;
                questions.extend(Some((from, way, number)).filter(|_| way != Way::Direct));
            }
        }
        now += Duration::from_millis(1);
    }
    assert!(ends.iter().all(Ways::is_relayed));
    assert!(asked < 30, "{asked} questions in a second");
}

#[test]
fn a_few_are_asked_for_a_way_first_and_more_each_time() {
    let now = start();
    let mut ways = Ways::new(now);
    let mut asked = Vec::new();
    for second in 0..60 {
        if ways.poll_seek(now + SECOND * second) {
            asked.push(ways.asked());
        }
    }
    assert_eq!(asked, [8, 16, 32, 64, 64, 64]);
}
