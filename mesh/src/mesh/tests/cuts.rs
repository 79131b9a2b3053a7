//! After a cut, whatever its length, all is watched as before it.

use super::*;

/// Two halves that took one another for dead, and meet again before that is forgotten.
#[test]
fn halves_that_met_again_notice_a_death_in_the_other() {
    for (seed, cut, count) in [(1, 13, 2), (2, 20, 2), (3, 15, 4), (4, 30, 6), (5, 90, 6)] {
        let all: Vec<u8> = (0..count).collect();
        let mut sim = Sim::new(seed, &vec![&all[..]; usize::from(count)]);
        let (half, count) = (usize::from(count / 2), usize::from(count));
        sim.run(5 * SECOND);
        sim.cuts.extend((0..half).flat_map(|left| (half..count).map(move |right| (left, right))));
        sim.run(cut * SECOND);
        assert!(!sim.is_up(0, count - 1) && !sim.is_up(count - 1, 0));
        sim.cuts.clear();
        sim.weather = Weather { loss: 0.05, jitter: 5 * MILLISECOND, ..Weather::default() };
        assert!(sim.run_while(20 * SECOND, |sim| !sim.all_up()).is_some(), "seed {seed}");
        sim.run(10 * SECOND);
        let before: Vec<usize> = (0..count).map(|at| sim.downs(at).len()).collect();
        sim.kill(0);
        sim.run(30 * SECOND);
        for (at, before) in before.into_iter().enumerate().skip(1) {
            assert!(!sim.is_up(at, 0), "seed {seed}: {at} believes that 0 lives");
            assert_eq!(sim.downs(at).len(), before + 1, "seed {seed}: {at} accused somebody else");
        }
    }
}

/// Nor did their sessions notice the shorter of these cuts.
#[test]
fn who_was_cut_off_for_seconds_is_looked_after_again() {
    for (count, cut) in [(3, 6), (3, 8), (3, 11), (2, 8)] {
        let mut sim = Sim::new(1, &vec![&[0, 1, 2][..count]; count]);
        sim.run(10 * SECOND);
        sim.cuts.extend((1..count).map(|other| (0, other)));
        sim.run(cut * SECOND);
        sim.cuts.clear();
        sim.run(60 * SECOND);
        assert!(sim.all_up(), "after {cut} s");
        sim.kill(0);
        sim.run(20 * SECOND);
        assert!(
            (1..count).all(|other| !sim.is_up(other, 0)),
            "after {cut} s nobody of {count} looks after it any more"
        );
    }
}

/// A firewall in front of one of two: the other still hears it, and reaches it no more.
#[test]
fn who_is_heard_and_does_not_answer_is_suspect() {
    let mut sim = Sim::new(6, &[&[0, 1], &[0, 1]]);
    sim.run(10 * SECOND);
    assert!(sim.all_up());
    sim.one_way_cuts.insert((0, 1));
    let frames = |sim: &mut Sim| {
        sim.seal_data(0, 1);
        sim.is_up(0, 1)
    };
    assert!(sim.run_while(5 * SECOND, frames).is_some(), "it is told to be connected");
    for _ in 0..60 {
        sim.run(SECOND);
        assert!(!sim.is_up(0, 1));
    }
    sim.one_way_cuts.clear();
    assert!(sim.run_while(10 * SECOND, |sim| !sim.all_up()).is_some());
}
