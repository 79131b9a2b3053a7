use super::*;

const SENT: Carried = Carried { frames: 1, sent_bytes: 100, received_bytes: 0 };
const RECEIVED: Carried = Carried { frames: 0, sent_bytes: 0, received_bytes: 100 };
const BOTH: Carried = Carried { frames: 1, sent_bytes: 100, received_bytes: 100 };
const BULK: Carried = Carried { frames: 1, sent_bytes: BULK_BYTES, received_bytes: 0 };
const SOON: Duration = Duration::from_micros(40);
const LATE: Duration = Duration::from_millis(1);

/// A thread that has had work so long after each of these turns.
fn after(turns: &[(&Carried, Duration)]) -> (Spin, Instant) {
    let mut now = Instant::now();
    let mut spin = Spin::new(now);
    for (carried, pause) in turns {
        spin.handle_turn(carried, now);
        spin.handle_work(*pause);
        now += *pause;
    }
    (spin, now)
}

/// Whether it looks after another such turn.
fn looks(spin: &mut Spin, carried: &Carried, now: Instant) -> bool {
    spin.handle_turn(carried, now);
    spin.goes_on(now, now)
}

#[test]
fn what_was_answered_soon_is_waited_for_awake_until_the_window_has_passed() {
    let (mut spin, now) = after(&[(&SENT, SOON); 2]);
    assert!(looks(&mut spin, &SENT, now));
    assert!(spin.goes_on(now, now + WINDOW / 2) && !spin.goes_on(now, now + WINDOW));
}

#[test]
fn what_comes_late_is_slept_for_whatever_comes_soon_after_other_turns() {
    let (mut spin, now) = after(&[(&SENT, SOON), (&RECEIVED, LATE)].repeat(10));
    assert!(looks(&mut spin, &SENT, now));
    assert!(!looks(&mut spin, &RECEIVED, now));
    assert!(!looks(&mut spin, &BOTH, now), "of which nothing is known");
    assert!(!looks(&mut spin, &Carried::default(), now), "a turn without frames");
}

#[test]
fn answers_that_begin_to_be_late_end_it_and_never_more_than_a_few_looks_are_in_vain() {
    let (mut spin, mut now) = after(&[(&BOTH, SOON); 1000]);
    let mut in_vain = 0;
    while looks(&mut spin, &BOTH, now) {
        in_vain += 1;
        spin.handle_work(LATE);
        now += LATE;
    }
    assert_eq!(in_vain, u32::from(MOST - ENOUGH) + 1);
}

#[test]
fn a_stream_is_not_looked_into() {
    let (mut spin, now) = after(&[(&SENT, SOON), (&RECEIVED, SOON), (&BULK, SOON)].repeat(10));
    assert!(spin.rests(now) && !looks(&mut spin, &RECEIVED, now));
    let later = now + BULK_REST;
    assert!(!spin.rests(later) && looks(&mut spin, &RECEIVED, later));
}

#[test]
fn a_core_that_another_task_wants_is_left_to_it() {
    let (mut spin, now) = after(&[(&SENT, SOON); 10]);
    spin.handle_away(CONTENDED / 2, now);
    assert!(looks(&mut spin, &SENT, now));
    spin.handle_away(CONTENDED, now);
    assert!(!spin.goes_on(now, now) && spin.rests(now));
    let later = now + CONTENDED_REST;
    assert!(looks(&mut spin, &SENT, later));
    // A stream does not cut that short.
    spin.handle_away(CONTENDED, now);
    spin.handle_turn(&BULK, now);
    assert!(spin.rests(now + BULK_REST));
}
