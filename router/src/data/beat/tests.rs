use super::*;

const DISTANCE: Duration = Duration::from_millis(1);

/// What has heard work after each of these pauses.
fn after(pauses: impl IntoIterator<Item = Duration>) -> (Beat, Instant) {
    let mut now = Instant::now();
    let mut beat = Beat::new(now);
    for pause in pauses {
        now += pause;
        beat.handle_work(now);
    }
    (beat, now)
}

fn row(beats: usize) -> impl Iterator<Item = Duration> {
    std::iter::repeat_n(DISTANCE, beats)
}

#[test]
fn the_next_of_a_steady_row_is_looked_for_around_the_moment_when_it_is_due() {
    let (beat, now) = after(row(20));
    let watch = beat.watch(now).unwrap();
    let due = now + DISTANCE;
    assert!(watch.from < due && watch.until > due);
    assert!(watch.until - watch.from <= DISTANCE / SHARE);
    assert_eq!(beat.watch(watch.until), None, "the row has ended: one look was in vain");
}

#[test]
fn answers_and_the_rest_of_a_burst_are_no_beats() {
    let soon = Duration::from_micros(50);
    let (beat, now) = after((0..20).flat_map(|_| [soon, soon, DISTANCE - 2 * soon]));
    let watch = beat.watch(now).unwrap();
    assert!(watch.from < now + DISTANCE && now + DISTANCE < watch.until);
}

#[test]
fn what_comes_at_any_time_is_not_looked_for() {
    let pauses = [1, 3, 2, 9, 1, 4, 8, 2, 6, 5, 3, 7, 1, 9, 4].map(Duration::from_millis);
    let mut now = Instant::now();
    let mut beat = Beat::new(now);
    for pause in pauses.into_iter().cycle().take(1000) {
        now += pause;
        beat.handle_work(now);
        assert_eq!(beat.watch(now), None);
    }
}

#[test]
fn a_row_whose_beats_are_early_and_late_by_more_than_a_look_is_left_alone() {
    let (beat, now) =
        after((0..100).map(|number| DISTANCE + Duration::from_micros(if number % 2 == 0 { 0 } else { 200 })));
    assert_eq!(beat.watch(now), None);
}

#[test]
fn what_comes_between_two_beats_does_not_move_the_next_and_a_beat_left_out_does_not_end_the_row() {
    let between = [DISTANCE / 2, DISTANCE / 2, 2 * DISTANCE];
    let (beat, now) = after(row(20).chain(between));
    let watch = beat.watch(now).unwrap();
    assert!(watch.from < now + DISTANCE && now + DISTANCE < watch.until);
}

#[test]
fn another_row_is_learnt_after_a_few_beats() {
    let (beat, now) = after(row(20).chain(std::iter::repeat_n(5 * DISTANCE, 40)));
    let watch = beat.watch(now).unwrap();
    assert!(watch.from < now + 5 * DISTANCE && now + 5 * DISTANCE < watch.until);
}

#[test]
fn what_comes_faster_than_a_look_pays_is_not_looked_for() {
    let (beat, now) = after(std::iter::repeat_n(PAUSE + Duration::from_micros(50), 100));
    assert_eq!(beat.watch(now), None);
}
