//! Questions come in a steady rhythm, faster when unanswered, and silence is judged by the clock alone.

use super::*;

fn liveness() -> (Liveness, Instant) {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
    let now = Instant::now();
    (Liveness::new(PeerTimes::default(), now), now)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_answered_question_is_asked_again_after_the_keepalive() {
    let (mut liveness, now) = liveness();
    let number = liveness.poll_question(now).unwrap();
    assert_eq!(liveness.poll_question(now), None);
    let answered = now + Duration::from_millis(30);
    liveness.handle_heard(Duration::ZERO, answered);
    liveness.handle_answer(number, Duration::ZERO, answered);
    assert_eq!(liveness.round_trip(), Some(Duration::from_millis(30)));
    assert_eq!(liveness.poll_question(answered + SECOND), None);
    assert!(liveness.poll_question(answered + 2 * SECOND).is_some());
}

#[test]
fn an_unanswered_question_is_repeated_ever_more_slowly() {
    let (mut liveness, now) = liveness();
    let mut gaps = Vec::new();
    let mut last = now;
    for millisecond in 0..9_000 {
        let at = now + Duration::from_millis(millisecond);
        if liveness.poll_question(at).is_some() {
            gaps.push((at - last).as_millis());
            last = at;
        }
    }
    assert_eq!(gaps, [0, 100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn an_answer_to_an_old_question_says_nothing_about_the_round_trip() {
    let (mut liveness, now) = liveness();
    let old = liveness.poll_question(now).unwrap();
    liveness.poll_question(now + SECOND).unwrap();
    liveness.handle_answer(old, Duration::ZERO, now + SECOND);
    assert_eq!(liveness.round_trip(), None);
}

#[test]
fn silence_means_more_the_longer_it_lasts() {
    let (mut liveness, now) = liveness();
    for (seconds, verdict) in
        [(0, Verdict::Alive), (4, Verdict::Alive), (5, Verdict::Suspect), (9, Verdict::Suspect), (10, Verdict::Silent)]
    {
        assert_eq!(liveness.verdict(now + seconds * SECOND), verdict, "{seconds}");
    }
    liveness.handle_heard(Duration::ZERO, now + 60 * SECOND);
    assert_eq!(liveness.verdict(now + 64 * SECOND), Verdict::Alive);
}

#[test]
fn hearing_the_peer_puts_the_question_off() {
    let (mut liveness, now) = liveness();
    let number = liveness.poll_question(now).unwrap();
    liveness.handle_answer(number, Duration::ZERO, now);
    liveness.handle_heard(SECOND / 2, now + SECOND);
    assert_eq!(liveness.poll_question(now + 3 * SECOND), None);
    assert!(liveness.poll_question(now + 4 * SECOND).is_some());
}
