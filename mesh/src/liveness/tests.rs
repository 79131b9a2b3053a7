//! Nobody is asked without a reason, a doubt asks faster than it gives up, and anything heard ends it.

use super::*;

fn liveness() -> (Liveness, Instant) {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
    let now = Instant::now();
    (Liveness::new(PeerTimes::default(), now), now)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_idle_neighbour_is_never_asked_and_never_given_up() {
    let (mut liveness, now) = liveness();
    for seconds in [0, 10, 100_000] {
        assert_eq!(liveness.poll_question(now + seconds * SECOND), None);
        assert_eq!(liveness.verdict(now + seconds * SECOND), Verdict::Alive);
        assert_eq!(liveness.deadline(now + seconds * SECOND), None);
    }
}

#[test]
fn a_doubt_is_asked_about_ever_more_slowly() {
    let (mut liveness, now) = liveness();
    liveness.doubt(now);
    let mut gaps = Vec::new();
    let mut last = now;
    for millisecond in 0..2_000 {
        let at = now + Duration::from_millis(millisecond);
        liveness.doubt(at);
        if liveness.poll_question(at).is_some() {
            gaps.push((at - last).as_millis());
            last = at;
        }
    }
    assert_eq!(gaps, [0, 100, 200, 400, 500, 500]);
}

#[test]
fn the_answer_ends_the_doubt_and_tells_the_round_trip() {
    let (mut liveness, now) = liveness();
    liveness.doubt(now);
    let old = liveness.poll_question(now).unwrap();
    let number = liveness.poll_question(now + SECOND).unwrap();
    liveness.handle_answer(old, now + SECOND);
    assert_eq!(liveness.round_trip(), None);
    let answered = now + SECOND + Duration::from_millis(30);
    liveness.handle_heard(answered);
    liveness.handle_answer(number, answered);
    assert_eq!(liveness.round_trip(), Some(Duration::from_millis(30)));
    assert_eq!(liveness.poll_question(now + 100 * SECOND), None);
}

#[test]
fn silence_means_more_the_longer_it_lasts_and_the_more_who_say_so() {
    let cases = [
        (1, Verdict::Alive, Verdict::Alive),
        (2, Verdict::Suspect, Verdict::Suspect),
        (5, Verdict::Suspect, Verdict::Silent),
        (10, Verdict::Silent, Verdict::Silent),
    ];
    for (seconds, alone, agreed) in cases {
        let (mut liveness, now) = liveness();
        liveness.doubt(now + 60 * SECOND);
        let at = now + (60 + seconds) * SECOND;
        assert_eq!(liveness.verdict(at), alone, "{seconds}");
        liveness.agree(now + 61 * SECOND);
        assert_eq!(liveness.verdict(at), agreed, "{seconds}");
        liveness.handle_heard(at);
        assert_eq!(liveness.verdict(at + 10 * SECOND), Verdict::Alive);
    }
}

#[test]
fn what_is_sent_into_silence_is_a_reason_to_ask() {
    let (mut liveness, now) = liveness();
    liveness.handle_sent(now + SECOND);
    assert_eq!(liveness.poll_question(now + SECOND), None);
    liveness.handle_sent(now + 3 * SECOND);
    assert!(liveness.poll_question(now + 3 * SECOND).is_some());
}
